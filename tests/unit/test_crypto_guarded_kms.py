"""A KMS that is slow, busy or away is asked little, and nothing piles up behind it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.crypto.custody.guarded_kms import GuardedKms, Patience
from services.crypto.custody.kms import (
    KmsDisabled,
    KmsKeyState,
    KmsRejected,
    KmsThrottled,
    KmsUnavailable,
)
from services.crypto.keys.breaker import Breaker, BreakerOpen
from tests.unit.fake_kms import FakeKms

PATIENCE = Patience(call_seconds=5, tries=3, pause_seconds=0.0001, at_once=2, waiting=4)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_throttled_call_is_tried_again_and_then_given_up() -> None:
    fake = FakeKms()
    kms = GuardedKms(fake, PATIENCE)
    fake.throttled = 2
    await kms.generate("one", {})
    assert fake.calls["generate"] == 3
    fake.throttled = 3
    with pytest.raises(KmsThrottled):
        await kms.generate("one", {})
    assert fake.calls["generate"] == 6


async def test_a_refusal_is_an_answer_and_not_tried_again() -> None:
    fake = FakeKms()
    kms = GuardedKms(fake, PATIENCE, Breaker(failures=1))
    wrapped = await kms.encrypt("one", b"secret", {"for": "here"})
    with pytest.raises(KmsRejected):
        await kms.decrypt("one", wrapped, {"for": "there"})
    fake.set_state("one", KmsKeyState.DISABLED)
    with pytest.raises(KmsDisabled):
        await kms.decrypt("one", wrapped, {"for": "here"})
    assert fake.calls["decrypt"] == 2
    fake.set_state("one", KmsKeyState.ENABLED)
    assert await kms.decrypt("one", wrapped, {"for": "here"}) == b"secret"


async def test_a_kms_that_is_away_is_left_alone_and_found_again() -> None:
    fake, clock = FakeKms(), Clock()
    kms = GuardedKms(fake, PATIENCE, Breaker(failures=4, open_seconds=10, clock=clock))
    fake.down = True
    for _ in range(20):
        with pytest.raises(KmsUnavailable):
            await kms.describe("one")
    assert fake.calls["describe"] == 4
    clock.now = 13
    for _ in range(5):
        with pytest.raises(KmsUnavailable):
            await kms.describe("one")
    assert fake.calls["describe"] == 5
    fake.down, clock.now = False, 26
    for _ in range(5):
        await kms.describe("one")
    assert fake.calls["describe"] == 10


async def test_a_kms_that_is_slow_is_given_up_in_time() -> None:
    fake = FakeKms()
    fake.answering.clear()
    kms = GuardedKms(fake, Patience(call_seconds=0.01, tries=1))
    with pytest.raises(KmsUnavailable, match="in time"):
        await kms.describe("one")
    assert fake.in_flight == 0


async def test_few_calls_are_made_at_once_and_few_wait() -> None:
    fake = FakeKms()
    fake.answering.clear()
    kms = GuardedKms(fake, PATIENCE)
    asked = [asyncio.create_task(kms.describe("one")) for _ in range(10)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert fake.most_in_flight == PATIENCE.at_once
    refused = [each for each in asked if each.done()]
    assert len(refused) == 10 - PATIENCE.waiting
    assert all(isinstance(each.exception(), KmsThrottled) for each in refused)
    fake.answering.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(not isinstance(each, Exception) for each in answers) == PATIENCE.waiting


async def test_a_probe_that_is_given_up_does_not_keep_the_breaker_shut() -> None:
    fake, clock = FakeKms(), Clock()
    breaker = Breaker(failures=1, open_seconds=1, clock=clock)
    kms = GuardedKms(fake, PATIENCE, breaker)
    breaker.failed()
    clock.now = 2
    fake.answering.clear()
    probe = asyncio.create_task(kms.describe("one"))
    await asyncio.sleep(0)
    with pytest.raises(BreakerOpen):
        breaker.admit()
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    fake.answering.set()
    await kms.describe("one")
    assert not breaker.is_open


@given(st.lists(st.sampled_from(["ok", "fail", "wait"]), max_size=60))
def test_a_breaker_lets_one_through_after_its_time(events: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(failures=3, open_seconds=10, clock=clock)
    row = 0
    last_failure = -100.0
    for event in events:
        if event == "wait":
            clock.now += 5
            continue
        try:
            breaker.admit()
        except BreakerOpen as error:
            waits = error.seconds
        else:
            waits = 0
        if waits:
            assert row >= 3
            assert clock.now - last_failure < 12
            assert waits <= 12
            continue
        assert row < 3 or clock.now - last_failure >= 8
        if event == "ok":
            breaker.succeeded()
            row = 0
        else:
            breaker.failed()
            row, last_failure = row + 1, clock.now
