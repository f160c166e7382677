"""The log of uses of credentials: complete, chained, and one chain however many write it."""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from mesh.errors import DependencyUnavailable
from secmesh.tenancy.v1.credential_access_pb2 import CREDENTIAL_ACTION_VEND, CredentialAccess
from services.tenancy.credentials.access_chain import Head, first_fault, linked
from services.tenancy.credentials.access_log import ENTRY, AccessLog
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.port import Store, StoreUnavailable
from tests.unit.tenancy_clock import TurnedClock

ACME = TenantScope("acme")


def use(number: int) -> CredentialAccess:
    return CredentialAccess(
        account_id="a1", action=CREDENTIAL_ACTION_VEND, purpose=f"p{number}", granted=True
    )


async def entries(store: Store, scope: TenantScope = ACME) -> list[CredentialAccess]:
    """Give all entries, the oldest first."""
    found = []
    query = scope.credential_accesses()
    page = await store.query(query)
    while True:
        found += [ENTRY.message(item) for item in page.items]
        if page.next is None:
            return list(reversed(found))
        page = await store.query(replace(query, start=page.next))


async def test_entries_that_come_at_once_go_together() -> None:
    calls: list[object] = []
    store = MemoryStore(observe=calls.append)
    log = AccessLog(store, TurnedClock())
    await log.record(ACME, use(0))
    before = len(calls)
    await asyncio.gather(*(log.record(ACME, use(number)) for number in range(1, 51)))
    assert len(calls) - before <= 4
    found = await entries(store)
    assert [each.number for each in found] == list(range(1, 52))
    assert [each.purpose for each in found] == [f"p{number}" for number in range(51)]
    assert first_fault(found) is None


async def test_an_entry_alone_is_one_call_once_the_end_is_known() -> None:
    calls: list[object] = []
    log = AccessLog(MemoryStore(observe=calls.append), TurnedClock())
    await log.record(ACME, use(0))
    assert len(calls) == 2
    await log.record(ACME, use(1))
    assert len(calls) == 3


async def test_many_processes_write_one_chain() -> None:
    store = MemoryStore()
    logs = [AccessLog(store, TurnedClock()) for _ in range(4)]
    await asyncio.gather(*(log.record(ACME, use(number)) for number in range(10) for log in logs))
    found = await entries(store)
    assert first_fault(found) is None
    assert sorted(each.purpose for each in found) == sorted(
        f"p{n}" for n in range(10) for _ in logs
    )


async def test_tenants_have_chains_of_their_own() -> None:
    store = MemoryStore()
    log, other = AccessLog(store, TurnedClock()), TenantScope("rival")
    await asyncio.gather(log.record(ACME, use(0)), log.record(other, use(0)))
    assert [each.number for each in await entries(store)] == [1]
    assert [each.number for each in await entries(store, other)] == [1]


@pytest.mark.parametrize("seed", range(20))
async def test_answers_that_are_lost_neither_lose_nor_double_an_entry(seed: int) -> None:
    faults = Faults(Random(seed), unanswered=0.2, unsent=0.1, conflicting=0.1)
    store = MemoryStore(faults=faults)
    logs = [AccessLog(store, TurnedClock()) for _ in range(2)]

    async def recorded(log: AccessLog, number: int) -> bool:
        try:
            await log.record(ACME, use(number))
        except (DependencyUnavailable, StoreUnavailable):
            return False
        return True

    told = [
        await asyncio.gather(*(recorded(log, number * 10 + at) for at, log in enumerate(logs)))
        for number in range(15)
    ]
    faults.unanswered = faults.unsent = faults.conflicting = 0
    found = await entries(store)
    assert first_fault(found) is None
    purposes = [each.purpose for each in found]
    assert len(set(purposes)) == len(purposes)
    durable = {
        f"p{number * 10 + at}"
        for number, results in enumerate(told)
        for at, done in enumerate(results)
        if done
    }
    assert durable <= set(purposes)
    assert len(durable) > 10


async def test_who_is_cancelled_takes_no_others_entry_along() -> None:
    store = MemoryStore()
    log = AccessLog(store, TurnedClock())
    first = asyncio.ensure_future(log.record(ACME, use(0)))
    second = asyncio.ensure_future(log.record(ACME, use(1)))
    await asyncio.sleep(0)
    first.cancel()
    await second
    await log.record(ACME, use(2))
    await log.close()
    assert first_fault(await entries(store)) is None
    assert [each.purpose for each in await entries(store)] == ["p0", "p1", "p2"]


def chain(length: int) -> list[CredentialAccess]:
    head, made = Head(), []
    for number in range(length):
        made.append(linked(head, use(number)))
        head = Head(made[-1].number, made[-1].hash)
    return made


def test_whatever_is_done_to_a_chain_is_seen() -> None:
    whole = chain(5)
    assert first_fault(whole) is None
    assert first_fault(whole[2:], Head(2, whole[1].hash)) is None
    assert first_fault([*whole[:2], *whole[3:]]) == 3
    assert first_fault(whole[1:]) == 1
    assert first_fault([whole[0], whole[2], whole[1], *whole[3:]]) == 2
    for field, value in (("purpose", "x"), ("granted", False), ("subject", "x")):
        changed = chain(5)
        setattr(changed[3], field, value)
        assert first_fault(changed) == 4
    rewritten = chain(5)
    rewritten[3].purpose = "x"
    rewritten[3].CopyFrom(linked(Head(3, rewritten[2].hash), rewritten[3]))
    assert first_fault(rewritten) == 5
