"""Schedulers and executors for long: thousands of simulated seeds, and real processes killed."""

import asyncio
import os
import random
import subprocess
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.scheduling import executions
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.store.items import text
from services.tenancy.store.port import Item
from tests.service.tenancy_replicas import (
    SCHEDULER,
    Replicas,
    add_due,
    executions_of,
    replicas,
    results_of,
)
from tests.service.tenancy_stores import embedded_store, made_tables, new_tenant
from tests.unit.simulation.loop import simulate
from tests.unit.simulation.world import violations_of
from tests.unit.test_tenancy_claim_load import claimed

SEEDS = int(os.environ.get("SECMESH_SIMULATION_SEEDS", "2000"))
EXECUTOR = ["tests.service.tenancy_executor", "0.5"]
LEAST_CLAIMS = 200
WAVE = 10
"""Schedules that are added at a time."""
REST = 120
"""Seconds without an end after which nothing more will end."""


def test_no_seed_loses_or_repeats_anything() -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(range(SEEDS), pool.map(violations_of, range(SEEDS)), strict=True))
    assert {seed: each for seed, each in found.items() if each} == {}


def test_ten_thousand_are_claimed_in_a_minute() -> None:
    made = simulate(claimed(10_000, 60))
    assert len(made) == 10_000
    assert set(made.values()) == {1}


async def test_processes_killed_for_minutes_claim_everything_once(
    aws: AwsEndpoint, minutes: float
) -> None:
    names, tenant, chance = made_tables(aws.url), new_tenant(), random.Random(20_261_122)
    schedules: list[str] = []
    with embedded_store(aws.url, names) as store, replicas(aws.url, names) as processes:
        places = {each: processes.start(*_command(each)) for each in range(4)}
        ends = time.monotonic() + minutes * 60
        while time.monotonic() < ends or len(schedules) < LEAST_CLAIMS:
            for _ in range(WAVE):
                schedules.append(f"s{len(schedules)}")
                await add_due(store, tenant, schedules[-1])
            await asyncio.sleep(chance.uniform(2, 8))
            _replace_one(processes, places, chance)
        ended = await _all_ended(store, tenant, schedules)
        results = await results_of(store, tenant, schedules)
    assert len(ended) == len(schedules) >= LEAST_CLAIMS
    assert {executions.status_of(each) for each in ended} == {executions.SUCCEEDED}
    assert set(Counter(text(each, "execution") for each in results).values()) == {1}
    assert len(results) == len(schedules)


def _command(place: int) -> list[str]:
    return SCHEDULER if place % 2 else EXECUTOR


def _replace_one(
    processes: Replicas, places: dict[int, subprocess.Popen[bytes]], chance: random.Random
) -> None:
    place = chance.randrange(len(places))
    processes.kill(places[place])
    places[place] = processes.start(*_command(place))


async def _all_ended(store: DynamoDbStore, tenant: str, schedules: list[str]) -> list[Item]:
    ended = -1
    async with asyncio.timeout(REST) as limit:
        while True:
            found = await executions_of(store, tenant, schedules)
            now_ended = sum(map(executions.has_ended, found))
            if now_ended == len(schedules):
                return found
            if now_ended > ended:
                # A busy machine takes its time; what is lost does not end however long it takes.
                limit.reschedule(asyncio.get_running_loop().time() + REST)
            ended = now_ended
            await asyncio.sleep(1)
