"""What a poll for due schedules costs beside a thousand schedules, and beside a million."""

import time

import pytest

from services.tenancy.store.keys import PlatformScope, TenantScope, shard_of
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Put
from services.tenancy.store.recorder import Recorder

NOW = 1_800_000_000
SHARDS, DUE, TENANTS = 16, 500, 1000
PLATFORM = PlatformScope()


async def filled(number: int, recorder: Recorder) -> MemoryStore:
    """Make so many schedules, of which 500 are due."""
    store = MemoryStore(observe=recorder.observe)
    for each in range(number):
        schedule = f"{each:08x}-0000-4000-8000-000000000000"
        fire = NOW - each if each < DUE else NOW + 3600
        place = PLATFORM.due_place(shard_of(schedule, SHARDS), fire, schedule)
        key = TenantScope(f"t{each % TENANTS:04d}").schedule(schedule)
        await store.write(Put(key, {"version": 1, **place}))
        recorder.calls.clear()
    return store


async def poll(store: MemoryStore) -> tuple[int, float]:
    """Ask every shard; give how many are due and the CPU seconds that took."""
    started = time.process_time()
    found = 0
    for shard in range(SHARDS):
        found += len((await store.query(PLATFORM.due(shard, NOW))).items)
    return found, time.process_time() - started


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_poll_costs_the_same_beside_a_million_schedules() -> None:
    fastest = {}
    for number in (1_000, 10_000, 50_000, 1_000_000):
        recorder = Recorder()
        store = await filled(number, recorder)
        polls = [await poll(store) for _ in range(5)]
        assert {found for found, _ in polls} == {DUE}
        units = sum(call.read_units for call in recorder.calls) / len(polls)
        assert units <= 0.5 * SHARDS + 0.024 * DUE
        assert len(recorder.calls) == SHARDS * len(polls)
        fastest[number] = min(seconds for _, seconds in polls)
    assert fastest[1_000_000] < 10 * fastest[1_000]
