"""The next times of a schedule as people read them."""

from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1.schedule_preview_pb2 import PreviewedFire
from services.tenancy.timing.local_times import Fire, local_time
from services.tenancy.timing.timing import Timing


def preview(timing: Timing, after: int, count: int, jitter: int = 0) -> list[PreviewedFire]:
    """Give up to ``count`` times after a moment, those that jumps of clocks leave out included."""
    return [_previewed(timing, fire, jitter) for fire in islice(timing.marked(after), count)]


def _previewed(timing: Timing, fire: Fire, jitter: int) -> PreviewedFire:
    shown = PreviewedFire(
        fire_time=Timestamp(seconds=fire.time),
        wanted_local_time=fire.wanted.isoformat(timespec="seconds"),
        local_time=local_time(fire.time, timing.zone).isoformat(timespec="seconds"),
        mark=fire.mark,
    )
    if fire.fires:
        shown.run_time.seconds = fire.time + jitter
    return shown
