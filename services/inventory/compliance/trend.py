"""From assessments and intervals of verdicts to a trend: pure, in microseconds since 1970."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import trend_pb2 as api

MAX_FALSE_CLAIMS = 1000
DAY = 86_400_000_000
MENDED = frozenset(
    {
        pb.VERDICT_SUPPORTED,
        pb.VERDICT_PARTLY_SUPPORTED,
        pb.VERDICT_VACUOUS,
        pb.VERDICT_UNDERSTATED,
    }
)
"""Evidence was read whole and nothing fails; an unread rest or an exception mends nothing."""
RESTATED = frozenset(
    {
        pb.VERDICT_CLAIM_INVALID,
        pb.VERDICT_OVERDUE,
        pb.VERDICT_GAP_CONFIRMED,
        pb.VERDICT_MANUAL_REVIEW,
        pb.VERDICT_INHERITED,
    }
)
"""The plan no longer says that it is implemented."""


@dataclass(frozen=True)
class Interval:
    """Assessments one after another that gave a claim the same verdict, by their places."""

    claim_id: str
    control_id: str
    verdict: pb.Verdict.ValueType
    first: int
    last: int
    excepted: bool = False
    """The verdict rests on an exception."""


@dataclass
class Episode:
    """A claim from first seen contradicted to its end, by places of assessments."""

    claim_id: str
    control_id: str
    first: int
    last: int
    verdict: pb.Verdict.ValueType = pb.VERDICT_CONTRADICTED
    end: int | None = None
    state: api.FalseClaim.State.ValueType = api.FalseClaim.STATE_OPEN

    def close(
        self,
        end: int,
        verdict: pb.Verdict.ValueType,
        state: api.FalseClaim.State.ValueType,
    ) -> None:
        self.end, self.verdict, self.state = end, verdict, state


def episodes(intervals: Iterable[Interval], assessments: int) -> list[Episode]:
    """Find every contradiction in the intervals of ``assessments`` assessments."""
    ordered = sorted(intervals, key=lambda each: (each.claim_id, each.first))
    return [
        found
        for _, own in groupby(ordered, key=lambda each: each.claim_id)
        for found in _of_claim(list(own), assessments)
    ]


def _of_claim(own: Sequence[Interval], assessments: int) -> Iterator[Episode]:
    current: Episode | None = None
    # The claim is gone where its intervals leave a hole, and after the last.
    following = [*(each.first for each in own[1:]), assessments]
    for interval, after in zip(own, following, strict=True):
        verdict = interval.verdict
        if verdict == pb.VERDICT_CONTRADICTED:
            if current is None:
                current = Episode(
                    interval.claim_id, interval.control_id, interval.first, interval.last
                )
                yield current
            current.last = interval.last
        if current is None:
            continue
        current.verdict = verdict
        accepted = verdict in MENDED and interval.excepted
        current.state = api.FalseClaim.STATE_EXCEPTED if accepted else api.FalseClaim.STATE_OPEN
        if verdict in MENDED and not accepted:
            current.close(interval.first, verdict, api.FalseClaim.STATE_FIXED)
        elif verdict in RESTATED:
            current.close(interval.first, verdict, api.FalseClaim.STATE_RESTATED)
        elif after > interval.last + 1:
            gone = pb.VERDICT_UNSPECIFIED
            current.close(interval.last + 1, gone, api.FalseClaim.STATE_RESTATED)
        if current.end is not None:
            current = None


def false_claim(ssp: str, episode: Episode, times: Sequence[int]) -> api.FalseClaim:
    """Tell an episode with the times of the assessments."""
    made = api.FalseClaim(
        claim=f"{ssp}/claims/{episode.claim_id}",
        control_id=episode.control_id,
        state=episode.state,
        since_first=episode.first == 0,
        verdict=episode.verdict,
    )
    made.first_time.FromMicroseconds(times[episode.first])
    made.last_time.FromMicroseconds(times[episode.last])
    if episode.end is not None:
        made.end_time.FromMicroseconds(times[episode.end])
    made.age.FromMicroseconds(age(episode, times))
    return made


def age(episode: Episode, times: Sequence[int]) -> int:
    """Give how long an episode took; of one without an end its age at the newest assessment."""
    return times[-1 if episode.end is None else episode.end] - times[episode.first]


def statistics(found: Sequence[Episode], times: Sequence[int]) -> api.RepairStatistics:
    """Count the episodes and how long they took."""
    by_state: dict[int, list[Episode]] = {}
    for episode in found:
        by_state.setdefault(episode.state, []).append(episode)
    fixed = by_state.get(api.FalseClaim.STATE_FIXED, [])
    still = by_state.get(api.FalseClaim.STATE_OPEN, [])
    made = api.RepairStatistics(
        open=len(still),
        fixed=len(fixed),
        restated=len(by_state.get(api.FalseClaim.STATE_RESTATED, [])),
        excepted=len(by_state.get(api.FalseClaim.STATE_EXCEPTED, [])),
        fixed_since_first=sum(episode.first == 0 for episode in fixed),
    )
    if fixed:
        took = [age(episode, times) for episode in fixed]
        made.mean_time_to_fix.FromMicroseconds(sum(took) // len(took))
        made.median_time_to_fix.FromMicroseconds(int(median(took)))
    if still:
        ages = [age(episode, times) for episode in still]
        made.oldest_open_age.FromMicroseconds(max(ages))
        made.mean_open_age.FromMicroseconds(sum(ages) // len(ages))
    return made


def points(
    assessments: Sequence[pb.Assessment], interval: api.TrendInterval.ValueType
) -> list[api.TrendPoint]:
    """Give the counts of each assessment, or of the last of each day in UTC, oldest first."""
    chosen = list(assessments)
    if interval != api.TREND_INTERVAL_ASSESSMENT:
        days = {each.evaluate_time.ToMicroseconds() // DAY: each for each in chosen}
        chosen = list(days.values())
    return [
        api.TrendPoint(
            assessment=each.name,
            evaluate_time=each.evaluate_time,
            controls=each.controls,
            control_counts=each.control_counts,
            claims=each.claims,
            claim_counts=each.claim_counts,
            excepted_claim_counts=each.excepted_claim_counts,
        )
        for each in chosen
    ]


def told(found: Iterable[Episode], times: Sequence[int], start: int | None) -> list[Episode]:
    """Leave out what ended before the begin; the open ones come first, then the excepted."""
    kept = [each for each in found if each.end is None or start is None or times[each.end] >= start]
    return sorted(
        kept,
        key=lambda each: (
            each.end is not None,
            each.state == api.FalseClaim.STATE_EXCEPTED,
            each.first if each.end is None else -each.end,
            each.control_id,
            each.claim_id,
        ),
    )
