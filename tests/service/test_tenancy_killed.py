"""Schedulers and executors killed with -9: nothing is lost, and nothing is published twice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.scheduling import executions
from services.tenancy.store.items import integer, text
from services.tenancy.store.port import Item
from tests.service.tenancy_replicas import (
    SCHEDULER,
    add_due,
    executions_of,
    replicas,
    results_of,
)
from tests.service.tenancy_stores import embedded_store, made_tables, new_tenant

EXECUTOR = "tests.service.tenancy_executor"
SCHEDULES = [f"s{number}" for number in range(6)]
PATIENCE = 240
"""Seconds that a loaded machine is given."""


async def until(
    found: Callable[[], Awaitable[list[Item]]], enough: Callable[[list[Item]], bool]
) -> list[Item]:
    """Give what is found once it is enough."""
    async with asyncio.timeout(PATIENCE):
        while not enough(items := await found()):
            await asyncio.sleep(0.1)
    return items


def running(items: list[Item]) -> list[Item]:
    return [each for each in items if executions.status_of(each) == executions.RUNNING]


@pytest.mark.timeout(600)
async def test_what_a_killed_process_leaves_goes_on_elsewhere(aws: AwsEndpoint) -> None:
    names, tenant = made_tables(aws.url), new_tenant()
    with embedded_store(aws.url, names) as store, replicas(aws.url, names) as processes:

        async def found() -> list[Item]:
            return await executions_of(store, tenant, SCHEDULES)

        for schedule_id in SCHEDULES:
            await add_due(store, tenant, schedule_id)
        # Its work never ends, so that what it took is under way when it is killed.
        endless = processes.start(EXECUTOR, "86400")
        scheduler = processes.start(*SCHEDULER)
        await until(found, lambda items: len(items) > 0)
        processes.kill(scheduler)
        processes.start(*SCHEDULER)
        await until(found, lambda items: len(running(items)) > 0)
        processes.kill(endless)
        left = [each for each in running(await found()) if _is_of(each, endless.pid)]
        processes.start(EXECUTOR, "0.2")
        ended = await until(found, lambda items: sum(map(_has_succeeded, items)) == len(SCHEDULES))
        results = await results_of(store, tenant, SCHEDULES)
    assert left
    assert len(ended) == len(SCHEDULES)
    assert sorted(text(each, "execution") for each in results) == sorted(map(_name, ended))
    for lost in left:
        again = next(each for each in ended if each["execution_id"] == lost["execution_id"])
        # Another took it, and not before the lease was over. How soon, the simulation tells.
        assert integer(again, "fence") > integer(lost, "fence")
        assert integer(again, "start_time") >= integer(lost, "lease_time")
        assert not _is_of(again, endless.pid)


@pytest.mark.timeout(600)
async def test_killing_every_scheduler_loses_nothing_and_fires_nothing_twice(
    aws: AwsEndpoint,
) -> None:
    names, tenant = made_tables(aws.url), new_tenant()
    with embedded_store(aws.url, names) as store, replicas(aws.url, names) as processes:

        async def found() -> list[Item]:
            return await executions_of(store, tenant, SCHEDULES)

        for number, schedule_id in enumerate(SCHEDULES):
            await add_due(store, tenant, schedule_id)
            if number % 2:
                continue
            # Whatever they are at: while one claims, while one begins, all are gone.
            every = [processes.start(*SCHEDULER) for _ in range(2)]
            made = number // 2
            await until(found, lambda items, made=made: len(items) > made)  # type: ignore[misc]  # binds the round
            for scheduler in every:
                processes.kill(scheduler)
        processes.start(*SCHEDULER)
        made_once = await until(found, lambda items: len(items) == len(SCHEDULES))
        # Another look at all of it fires nothing more: each was due once.
        processes.start(EXECUTOR, "0.2")
        ended = await until(found, lambda items: sum(map(_has_succeeded, items)) == len(SCHEDULES))
    names_of = [_name(each) for each in made_once]
    assert sorted(names_of) == sorted(set(map(_name, ended)))
    assert {text(each, "schedule_id") for each in ended} == set(SCHEDULES)


def _is_of(item: Item, process: int) -> bool:
    return f"-{process}-" in text(item, "executor")


def _has_succeeded(item: Item) -> bool:
    return executions.status_of(item) == executions.SUCCEEDED


def _name(item: Item) -> str:
    return executions.execution_name(
        text(item, "tenant_id"), text(item, "schedule_id"), text(item, "execution_id")
    )
