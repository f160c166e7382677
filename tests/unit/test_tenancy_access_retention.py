"""Entries of the access log are removed when they are over, and what is left proves itself."""

import asyncio
import copy
from dataclasses import replace
from random import Random

import pytest

from cli.access_chain import problem_of
from mesh.errors import DependencyUnavailable
from secmesh.tenancy.v1.credential_access_pb2 import (
    CREDENTIAL_ACTION_VEND,
    CredentialAccess,
    CredentialAccessCheckpoint,
)
from services.tenancy.credentials.access_chain import checkpoint_hash_of, hash_of
from services.tenancy.credentials.access_log import ENTRY, AccessLog
from services.tenancy.credentials.access_retention import (
    CALLS_IDLE,
    CALLS_PER_STEP,
    CHECKPOINT,
    REMOVE,
    AccessRetention,
    LogBroken,
    Removed,
    checkpoint_of,
)
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.port import Action, Conflict, Delete, Put, Store
from tests.unit.tenancy_clock import TurnedClock

ACME = TenantScope("acme")
DAY = 86_400
DAYS = 100


class Site:
    """A log, and processes that write it and remove from it."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.clock, self.calls = TurnedClock(), list[object]()
        self.store = MemoryStore(self.clock, faults=faults, observe=self.calls.append)
        self.log = AccessLog(self.store, self.clock)
        self.retention = AccessRetention(self.store, self.clock, DAYS)

    async def use(self, number: int = 1) -> None:
        """Write so many entries at once."""
        await asyncio.gather(*(self.log.record(ACME, used(at)) for at in range(number)))

    async def days_of_use(self, days: int, number: int = 1) -> None:
        for _ in range(days):
            await self.use(number)
            self.clock.turn(DAY)

    async def remove(self, steps: int = 10) -> Removed:
        return await self.retention.remove_over(ACME.tenant, steps)


def used(number: int) -> CredentialAccess:
    return CredentialAccess(
        account_id="a1", action=CREDENTIAL_ACTION_VEND, purpose=f"p{number}", granted=True
    )


async def kept(store: Store) -> list[CredentialAccess]:
    """Give all entries there are, the oldest first."""
    query, found = replace(ACME.credential_accesses(), forward=True), []
    while True:
        page = await store.query(query)
        found += [ENTRY.message(item) for item in page.items]
        if page.next is None:
            return found
        query = replace(query, start=page.next)


async def told(store: Store) -> tuple[list[CredentialAccess], CredentialAccessCheckpoint | None]:
    """Give what counts of a log."""
    checkpoint = await checkpoint_of(store, ACME)
    begin = checkpoint.number if checkpoint else 0
    return [each for each in await kept(store) if each.number > begin], checkpoint


async def test_what_is_over_goes_and_what_is_left_is_whole() -> None:
    site = Site()
    await site.days_of_use(DAYS + 30)
    before = await kept(site.store)
    now = site.clock.now()
    assert await site.remove() == Removed(30)
    entries, checkpoint = await told(site.store)
    assert entries == await kept(site.store)
    assert entries[:-1] == before[30:]
    assert checkpoint is not None
    assert (checkpoint.number, checkpoint.removed) == (30, 30)
    assert checkpoint.last_hash == before[29].hash
    assert checkpoint.last_time == before[29].time
    assert checkpoint.time.ToMicroseconds() == now
    assert (entries[-1].action, entries[-1].checkpoint_hash) == (REMOVE, checkpoint.hash)
    assert problem_of(entries, checkpoint) is None
    # The next ones follow, from a process that knew another end.
    await site.use(3)
    assert problem_of(*await told(site.store)) is None


async def test_checkpoints_follow_one_another() -> None:
    site = Site()
    await site.days_of_use(DAYS + 10)
    hashes = [bytes(32)]
    for _ in range(5):
        await site.days_of_use(7)
        await site.remove()
        checkpoint = await checkpoint_of(site.store, ACME)
        assert checkpoint is not None
        assert checkpoint.previous_hash == hashes[-1]
        hashes.append(checkpoint.hash)
        assert problem_of(*await told(site.store)) is None
    # Long after, those that told of older ones are over themselves.
    site.clock.turn(DAYS * DAY)
    await site.use()
    await site.remove()
    assert problem_of(*await told(site.store)) is None


async def test_a_log_that_nobody_writes_ends_as_the_word_of_its_removal() -> None:
    site = Site()
    await site.use(5)
    for _ in range(4):
        site.clock.turn(3 * DAYS * DAY)
        await site.remove()
        (entry,), checkpoint = await told(site.store)
        assert checkpoint is not None
        assert (entry.number, checkpoint.number) == (6, 5)
        assert problem_of([entry], checkpoint) is None


async def test_what_it_costs() -> None:
    site = Site()
    began = len(site.calls)
    assert await site.remove() == Removed()
    await site.use()
    began = len(site.calls)
    assert await site.remove() == Removed()
    assert len(site.calls) - began == CALLS_IDLE
    for _ in range(25):
        await site.use(100)
    site.clock.turn((DAYS + 1) * DAY)
    await site.use()
    began = len(site.calls)
    assert await site.remove(steps=1) == Removed(1000, more=True)
    assert len(site.calls) - began <= CALLS_IDLE + CALLS_PER_STEP
    assert problem_of(*await told(site.store)) is None
    began = len(site.calls)
    assert await site.remove() == Removed(1501)
    assert len(site.calls) - began <= CALLS_IDLE + 3 * CALLS_PER_STEP
    assert problem_of(*await told(site.store)) is None


def test_entries_are_kept_for_ninety_days_whatever_is_asked() -> None:
    with pytest.raises(ValueError, match="90 days"):
        AccessRetention(MemoryStore(), TurnedClock(), 89)


class Killed(BaseException):
    """The end of a process."""


class Dying(MemoryStore):
    """A store whose process ends at a call, before or after it is done."""

    left: int = 1_000_000
    after: bool = False

    async def write(self, *actions: Action, token: str = "") -> None:
        self.left -= 1
        if self.left < 0 and not self.after:
            raise Killed
        await super().write(*actions, token=token)
        if self.left < 0:
            raise Killed


@pytest.mark.parametrize("after", [False, True])
async def test_who_is_killed_at_any_write_leaves_a_log_that_proves_itself(after: bool) -> None:
    for writes in range(9):
        clock = TurnedClock()
        store = Dying(clock)
        log = AccessLog(store, clock)
        for _ in range(7):
            await asyncio.gather(*(log.record(ACME, used(at)) for at in range(60)))
        clock.turn((DAYS + 1) * DAY)
        await log.record(ACME, used(0))
        written = {each.number: each for each in await kept(store)}
        store.left, store.after = writes, after
        retention = AccessRetention(store, clock, DAYS)
        try:
            await retention.remove_over(ACME.tenant)
            died = False
        except Killed:
            died = True
        store.left = 1_000_000
        assert died or writes >= 6
        entries, checkpoint = await told(store)
        assert problem_of(entries, checkpoint) is None
        # Nothing that still counts is gone, and what is left has no gap.
        begin = checkpoint.number if checkpoint else 0
        assert all(written[each.number] == each for each in entries if each.number in written)
        assert {each.number for each in entries} >= {n for n in written if n > begin}
        numbers = [each.number for each in await kept(store)]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        # Others write on, and the next one ends what was begun.
        await AccessLog(store, clock).record(ACME, used(1))
        await AccessRetention(store, clock, DAYS).remove_over(ACME.tenant)
        entries, checkpoint = await told(store)
        assert entries == await kept(store)
        assert checkpoint is not None
        assert checkpoint.number == 420
        assert problem_of(entries, checkpoint) is None


@pytest.mark.parametrize("seed", range(12))
async def test_removals_and_uses_at_once_by_many_over_a_store_that_fails(seed: int) -> None:
    chance = Random(seed)
    faults = Faults(Random(seed), unanswered=0.1, unsent=0.05, conflicting=0.1)
    site = Site(faults)
    logs = [AccessLog(site.store, site.clock) for _ in range(3)]
    durable: set[str] = set()

    async def use(log: AccessLog, purpose: int) -> None:
        try:
            await log.record(ACME, used(purpose))
        except (DependencyUnavailable, Conflict):
            return
        durable.add(f"p{purpose}")

    async def remove() -> None:
        try:
            await AccessRetention(site.store, site.clock, DAYS).remove_over(ACME.tenant)
        except (DependencyUnavailable, Conflict):
            return

    seen: dict[str, int] = {}
    for turn in range(25):
        site.clock.turn(chance.randrange(1, 12) * DAY)
        uses = [
            use(chance.choice(logs), turn * 100 + number) for number in range(chance.randrange(12))
        ]
        await asyncio.gather(*uses, *(remove() for _ in range(chance.randrange(3))))
        seen |= {each.purpose: each.time.ToMicroseconds() for each in await quiet(site, faults)}
        limit = site.clock.now() - DAYS * DAY * 1_000_000
        there = {each.purpose for each in await quiet(site, faults)}
        young = {each for each in durable if seen[each] >= limit}
        assert young <= there
    await quiet(site, faults)
    faults.unanswered = faults.unsent = faults.conflicting = 0
    site.clock.turn(DAYS // 2 * DAY)
    await site.remove()
    entries, checkpoint = await told(site.store)
    assert checkpoint is not None
    assert problem_of(entries, checkpoint) is None
    assert entries == await kept(site.store)


async def quiet(site: Site, faults: Faults) -> list[CredentialAccess]:
    """Give what counts, once it is seen that it proves itself."""
    now = faults.unanswered, faults.unsent, faults.conflicting
    faults.unanswered = faults.unsent = faults.conflicting = 0
    entries, checkpoint = await told(site.store)
    assert problem_of(entries, checkpoint) is None
    faults.unanswered, faults.unsent, faults.conflicting = now
    return entries


async def removed_site() -> Site:
    """Make a log of which was removed twice."""
    site = Site()
    await site.days_of_use(DAYS + 20)
    await site.remove()
    await site.days_of_use(10)
    await site.remove()
    return site


@pytest.mark.parametrize("seed", range(60))
async def test_whoever_tampers_is_seen(seed: int) -> None:
    site, chance = await removed_site(), Random(seed)
    entries, checkpoint = await told(site.store)
    assert checkpoint is not None
    assert problem_of(entries, checkpoint) is None
    # Only the end of a log proves nothing by itself.
    at = chance.randrange(len(entries) - 1)
    altered = copy.deepcopy(checkpoint)
    match chance.randrange(6):
        case 0:
            del entries[at]
        case 1:
            entries[at].purpose += "x"
            entries[at].hash = hash_of(entries[at])
        case 2:
            # Cut off the oldest, and have the checkpoint say so.
            first = entries[at]
            altered.number, altered.last_hash = first.number, first.hash
            altered.last_time.CopyFrom(first.time)
            altered.hash = checkpoint_hash_of(altered)
            entries = entries[at + 1 :]
        case 3:
            altered.last_time.seconds += 60
        case 4:
            altered.removed += 1
            altered.hash = checkpoint_hash_of(altered)
        case 5:
            altered.previous_hash = bytes(32)
            altered.hash = checkpoint_hash_of(altered)
    assert problem_of(entries, altered) is not None


async def test_a_checkpoint_that_is_gone_or_put_back_is_seen() -> None:
    site = Site()
    await site.days_of_use(DAYS + 20)
    whole = await kept(site.store)
    await site.remove()
    older = await checkpoint_of(site.store, ACME)
    await site.days_of_use(10)
    await site.remove()
    entries, checkpoint = await told(site.store)
    assert problem_of(entries, checkpoint) is None
    assert problem_of(entries, None) is not None
    assert problem_of(entries, older) is not None
    # Even with all entries that it stood for.
    left = [each for each in whole if each.number < entries[0].number]
    assert problem_of([*left, *entries], None) == "the checkpoint is missing"
    assert older is not None
    between = [each for each in left if each.number > older.number]
    assert problem_of([*between, *entries], older) == "the log tells of another checkpoint"


async def test_of_a_log_that_is_not_what_was_written_nothing_is_removed() -> None:
    site = Site()
    await site.days_of_use(DAYS + 20)
    await site.remove()
    await site.days_of_use(10)
    before = await kept(site.store)
    place = ACME.credential_access(before[3].number)
    await site.store.write(Delete(place))
    with pytest.raises(LogBroken) as broken:
        await site.remove()
    assert broken.value.number == before[3].number
    assert await kept(site.store) == [*before[:3], *before[4:]]
    await site.store.write(Put(place, ENTRY.item(before[3])))
    checkpoint = await checkpoint_of(site.store, ACME)
    assert checkpoint is not None
    checkpoint.number += 1
    await site.store.write(Put(ACME.access_checkpoint(), CHECKPOINT.item(checkpoint)))
    with pytest.raises(LogBroken):
        await site.remove()
    assert await kept(site.store) == before
