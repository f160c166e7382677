"""Claims of jobs, on each kind of store: one holder at a time, and no word of one that lost."""

import asyncio
import uuid
from random import Random

import pytest

from services.tenancy.clock import SystemClock
from services.tenancy.store.port import Store
from services.tenancy.upkeep.claims import (
    DONE,
    FAILED,
    RUNNING,
    Claims,
    Ending,
    LeaseLost,
    Standing,
)
from services.tenancy.upkeep.job import Job, Tally
from services.tenancy.upkeep.upkeep import Upkeep
from tests.unit.tenancy_clock import TurnedClock

LEASE = 60
SECOND = 1_000_000


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def job() -> str:
    return f"job-{uuid.uuid4().hex[:12]}"


def claims(store: Store, clock: TurnedClock, owner: str) -> Claims:
    return Claims(store, clock, owner, LEASE)


async def standing(store: Store, clock: TurnedClock, job: str) -> Standing:
    return (await claims(store, clock, "reader").standings())[job]


async def test_of_many_that_claim_at_once_one_gets_it(
    tenancy_store: Store, clock: TurnedClock, job: str
) -> None:
    many = [claims(tenancy_store, clock, f"r{number}") for number in range(8)]
    for _ in range(3):
        known = (await many[0].standings()).get(job, Standing(job))
        got = await asyncio.gather(*(each.claim(known) for each in many))
        (won,) = [each for each in got if each is not None]
        assert won.fence == known.fence + 1
        assert won.until == clock.now() + LEASE * SECOND
        (holder,) = [each for each, one in zip(many, got, strict=True) if one is not None]
        assert (await standing(tenancy_store, clock, job)).outcome == RUNNING
        await holder.end(won, Ending(clock.now(), clock.now() + SECOND, done=3))
        clock.turn(1)


async def test_who_beats_keeps_it_and_who_is_silent_loses_it(
    tenancy_store: Store, clock: TurnedClock, job: str
) -> None:
    first, second = (claims(tenancy_store, clock, each) for each in ("first", "second"))
    held = await first.claim(Standing(job))
    assert held is not None
    for _ in range(3):
        clock.turn(LEASE - 1)
        held = await first.renew(held)
    # What was read before the last beat frees nobody.
    stale = Standing(job, fence=held.fence, lease_until=clock.now() - 1)
    assert await second.claim(stale) is None
    clock.turn(LEASE)
    with pytest.raises(LeaseLost):
        await first.renew(held)
    taken = await second.claim(await standing(tenancy_store, clock, job))
    assert taken is not None
    assert taken.fence == held.fence + 1
    for write in (
        first.end(held, Ending(clock.now(), clock.now() + SECOND)),
        first.release(held),
    ):
        with pytest.raises(LeaseLost):
            await write
    now = await standing(tenancy_store, clock, job)
    assert (now.owner, now.outcome, now.ended_at) == ("second", RUNNING, 0)


async def test_how_it_ended_is_told_for_all(
    tenancy_store: Store, clock: TurnedClock, job: str
) -> None:
    one = claims(tenancy_store, clock, "one")
    held = await one.claim(Standing(job))
    assert held is not None
    later = clock.now() + 90 * SECOND
    await one.end(held, Ending(clock.now(), later, "DEPENDENCY_UNAVAILABLE", done=2, failed=5))
    known = await standing(tenancy_store, clock, job)
    assert (known.outcome, known.reason, known.failures) == (FAILED, "DEPENDENCY_UNAVAILABLE", 1)
    assert (known.done, known.failed, known.next_at) == (2, 5, later)
    assert (known.succeeded_at, known.ended_at) == (0, clock.now())
    assert await one.claim(known) is None
    early = await one.claim(known, early=True)
    assert early is not None
    # Told twice, since no answer came, it is told once.
    for _ in range(2):
        await one.end(early, Ending(clock.now(), later, done=1))
    known = await standing(tenancy_store, clock, job)
    assert (known.outcome, known.failures, known.succeeded_at) == (DONE, 0, clock.now())


async def test_who_gives_it_back_lets_another_begin_at_once(
    tenancy_store: Store, clock: TurnedClock, job: str
) -> None:
    first, second = (claims(tenancy_store, clock, each) for each in ("first", "second"))
    held = await first.claim(Standing(job))
    assert held is not None
    await first.release(held)
    assert await second.claim(await standing(tenancy_store, clock, job)) is not None


async def test_once_does_every_job_that_nobody_does(tenancy_store: Store, job: str) -> None:
    done: list[str] = []
    clock = SystemClock()

    def made(name: str) -> Job:
        async def run() -> Tally:
            done.append(name)
            return Tally(done=1)

        return Job(name, 3600, run)

    other = f"{job}-other"
    assert await Claims(tenancy_store, clock, "other", 3600).claim(Standing(other)) is not None
    upkeep = Upkeep(tenancy_store, clock, Random(1), [made(job), made(other)], "one")
    for number in (1, 2):
        told = await upkeep.once()
        assert done == [job] * number
        assert (told[job].outcome, told[other].outcome) == (DONE, RUNNING)
