"""Schedules as tests make them, and what a scheduler does to them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from secmesh.tenancy.v1 import schedule_pb2 as messages
from secmesh.tenancy.v1 import schedule_service_pb2 as pb
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.tenant_service_pb2 import GetTenantQuotasRequest
from secmesh_client.refusal import CallRefused
from services.tenancy.schedules import due_changes
from services.tenancy.store.conditions import Equals
from services.tenancy.store.items import VERSION, version_of
from services.tenancy.store.keys import PlatformScope, TenantScope, shard_of
from services.tenancy.store.port import Add, Item, Update
from tests.service.tenancy_world import START, World

NOW = START // 1_000_000
DAY = 86400
# The world begins on Friday, 15 January 2027, at 08:00 in UTC.
EIGHT = int(datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp())
ACTIVE, PAUSED = messages.SCHEDULE_STATE_ACTIVE, messages.SCHEDULE_STATE_PAUSED
COMPLETED, DELETED = messages.SCHEDULE_STATE_COMPLETED, messages.SCHEDULE_STATE_DELETED


def stub(world: World, tenant: str, **who: Any) -> Any:
    return ScheduleServiceStub(world.channel(tenant, **who))


async def account_of(world: World, tenant: str, number: int = 1) -> str:
    if number == 1:
        await world.provider(tenant)
    return (await world.account(tenant, number)).name.rsplit("/", 1)[-1]


def create(tenant: str, account: str, expression: str = "@daily", **more: Any) -> Any:
    schedule_id, request_id = more.pop("schedule_id", ""), more.pop("request_id", "")
    given = messages.Schedule(
        account_id=account, schedule_name="Nightly", expression=expression, **more
    )
    return pb.CreateScheduleRequest(
        parent=f"tenants/{tenant}",
        schedule=given,
        schedule_id=schedule_id,
        request_id=request_id,
    )


async def one(world: World, expression: str = "@daily", **more: Any) -> tuple[str, str, Any]:
    """Make a tenant with an account and a schedule; give tenant, account and schedule."""
    tenant = await world.tenant()
    account = await account_of(world, tenant)
    made = await stub(world, tenant).CreateSchedule(create(tenant, account, expression, **more))
    return tenant, account, made


def id_of(schedule: messages.Schedule) -> str:
    return schedule.name.rsplit("/", 1)[-1]


async def stored(world: World, schedule: messages.Schedule) -> Item:
    tenant = schedule.name.split("/")[1]
    item = await world.parts.store.get(TenantScope(tenant).schedule(id_of(schedule)))
    assert item is not None
    return item


async def due_place(world: World, schedule: messages.Schedule) -> str:
    """Give where a schedule stands in the index of what is due; empty if it does not."""
    shard = shard_of(id_of(schedule), world.parts.settings.index_shards)
    page = await world.parts.store.query(PlatformScope().due(shard, 9_999_999_999))
    return next((str(each["due_sk"]) for each in page.items if id_of(schedule) in str(each)), "")


async def fires(world: World, schedule: messages.Schedule, at: int | None) -> None:
    """Move a schedule on as a scheduler does."""
    item, tenant = await stored(world, schedule), schedule.name.split("/")[1]
    changes = [*due_changes(item, at, world.parts.settings.index_shards), Add(VERSION, 1)]
    await world.parts.store.write(
        Update(
            TenantScope(tenant).schedule(id_of(schedule)),
            changes,
            Equals(VERSION, version_of(item)),
        )
    )


async def refused(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as caught:
        await call
    return caught.value


async def schedules_counted(world: World, tenant: str) -> int:
    asked = GetTenantQuotasRequest(name=f"tenants/{tenant}/quotas")
    return int((await world.tenants(tenant).GetTenantQuotas(asked)).schedules)
