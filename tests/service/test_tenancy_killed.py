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

EXECUTOR = ["tests.service.tenancy_executor", "1.5"]
SCHEDULES = [f"s{number}" for number in range(6)]
PATIENCE = 90
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


@pytest.mark.timeout(300)
async def test_what_a_killed_process_leaves_goes_on_elsewhere(aws: AwsEndpoint) -> None:
    names, tenant = made_tables(aws.url), new_tenant()
    with embedded_store(aws.url, names) as store, replicas(aws.url, names) as processes:

        async def found() -> list[Item]:
            return await executions_of(store, tenant, SCHEDULES)

        for schedule_id in SCHEDULES:
            await add_due(store, tenant, schedule_id)
        first, second = (processes.start(*EXECUTOR) for _ in range(2))
        scheduler = processes.start(*SCHEDULER)
        await until(found, lambda items: len(items) > 0)
        processes.kill(scheduler)
        processes.start(*SCHEDULER)
        taken = running(await until(found, lambda items: len(running(items)) > 0))
        killed = first if f"-{first.pid}-" in text(taken[0], "executor") else second
        processes.kill(killed)
        left = [each for each in running(await found()) if _is_of(each, killed.pid)]
        ended = await until(found, lambda items: sum(map(_has_succeeded, items)) == len(SCHEDULES))
        results = await results_of(store, tenant, SCHEDULES)
    assert len(ended) == len(SCHEDULES)
    assert sorted(text(each, "execution") for each in results) == sorted(map(_name, ended))
    fences = {text(each, "execution_id"): integer(each, "fence") for each in ended}
    for lost in left:
        again = next(each for each in ended if each["execution_id"] == lost["execution_id"])
        assert fences[text(lost, "execution_id")] == integer(lost, "fence") + 1
        assert integer(again, "start_time") >= integer(lost, "lease_time")


def _is_of(item: Item, process: int) -> bool:
    return f"-{process}-" in text(item, "executor")


def _has_succeeded(item: Item) -> bool:
    return executions.status_of(item) == executions.SUCCEEDED


def _name(item: Item) -> str:
    return executions.execution_name(
        text(item, "tenant_id"), text(item, "schedule_id"), text(item, "execution_id")
    )
