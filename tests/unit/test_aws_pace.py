"""The pace falls at a throttle, leaves a share to others, and rises slowly."""

from collections import deque
from itertools import pairwise

import pytest

from mesh.aws.pace import FASTEST, HOLD_SECONDS, SLOWEST, START, Pace, Paces


class Service:
    """A service that answers so many calls a second and throttles the rest."""

    def __init__(self, limit: int, share: float) -> None:
        self.limit = limit
        self.now = 0.0
        self.pace = Pace(share, self.clock)
        self.taken: list[float] = []
        self.recent: deque[float] = deque()
        self.throttled: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def call(self) -> None:
        self.pace.wait(lambda: None, self.sleep)
        while self.recent and self.recent[0] <= self.now - 1:
            self.recent.popleft()
        if len(self.recent) < self.limit:
            self.recent.append(self.now)
            self.taken.append(self.now)
            self.pace.answered()
        else:
            self.throttled.append(self.now)
            self.pace.throttled()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.call()


@pytest.mark.parametrize("limit", [6, 10, 40])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_limit_is_found_and_a_share_left(limit: int, share: float) -> None:
    service = Service(limit, share)
    service.run(30)
    before, refused = len(service.taken), len(service.throttled)
    service.run(300)
    mean = (len(service.taken) - before) / 300
    # It probes above its share and never takes everything.
    assert share * limit * 0.6 <= mean <= limit
    assert len(service.throttled) - refused < 0.3 * (len(service.taken) - before)


def test_a_smaller_share_takes_less() -> None:
    taken = []
    for share in (0.2, 0.8):
        service = Service(40, share)
        service.run(120)
        taken.append(len(service.taken))
    assert taken[0] < 0.8 * taken[1]


def test_what_is_never_throttled_gets_fast() -> None:
    service = Service(10**9, 0.7)
    service.run(20)
    assert service.pace.rate == FASTEST
    assert not service.throttled


def test_throttles_of_one_moment_count_once() -> None:
    service = Service(1, 0.5)
    for _ in range(20):
        service.pace.throttled()
    assert service.pace.rate == 0.5 * START / 2
    service.now += 1
    service.pace.throttled()
    assert service.pace.rate < 0.5 * START / 2
    for _ in range(100):
        service.now += 1
        service.pace.throttled()
    assert service.pace.rate == SLOWEST


def test_a_rate_rests_before_it_rises() -> None:
    service = Service(1, 1.0)
    service.pace.throttled()
    low = service.pace.rate

    def used() -> None:
        for _ in range(int(low)):
            service.pace.answered()

    service.now += HOLD_SECONDS
    used()
    assert service.pace.rate == low
    service.now += 0.5
    used()
    assert low < service.pace.rate <= low + 0.5


def test_a_rate_that_is_not_used_does_not_rise() -> None:
    service = Service(10**9, 0.7)
    for _ in range(100):
        service.now += 1
        service.pace.answered()
    assert service.pace.rate == START
    service.pace.throttled()
    low = service.pace.rate
    service.now += HOLD_SECONDS
    for _ in range(100):
        service.now += 1
        service.pace.answered()
    assert service.pace.rate == low


@pytest.mark.parametrize("limit", [3, 6, 12, 20, 40, 100])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_while_throttles_are_fresh_no_more_than_the_share_is_asked(
    limit: int, share: float
) -> None:
    service = Service(limit, share)
    service.run(300)
    assert service.throttled
    for throttle, following in pairwise([*service.throttled, service.now]):
        # It rests from here on, unless that was too fast still.
        until = min(following, throttle + HOLD_SECONDS)
        if until - throttle < 2:
            continue
        asked = sum(throttle < taken < until for taken in service.taken)
        assert asked <= share * limit * (until - throttle) + 1


def test_waiting_ends_when_patience_does() -> None:
    service = Service(1, 0.5)
    for _ in range(12):
        service.now += 1
        service.pace.throttled()
    service.pace.wait(lambda: None, service.sleep)
    asked = []

    def check() -> None:
        asked.append(service.now)
        if len(asked) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        service.pace.wait(check, service.sleep)
    assert asked[2] - asked[0] <= 0.5


def test_one_pace_for_an_account_a_region_and_a_service() -> None:
    paces = Paces(0.7)
    assert paces.of("1", "eu-west-1", "s3") is paces.of("1", "eu-west-1", "s3")
    places = [("1", "eu-west-1", "s3"), ("2", "eu-west-1", "s3"), ("1", "eu-west-2", "s3")]
    assert len({id(paces.of(*place)) for place in (*places, ("1", "eu-west-1", "iam"))}) == 4
