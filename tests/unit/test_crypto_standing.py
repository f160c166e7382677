"""The state of a KMS key is looked at when it is used, and by one look for all who ask."""

import asyncio
from dataclasses import dataclass, field

import pytest

from services.crypto.custody.kms import KmsDisabled, KmsKeyState
from services.crypto.custody.standing import KmsStanding
from tests.unit.fake_kms import FakeKms

KEY = "one"


@dataclass
class Watched:
    """A standing under a KMS and a clock of the test's own."""

    seconds: float
    fake: FakeKms = field(default_factory=lambda: FakeKms(KEY))
    now: float = 1000.0
    revoked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.standing = KmsStanding(self.fake, self.revoked.append, self.seconds, self.clock)

    def clock(self) -> float:
        """Go on by itself, a little: no two moments are the same."""
        self.now += 1e-6
        return self.now

    async def refuses(self) -> bool:
        try:
            await self.standing.require(KEY)
        except KmsDisabled:
            return True
        return False

    @property
    def looks(self) -> int:
        return self.fake.calls["describe"]


@pytest.mark.parametrize("state", [KmsKeyState.DISABLED, KmsKeyState.PENDING_DELETION])
async def test_the_next_use_of_a_key_that_was_disabled_is_refused(state: KmsKeyState) -> None:
    world = Watched(0)
    assert not await world.refuses()
    world.fake.set_state(KEY, state)
    assert await world.refuses()
    assert world.revoked == [KEY]
    world.fake.set_state(KEY, KmsKeyState.ENABLED)
    assert not await world.refuses()


async def test_a_key_that_is_gone_is_refused() -> None:
    world = Watched(0, FakeKms("other"))
    assert await world.refuses()


async def test_a_state_is_believed_for_so_long_and_no_longer() -> None:
    world = Watched(10)
    assert not await world.refuses()
    world.fake.set_state(KEY, KmsKeyState.DISABLED)
    world.now += 4
    assert not await world.refuses()
    assert world.looks == 1
    world.now += 7
    assert await world.refuses()
    assert world.looks == 2


async def test_a_busy_process_looks_ahead_of_time_and_waits_for_nobody() -> None:
    world = Watched(10)
    await world.standing.require(KEY)
    world.fake.answering.clear()
    world.now += 6
    async with asyncio.timeout(60):
        await asyncio.gather(*(world.standing.require(KEY) for _ in range(50)))
        while world.looks < 2:
            await asyncio.sleep(0)
    assert world.fake.in_flight == 1
    await world.standing.close()


async def test_calls_that_come_together_share_a_look_and_take_none_that_began_before() -> None:
    world = Watched(0)
    world.fake.answering.clear()
    first = asyncio.create_task(world.refuses())
    async with asyncio.timeout(60):
        while not world.looks:
            await asyncio.sleep(0)
        world.now += 1
        others = [asyncio.create_task(world.refuses()) for _ in range(50)]
        await asyncio.sleep(0)
        world.fake.answering.set()
        assert await asyncio.gather(first, *others) == [False] * 51
    assert world.looks == 2


async def test_an_outage_says_nothing_of_a_key() -> None:
    world = Watched(0)
    world.fake.down = True
    assert not await world.refuses()
    world.fake.down, world.fake.throttled = False, 1
    assert not await world.refuses()
    assert world.revoked == []


async def test_a_slow_kms_holds_a_call_up_once_and_never_for_long() -> None:
    world = Watched(1)
    world.fake.answering.clear()
    async with asyncio.timeout(60):
        assert not await world.refuses()
        assert [await world.refuses() for _ in range(100)] == [False] * 100
    assert world.looks == 1
    world.fake.set_state(KEY, KmsKeyState.DISABLED)
    world.fake.answering.set()
    async with asyncio.timeout(60):
        while not await world.refuses():
            await asyncio.sleep(0)
    await world.standing.close()
