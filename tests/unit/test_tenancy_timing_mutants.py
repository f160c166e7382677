"""Faults put into the computation of times: properties that miss one of them hold nothing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, settings

from services.tenancy.timing import local_times, timing
from services.tenancy.timing.cron import Cron
from services.tenancy.timing.local_times import BOTH, SKIP, Fire, Rules
from tests.unit import test_tenancy_timing_properties as properties

REAL = local_times.resolve
Patch = pytest.MonkeyPatch


def _resolving(patch: Patch, resolve: Callable[[datetime, ZoneInfo, Rules], Any]) -> None:
    patch.setattr(timing, "resolve", resolve)


def times_that_come_twice_fire_twice(patch: Patch) -> None:
    _resolving(patch, lambda local, zone, rules: REAL(local, zone, Rules(rules.gap, BOTH)))


def times_that_are_left_out_do_not_fire(patch: Patch) -> None:
    _resolving(patch, lambda local, zone, rules: REAL(local, zone, Rules(SKIP, rules.fold)))


def a_day_after_a_fire_is_passed_over(patch: Patch) -> None:
    """As of the scheduler that skips the day after a change of clocks."""
    real = Cron.after

    def after(self: Cron, moment: datetime) -> Iterator[datetime]:
        for number, found in enumerate(real(self, moment)):
            if number % 50 != 49:
                yield found

    patch.setattr(Cron, "after", after)


def what_is_asked_for_comes_an_hour_early(patch: Patch) -> None:
    def resolve(local: datetime, zone: ZoneInfo, rules: Rules) -> tuple[Fire, ...]:
        return tuple(replace(each, time=each.time - 3600) for each in REAL(local, zone, rules))

    _resolving(patch, resolve)


def clocks_set_back_are_not_looked_for(patch: Patch) -> None:
    """Whoever begins to look within the hour that comes twice misses its second half."""

    def start(self: timing.Timing, after: int) -> datetime:
        here = local_times.local_time(after, self.zone).replace(tzinfo=None)
        return here + timedelta(minutes=59)

    patch.setattr(timing.Timing, "_local_start", start)


def the_moment_itself_fires_again(patch: Patch) -> None:
    real = timing.Timing.fires

    def fires(self: timing.Timing, after: int) -> Iterator[int]:
        return real(self, after - 60)

    patch.setattr(timing.Timing, "fires", fires)


PROPERTIES: Final[list[Any]] = [
    properties.test_fires_ascend_and_come_after,
    properties.test_a_daily_time_fires_for_each_day_once,
    properties.test_every_fire_of_cron_shows_a_time_of_the_expression,
    properties.test_fires_are_the_same_from_wherever_one_looks,
]
MUTANTS: Final[list[Callable[[Patch], None]]] = [
    times_that_come_twice_fire_twice,
    times_that_are_left_out_do_not_fire,
    a_day_after_a_fire_is_passed_over,
    what_is_asked_for_comes_an_hour_early,
    clocks_set_back_are_not_looked_for,
    the_moment_itself_fires_again,
]
QUICK = settings(
    max_examples=60,
    database=None,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""No example is kept: those of faults are none of the code."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_fault_is_found(mutant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    for each in PROPERTIES:
        monkeypatch.setattr(each, "_hypothesis_internal_use_settings", QUICK, raising=False)
    assert any(map(fails, PROPERTIES))


def test_without_a_fault_all_hold(monkeypatch: Patch) -> None:
    """Or the one above would prove nothing."""
    for each in PROPERTIES:
        monkeypatch.setattr(each, "_hypothesis_internal_use_settings", QUICK, raising=False)
    assert not any(map(fails, PROPERTIES))


def fails(test: Callable[[], None]) -> bool:
    """Try a property on few examples."""
    try:
        test()
    except (AssertionError, IndexError):
        return True
    return False
