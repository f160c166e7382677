"""Executions that callers ask for: one now, and those of times that are past."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1 import execution_pb2
from secmesh.tenancy.v1 import schedule_pb2 as messages
from secmesh.tenancy.v1 import schedule_service_pb2 as pb
from secmesh.tenancy.v1.account_service_pb2 import DeleteAccountRequest
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh_client.refusal import CallRefused
from services.tenancy.scheduling.claims import claim_of
from services.tenancy.scheduling.scheduler import SchedulerPace
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import ConditionFailed
from tests.service.tenancy_world import World, tenancy_world

EIGHT = int(datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp())
HOUR = 3600
QUEUED = execution_pb2.EXECUTION_STATUS_QUEUED
SKIPPED = execution_pb2.EXECUTION_STATUS_SKIPPED
MANUAL = execution_pb2.EXECUTION_TRIGGER_MANUAL
BACKFILL = execution_pb2.EXECUTION_TRIGGER_BACKFILL


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def hourly(world: World, **more: Any) -> tuple[Any, messages.Schedule]:
    """Make an hourly schedule of a tenant of its own; give the tenant's stub and the schedule."""
    tenant = await world.tenant()
    await world.provider(tenant)
    account = (await world.account(tenant)).name.rsplit("/", 1)[-1]
    stub: Any = ScheduleServiceStub(world.channel(tenant))
    given = messages.Schedule(
        account_id=account, schedule_name="Hourly", expression="@hourly", **more
    )
    made = await stub.CreateSchedule(
        pb.CreateScheduleRequest(parent=f"tenants/{tenant}", schedule=given, schedule_id="hourly")
    )
    return stub, made


def backfill(schedule: messages.Schedule, first: int, last: int, **more: Any) -> Any:
    """Ask for hours of the day from one to another."""
    begin = EIGHT - 8 * HOUR
    return pb.BackfillScheduleRequest(
        name=schedule.name,
        start_time=Timestamp(seconds=begin + first * HOUR),
        end_time=Timestamp(seconds=begin + last * HOUR),
        **more,
    )


async def claim(world: World, schedule: messages.Schedule) -> None:
    """Take a schedule up as a scheduler does."""
    tenant, now = schedule.name.split("/")[1], world.clock.now()
    item = await world.parts.store.get(TenantScope(tenant).schedule("hourly"))
    assert item is not None
    found = await claim_of(world.parts.store, item, now, SchedulerPace())
    assert found is not None
    await world.parts.store.write(*found.actions)


async def refused(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as caught:
        await call
    return caught.value


async def test_a_schedule_is_run_now_and_its_next_time_stays(world: World) -> None:
    stub, made = await hourly(world)
    execution = await stub.TriggerSchedule(pb.TriggerScheduleRequest(name=made.name))
    assert execution.name.startswith(f"{made.name}/executions/")
    assert (execution.status, execution.trigger) == (QUEUED, MANUAL)
    assert execution.account_id == made.account_id
    assert execution.fire_time.seconds == EIGHT
    after = await stub.GetSchedule(pb.GetScheduleRequest(name=made.name))
    assert after.next_fire_time == made.next_fire_time
    assert after.last_execution_id == execution.name.rsplit("/", 1)[-1]
    assert after.etag != made.etag


async def test_the_overlap_policy_holds_unless_another_is_given(world: World) -> None:
    stub, made = await hourly(world)
    trigger = pb.TriggerScheduleRequest(name=made.name)
    first = await stub.TriggerSchedule(trigger)
    assert (await stub.TriggerSchedule(trigger)).status == SKIPPED
    trigger.overlap_policy = messages.OVERLAP_POLICY_BUFFER_ONE
    waits = await stub.TriggerSchedule(trigger)
    assert (waits.status, waits.depends_on) == (QUEUED, first.name.rsplit("/", 1)[-1])
    trigger.overlap_policy = messages.OVERLAP_POLICY_ALLOW
    beside = await stub.TriggerSchedule(trigger)
    assert (beside.status, beside.depends_on) == (QUEUED, "")


async def test_a_trigger_sent_twice_runs_once(world: World) -> None:
    stub, made = await hourly(world, overlap_policy=messages.OVERLAP_POLICY_ALLOW)
    trigger = pb.TriggerScheduleRequest(name=made.name, request_id=str(uuid.uuid4()))
    both = await asyncio.gather(*(stub.TriggerSchedule(trigger) for _ in range(4)))
    assert len({each.name for each in both}) == 1
    manual = TenantScope(made.name.split("/")[1]).manual_executions_of_schedule("hourly")
    assert len((await world.parts.store.query(manual)).items) == 1
    trigger.overlap_policy = messages.OVERLAP_POLICY_SKIP
    assert (await refused(stub.TriggerSchedule(trigger))).reason == "REQUEST_ID_REUSED"


async def test_triggers_beside_each_other_and_a_claim_lose_none(world: World) -> None:
    stub, made = await hourly(world)
    world.clock.turn(HOUR)
    trigger = pb.TriggerScheduleRequest(name=made.name)
    results = await asyncio.gather(
        *(stub.TriggerSchedule(trigger) for _ in range(3)),
        claim(world, made),
        return_exceptions=True,
    )
    # Of several at once one runs; the others see it and are skipped, or say that they collided.
    statuses = [each.status for each in results if isinstance(each, execution_pb2.Execution)]
    others = [each for each in results if isinstance(each, Exception)]
    assert all(isinstance(each, (ConditionFailed, CallRefused)) for each in others)
    scope = TenantScope(made.name.split("/")[1])
    store = world.parts.store
    manual = (await store.query(scope.manual_executions_of_schedule("hourly"))).items
    fired = (await store.query(scope.executions_of_schedule("hourly"))).items
    assert len(manual) == len(statuses)
    assert len(fired) <= 1
    queued = [each for each in (*manual, *fired) if each["status"] == "EXECUTION_STATUS_QUEUED"]
    assert len(queued) == 1


async def test_a_paused_schedule_is_triggered_and_a_deleted_one_is_not(world: World) -> None:
    stub, made = await hourly(world)
    await stub.PauseSchedule(pb.PauseScheduleRequest(name=made.name))
    trigger = pb.TriggerScheduleRequest(name=made.name)
    assert (await stub.TriggerSchedule(trigger)).status == QUEUED
    assert not (await stub.GetSchedule(pb.GetScheduleRequest(name=made.name))).HasField(
        "next_fire_time"
    )
    await stub.DeleteSchedule(pb.DeleteScheduleRequest(name=made.name))
    assert (await refused(stub.TriggerSchedule(trigger))).reason == "RESOURCE_DELETED"
    found = await refused(stub.BackfillSchedule(backfill(made, 8, 8)))
    assert found.reason == "RESOURCE_DELETED"


async def test_nothing_runs_for_an_account_that_is_deleted_nor_for_strangers(world: World) -> None:
    stub, made = await hourly(world)
    tenant = made.name.split("/")[1]
    stranger = await world.tenant()
    foreign: Any = ScheduleServiceStub(world.channel(stranger))
    for name in (made.name, f"tenants/{stranger}/schedules/hourly"):
        for call in (
            foreign.TriggerSchedule(pb.TriggerScheduleRequest(name=name)),
            foreign.BackfillSchedule(backfill(messages.Schedule(name=name), 0, 8)),
        ):
            assert (await refused(call)).reason == "RESOURCE_NOT_FOUND"
    account = f"tenants/{tenant}/accounts/{made.account_id}"
    await world.accounts(tenant).DeleteAccount(DeleteAccountRequest(name=account))
    world.clock.turn(2 * HOUR)
    for call in (
        stub.TriggerSchedule(pb.TriggerScheduleRequest(name=made.name)),
        stub.BackfillSchedule(backfill(made, 9, 10)),
    ):
        found = await refused(call)
        assert (found.reason, found.metadata["resource"]) == ("RESOURCE_DELETED", account)


async def test_times_of_the_past_get_the_executions_that_they_lack(world: World) -> None:
    stub, made = await hourly(world)
    world.clock.turn(HOUR)
    await claim(world, made)
    world.clock.turn(4 * HOUR)
    found = (await stub.BackfillSchedule(backfill(made, 8, 12))).executions
    assert [each.fire_time.seconds for each in found] == [EIGHT + hour * HOUR for hour in range(5)]
    assert [each.trigger == BACKFILL for each in found] == [True, False, True, True, True]
    assert {each.status for each in found} == {QUEUED}
    again = (await stub.BackfillSchedule(backfill(made, 8, 12))).executions
    assert list(again) == list(found)


async def test_a_claim_passes_over_what_a_backfill_made(world: World) -> None:
    stub, made = await hourly(world, misfire_policy=messages.MISFIRE_POLICY_ALL)
    world.clock.turn(3 * HOUR)
    await stub.BackfillSchedule(backfill(made, 9, 10))
    tenant, store = made.name.split("/")[1], world.parts.store
    item = await store.get(TenantScope(tenant).schedule("hourly"))
    assert item is not None
    executions = TenantScope(tenant).executions_of_schedule("hourly")
    known = [str(each["execution_id"]) for each in (await store.query(executions)).items]
    found = await claim_of(store, item, world.clock.now(), SchedulerPace(), known)
    assert found is not None
    await store.write(*found.actions)
    fires = (await store.query(executions)).items
    assert [each["trigger"] for each in fires] == [
        "EXECUTION_TRIGGER_BACKFILL",
        "EXECUTION_TRIGGER_BACKFILL",
        "EXECUTION_TRIGGER_SCHEDULE",
    ]


async def test_a_stretch_that_cannot_be_is_refused(world: World) -> None:
    stub, made = await hourly(world)
    world.clock.turn(51 * HOUR)
    for asked, problem in (
        (backfill(made, 10, 9), "before start_time"),
        (backfill(made, 8, 60), "is to come"),
        (backfill(made, 8, 58), "more than 50"),
        (pb.BackfillScheduleRequest(name=made.name), "start_time"),
        # Nothing fires before it was created.
        (backfill(made, 0, 7), "is before the schedule's own start_time, 2027-"),
    ):
        found = await refused(stub.BackfillSchedule(asked))
        assert (found.reason, problem in str(found)) == ("FIELD_INVALID", True), found
    assert len((await stub.BackfillSchedule(backfill(made, 8, 57))).executions) == 50


async def test_callers_who_meet_at_one_schedule_all_get_on(world: World) -> None:
    stub, made = await hourly(world)
    trigger = pb.TriggerScheduleRequest(name=made.name)
    found = await asyncio.gather(*(stub.TriggerSchedule(trigger) for _ in range(8)))
    assert sorted(each.status for each in found) == [QUEUED] + [SKIPPED] * 7
