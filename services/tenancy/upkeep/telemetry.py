"""What is measured of the upkeep: runs, what they did, and how long ago each job ended well."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.upkeep.claims import Standing

METER = get_meter("secmesh.tenancy")
_RUNS = METER.create_counter(
    "tenancy.upkeep.runs", description="runs of upkeep by this process, by what came of them"
)
_THINGS = METER.create_counter(
    "tenancy.upkeep.things", description="what those runs did, by what came of it"
)
_DURATION = METER.create_histogram(
    "tenancy.upkeep.duration",
    unit="s",
    description="time of a run",
    explicit_bucket_boundaries_advisory=[0.1, 1, 10, 60, 300, 1800, 7200],
)


class Outcome(Enum):
    """What came of a run."""

    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    """Another replica took it over."""
    RELEASED = "released"
    """This process ended."""


def ended(job: str, outcome: Outcome, seconds: float, done: int, failed: int) -> None:
    """Count a run."""
    attributes = {"job": job, "outcome": outcome.value}
    _RUNS.add(1, attributes)
    _DURATION.record(seconds, attributes)
    for word, number in (("done", done), ("failed", failed)):
        if number:
            _THINGS.add(number, {"job": job, "outcome": word})


def measure(
    standings: Callable[[], Mapping[str, Standing]], clock: Clock, meter: Meter = METER
) -> None:
    """Show ``tenancy.upkeep.age``: seconds since each job ended well, whoever did it."""

    def ages(_options: CallbackOptions) -> Iterable[Observation]:
        now = clock.now()
        return [
            Observation((now - each.succeeded_at) / MICROSECONDS, {"job": each.job})
            for each in standings().values()
            if each.succeeded_at
        ]

    meter.create_observable_gauge("tenancy.upkeep.age", [ages], unit="s")
