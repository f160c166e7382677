"""Schedules: what callers may say of them, and when they fire next."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1 import schedule_pb2 as messages
from secmesh.tenancy.v1 import schedule_service_pb2 as pb
from secmesh.tenancy.v1.account_service_pb2 import DeleteAccountRequest
from secmesh_client.refusal import CallRefused
from services.tenancy.schedules import CODEC
from services.tenancy.timing.zones import TZDATA_VERSION
from tests.service.schedule_story import (
    ACTIVE,
    DAY,
    EIGHT,
    NOW,
    PAUSED,
    account_of,
    create,
    due_place,
    fires,
    one,
    refused,
    schedules_counted,
    stored,
    stub,
)
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, max_schedules=20) as opened:
        yield opened


async def test_a_schedule_is_created_with_its_next_time_and_what_was_left_out(world: World) -> None:
    tenant, account, made = await one(
        world, "30 2 * * *", schedule_id="nightly", time_zone="Europe/Berlin", jitter_seconds=3600
    )
    assert NOW == EIGHT
    assert made.name == f"tenants/{tenant}/schedules/nightly"
    assert (made.account_id, made.state) == (account, ACTIVE)
    assert made.next_fire_time.ToDatetime(UTC) == datetime(2027, 1, 16, 1, 30, tzinfo=UTC)
    assert made.start_time == made.create_time
    assert made.tzdata_version == TZDATA_VERSION
    assert (made.dst_gap, made.dst_fold) == (messages.DST_GAP_SHIFT, messages.DST_FOLD_FIRST)
    assert made.misfire_policy == messages.MISFIRE_POLICY_ONCE
    assert (made.misfire_window_seconds, made.misfire_grace_seconds) == (DAY, 60)
    assert made.overlap_policy == messages.OVERLAP_POLICY_SKIP
    assert await stub(world, tenant).GetSchedule(pb.GetScheduleRequest(name=made.name)) == made
    # It waits at the time that it runs at, its jitter included.
    run_time = made.next_fire_time.seconds + 2106
    assert await due_place(world, made) == f"{run_time:010d}#nightly"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"expression": ""}, "schedule.expression"),
        ({"expression": "* * * * *"}, "schedule.expression"),
        ({"expression": "rate(1 minute)"}, "schedule.expression"),
        ({"expression": "at(2027-01-15T07:59:59)"}, "schedule.expression"),
        ({"expression": "cron(0 0 1 1 ? 2026)"}, "schedule.expression"),
        ({"expression": "@daily", "time_zone": "Mars/Olympus"}, "schedule.time_zone"),
        ({"expression": "@daily", "end_time": Timestamp(seconds=NOW - 1)}, "schedule.end_time"),
        ({"expression": "@daily", "end_time": Timestamp(seconds=NOW + 1)}, "schedule.expression"),
        ({"expression": "@daily", "start_time": Timestamp(seconds=-1)}, "schedule.start_time"),
        ({"expression": "@daily", "end_time": Timestamp(seconds=10**15)}, "schedule.end_time"),
        ({"expression": "@daily", "jitter_seconds": 86401}, "schedule.jitter_seconds"),
        ({"expression": "@daily", "misfire_window_seconds": 59}, "schedule.misfire_window"),
        ({"expression": "@daily", "overlap_policy": 99}, "schedule.overlap_policy"),
        ({"expression": "@daily", "regions": ["eu-west-1", "eu-west-1"]}, "schedule.regions"),
    ],
)
async def test_what_cannot_be_is_refused_by_the_name_of_its_field(
    world: World, given: dict[str, Any], field: str
) -> None:
    tenant = await world.tenant()
    account = await account_of(world, tenant)
    found = await refused(stub(world, tenant).CreateSchedule(create(tenant, account, **given)))
    assert found.reason == "FIELD_INVALID"
    assert field in str(found)
    listed = await stub(world, tenant).ListSchedules(
        pb.ListSchedulesRequest(parent=f"tenants/{tenant}", show_deleted=True)
    )
    assert not listed.schedules


async def test_the_account_must_be_one_of_the_tenant_that_is_not_deleted(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    mine, theirs = await account_of(world, tenant), await account_of(world, other)
    unknown = await refused(stub(world, tenant).CreateSchedule(create(tenant, "nobody")))
    foreign = await refused(stub(world, tenant).CreateSchedule(create(tenant, theirs)))
    assert unknown.reason == foreign.reason == "RESOURCE_NOT_FOUND"
    assert str(foreign).replace(theirs, "nobody") == str(unknown)
    await world.accounts(tenant).DeleteAccount(
        DeleteAccountRequest(name=f"tenants/{tenant}/accounts/{mine}")
    )
    deleted = await refused(stub(world, tenant).CreateSchedule(create(tenant, mine)))
    assert deleted.reason == "RESOURCE_DELETED"
    assert await schedules_counted(world, tenant) == 0


async def test_another_tenants_schedule_is_as_one_there_is_none_of(world: World) -> None:
    _, _, made = await one(world, schedule_id="nightly")
    stranger = await world.tenant()
    calls = stub(world, stranger)
    own = f"tenants/{stranger}/schedules/nightly"
    for name in (made.name, own):
        for call in (
            calls.GetSchedule(pb.GetScheduleRequest(name=name)),
            calls.DeleteSchedule(pb.DeleteScheduleRequest(name=name)),
            calls.UndeleteSchedule(pb.UndeleteScheduleRequest(name=name)),
            calls.PauseSchedule(pb.PauseScheduleRequest(name=name)),
            calls.ResumeSchedule(pb.ResumeScheduleRequest(name=name)),
            calls.UpdateSchedule(pb.UpdateScheduleRequest(schedule=messages.Schedule(name=name))),
        ):
            found = await refused(call)
            assert (found.reason, str(found)) == (
                "RESOURCE_NOT_FOUND",
                str(await refused(calls.GetSchedule(pb.GetScheduleRequest(name=name)))),
            )
    preview = pb.PreviewScheduleRequest(parent=f"tenants/{stranger}", schedule_id="nightly")
    assert (await refused(calls.PreviewSchedule(preview))).reason == "RESOURCE_NOT_FOUND"


async def test_a_request_sent_twice_is_done_once(world: World) -> None:
    tenant = await world.tenant()
    account = await account_of(world, tenant)
    request = create(tenant, account, request_id=str(uuid.uuid4()))
    calls = stub(world, tenant)
    first, second = await asyncio.gather(
        calls.CreateSchedule(request), calls.CreateSchedule(request)
    )
    assert first == second
    assert await schedules_counted(world, tenant) == 1
    request.schedule.schedule_name = "Other"
    assert (await refused(calls.CreateSchedule(request))).reason == "REQUEST_ID_REUSED"
    delete = pb.DeleteScheduleRequest(name=first.name, request_id=str(uuid.uuid4()))
    gone = await calls.DeleteSchedule(delete)
    assert await calls.DeleteSchedule(delete) == gone
    assert await schedules_counted(world, tenant) == 0


async def test_an_account_is_not_scanned_all_day(world: World) -> None:
    tenant = await world.tenant()
    account = await account_of(world, tenant)
    calls = stub(world, tenant)
    often = await calls.CreateSchedule(create(tenant, account, "*/10 * * * *"))
    hourly = [await calls.CreateSchedule(create(tenant, account, "@hourly")) for _ in range(6)]
    full = await refused(calls.CreateSchedule(create(tenant, account, "@daily")))
    assert (full.reason, full.metadata["limit"]) == ("ACCOUNT_FIRES_EXCEEDED", "12")
    single = await calls.CreateSchedule(create(tenant, account, "at(2027-01-31T02:30:00)"))
    assert single.state == ACTIVE
    # An expression that fires less often makes room, one that fires more often needs it.
    more = messages.Schedule(name=hourly[0].name, expression="0,30 * * * *")
    found = await refused(calls.UpdateSchedule(pb.UpdateScheduleRequest(schedule=more)))
    assert found.reason == "ACCOUNT_FIRES_EXCEEDED"
    less = messages.Schedule(name=often.name, expression="*/12 * * * *")
    await calls.UpdateSchedule(pb.UpdateScheduleRequest(schedule=less))
    await calls.UpdateSchedule(pb.UpdateScheduleRequest(schedule=more))
    assert (await refused(calls.CreateSchedule(create(tenant, account)))).reason == full.reason
    await calls.DeleteSchedule(pb.DeleteScheduleRequest(name=hourly[1].name))
    await calls.CreateSchedule(create(tenant, account))
    undelete = pb.UndeleteScheduleRequest(name=hourly[1].name)
    assert (await refused(calls.UndeleteSchedule(undelete))).reason == full.reason
    other = await account_of(world, tenant, 2)
    await calls.CreateSchedule(create(tenant, other, "*/5 * * * *"))


async def test_no_more_are_made_than_the_quota_allows_however_many_try(world: World) -> None:
    tenant = await world.tenant()
    account = await account_of(world, tenant)
    calls = stub(world, tenant)
    request = create(tenant, account, "at(2027-01-31T02:30:00)")
    results = await asyncio.gather(
        *(calls.CreateSchedule(request) for _ in range(25)), return_exceptions=True
    )
    failed = [each for each in results if isinstance(each, CallRefused)]
    assert {each.reason for each in failed} == {"QUOTA_EXCEEDED"}
    assert await schedules_counted(world, tenant) == len(results) - len(failed) == 20


async def test_other_times_move_the_next_fire_and_other_fields_do_not(world: World) -> None:
    tenant, _, made = await one(world, "@hourly")
    calls = stub(world, tenant)
    world.clock.turn(2 * 3600 + 1)
    renamed = await calls.UpdateSchedule(
        pb.UpdateScheduleRequest(
            schedule=messages.Schedule(name=made.name, schedule_name="Renamed"),
            update_mask=FieldMask(paths=["schedule_name", "description"]),
        )
    )
    # Its time has come and no scheduler took it up: it is still to run.
    assert renamed.next_fire_time == made.next_fire_time
    assert renamed.schedule_name == "Renamed"
    assert renamed.update_time.seconds == NOW + 2 * 3600 + 1
    jittered = await calls.UpdateSchedule(
        pb.UpdateScheduleRequest(schedule=messages.Schedule(name=made.name, jitter_seconds=600))
    )
    assert jittered.next_fire_time == made.next_fire_time
    assert await due_place(world, made) > f"{made.next_fire_time.seconds:010d}#~"
    moved = await calls.UpdateSchedule(
        pb.UpdateScheduleRequest(
            schedule=messages.Schedule(name=made.name, time_zone="Asia/Kathmandu")
        )
    )
    assert moved.next_fire_time.seconds == EIGHT + 2 * 3600 + 15 * 60
    back = await calls.UpdateSchedule(
        pb.UpdateScheduleRequest(
            schedule=messages.Schedule(name=made.name), update_mask=FieldMask(paths=["time_zone"])
        )
    )
    assert (back.time_zone, back.next_fire_time.seconds) == ("UTC", EIGHT + 3 * 3600)


async def test_updates_hold_to_etags_masks_and_what_must_stay(world: World) -> None:
    tenant, _, made = await one(world)
    calls = stub(world, tenant)

    async def update(schedule: messages.Schedule, *paths: str) -> messages.Schedule:
        schedule.name = made.name
        changed: messages.Schedule = await calls.UpdateSchedule(
            pb.UpdateScheduleRequest(schedule=schedule, update_mask=FieldMask(paths=paths))
        )
        return changed

    second = await update(messages.Schedule(etag=made.etag, pause_on_failure=True))
    assert (second.pause_on_failure, second.etag != made.etag) == (True, True)
    stale = await refused(update(messages.Schedule(etag=made.etag, description="x")))
    assert stale.reason == "ETAG_MISMATCH"
    unknown = await refused(update(messages.Schedule(), "cron"))
    assert unknown.reason == "MASK_INVALID"
    moved = await refused(update(messages.Schedule(account_id="other"), "account_id"))
    assert "schedule.account_id" in str(moved)
    emptied = await refused(update(messages.Schedule(), "expression"))
    assert "schedule.expression" in str(emptied)
    # What the service sets is passed over.
    kept = await update(messages.Schedule(state=PAUSED, fired_count=9), "state", "fired_count")
    assert (kept.state, kept.fired_count) == (ACTIVE, 0)


async def test_a_change_without_etag_comes_through_beside_a_scheduler(world: World) -> None:
    tenant, _, made = await one(world, "@hourly")
    store = world.parts.store
    real, moved = store.write, False

    async def write(*actions: Any, token: str = "") -> None:
        nonlocal moved
        if not moved:
            moved = True
            await fires(world, made, EIGHT + 2 * 3600)
        await real(*actions, token=token)

    store.write = write  # type: ignore[method-assign]  # a scheduler that is there first
    renamed = await stub(world, tenant).UpdateSchedule(
        pb.UpdateScheduleRequest(schedule=messages.Schedule(name=made.name, schedule_name="New"))
    )
    assert moved
    assert (renamed.schedule_name, renamed.next_fire_time.seconds) == ("New", EIGHT + 2 * 3600)


async def test_calls_of_the_store_stay_few(world: World) -> None:
    tenant, account, made = await one(world)
    calls = stub(world, tenant)
    world.clock.turn(3600)
    measured = {
        "create": (calls.CreateSchedule, create(tenant, account)),
        "get": (calls.GetSchedule, pb.GetScheduleRequest(name=made.name)),
        "list": (calls.ListSchedules, pb.ListSchedulesRequest(parent=f"tenants/{tenant}")),
        "list of an account": (
            calls.ListSchedules,
            pb.ListSchedulesRequest(parent=f"tenants/{tenant}", account_id=account),
        ),
        "update": (
            calls.UpdateSchedule,
            pb.UpdateScheduleRequest(schedule=messages.Schedule(name=made.name, description="x")),
        ),
        "pause": (calls.PauseSchedule, pb.PauseScheduleRequest(name=made.name)),
        "resume": (calls.ResumeSchedule, pb.ResumeScheduleRequest(name=made.name)),
        "delete": (calls.DeleteSchedule, pb.DeleteScheduleRequest(name=made.name)),
    }
    for name, (call, request) in measured.items():
        before = len(world.recorder.calls)
        await call(request)
        made_calls = [each.operation for each in world.recorder.calls[before:]]
        assert len(made_calls) <= 2, (name, made_calls)
        assert "Scan" not in made_calls


async def test_what_is_stored_reads_back_the_same(world: World) -> None:
    _, _, made = await one(
        world,
        "cron(30 2 ? * MON-FRI *)",
        time_zone="America/New_York",
        regions=["eu-west-1", "us-east-1"],
        collections=["s3_buckets"],
        ssp_id="fedramp",
        pause_on_failure=True,
    )
    item = await stored(world, made)
    assert CODEC.message(item) == made
    assert (item["account_id"], item["state"]) == (made.account_id, "SCHEDULE_STATE_ACTIVE")
    assert item["next_fire_time"] == made.next_fire_time.seconds * 1_000_000
