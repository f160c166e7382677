"""Schedules that are paused, completed, deleted and brought back; lists and previews."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1 import schedule_pb2 as messages
from secmesh.tenancy.v1 import schedule_preview_pb2
from secmesh.tenancy.v1 import schedule_service_pb2 as pb
from services.tenancy.schedules import pause_changes
from services.tenancy.store.conditions import Equals
from services.tenancy.store.items import VERSION, version_of
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Add, Update
from services.tenancy.timing.zones import TZDATA_VERSION
from tests.service.schedule_story import (
    ACTIVE,
    COMPLETED,
    DAY,
    DELETED,
    EIGHT,
    NOW,
    PAUSED,
    account_of,
    create,
    due_place,
    fires,
    id_of,
    one,
    refused,
    stored,
    stub,
)
from tests.service.tenancy_world import OPERATOR, World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, max_schedules=20) as opened:
        yield opened


async def test_a_paused_schedule_waits_for_nothing_and_makes_nothing_up(world: World) -> None:
    tenant, _, made = await one(world, "@hourly")
    calls = stub(world, tenant)
    paused = await calls.PauseSchedule(pb.PauseScheduleRequest(name=made.name, reason="freeze"))
    assert (paused.state, paused.pause_reason) == (PAUSED, "freeze")
    assert not paused.HasField("next_fire_time")
    assert await due_place(world, made) == ""
    again = await calls.PauseSchedule(pb.PauseScheduleRequest(name=made.name, reason="more"))
    assert again == paused
    world.clock.turn(5 * 3600 + 60)
    edited = await calls.UpdateSchedule(
        pb.UpdateScheduleRequest(schedule=messages.Schedule(name=made.name, expression="5 * * * *"))
    )
    assert (edited.state, edited.HasField("next_fire_time")) == (PAUSED, False)
    resumed = await calls.ResumeSchedule(pb.ResumeScheduleRequest(name=made.name))
    assert (resumed.state, resumed.pause_reason) == (ACTIVE, "")
    assert resumed.next_fire_time.seconds == EIGHT + 5 * 3600 + 300
    assert await due_place(world, made) == f"{EIGHT + 5 * 3600 + 300:010d}#{id_of(made)}"
    assert await calls.ResumeSchedule(pb.ResumeScheduleRequest(name=made.name)) == resumed


async def test_a_failure_pauses_as_a_caller_does(world: World) -> None:
    tenant, _, made = await one(world)
    item = await stored(world, made)
    changes = [*pause_changes(item, world.clock.now(), "execution failed"), Add(VERSION, 1)]
    key = TenantScope(tenant).schedule(id_of(made))
    await world.parts.store.write(Update(key, changes, Equals(VERSION, version_of(item))))
    paused = await stub(world, tenant).GetSchedule(pb.GetScheduleRequest(name=made.name))
    assert (paused.state, paused.pause_reason) == (PAUSED, "execution failed")
    assert await due_place(world, made) == ""
    resumed = await stub(world, tenant).ResumeSchedule(pb.ResumeScheduleRequest(name=made.name))
    assert resumed.next_fire_time == made.next_fire_time


async def test_a_schedule_without_times_left_is_completed_until_it_has_some(world: World) -> None:
    tenant, _, made = await one(world, "at(2027-01-15T09:00:00)")
    calls = stub(world, tenant)
    world.clock.turn(3600)
    await fires(world, made, None)
    done = await calls.GetSchedule(pb.GetScheduleRequest(name=made.name))
    assert (done.state, done.HasField("next_fire_time")) == (COMPLETED, False)
    assert await due_place(world, made) == ""
    found = await refused(calls.PauseSchedule(pb.PauseScheduleRequest(name=made.name)))
    assert found.reason == "SCHEDULE_COMPLETED"
    renewed = await calls.UpdateSchedule(
        pb.UpdateScheduleRequest(schedule=messages.Schedule(name=made.name, expression="@daily"))
    )
    assert (renewed.state, renewed.next_fire_time.seconds) == (ACTIVE, EIGHT + 16 * 3600)


async def test_a_deleted_schedule_can_be_brought_back_for_thirty_days(world: World) -> None:
    tenant, account, made = await one(world, "@hourly", schedule_id="hourly")
    calls = stub(world, tenant)
    gone = await calls.DeleteSchedule(pb.DeleteScheduleRequest(name=made.name, etag=made.etag))
    assert gone.state == DELETED
    assert gone.purge_time.seconds == NOW + 30 * DAY
    assert await due_place(world, made) == ""
    for call in (
        calls.DeleteSchedule(pb.DeleteScheduleRequest(name=made.name)),
        calls.PauseSchedule(pb.PauseScheduleRequest(name=made.name)),
        calls.UpdateSchedule(pb.UpdateScheduleRequest(schedule=messages.Schedule(name=made.name))),
    ):
        assert (await refused(call)).reason == "RESOURCE_DELETED"
    taken = await refused(calls.CreateSchedule(create(tenant, account, schedule_id="hourly")))
    assert taken.reason == "RESOURCE_EXISTS"
    world.clock.turn(DAY)
    back = await calls.UndeleteSchedule(pb.UndeleteScheduleRequest(name=made.name))
    assert (back.state, back.next_fire_time.seconds) == (ACTIVE, EIGHT + DAY + 3600)
    assert not back.HasField("purge_time")
    found = await refused(calls.UndeleteSchedule(pb.UndeleteScheduleRequest(name=made.name)))
    assert found.reason == "RESOURCE_NOT_DELETED"
    world.clock.turn(31 * DAY)
    assert (await calls.GetSchedule(pb.GetScheduleRequest(name=made.name))).state == ACTIVE
    await calls.DeleteSchedule(pb.DeleteScheduleRequest(name=made.name))
    world.clock.turn(30 * DAY)
    found = await refused(calls.UndeleteSchedule(pb.UndeleteScheduleRequest(name=made.name)))
    assert found.reason == "RESOURCE_NOT_FOUND"
    anew = await calls.CreateSchedule(create(tenant, account, schedule_id="hourly"))
    assert anew.create_time.seconds == NOW + 62 * DAY


async def test_a_schedule_that_was_paused_comes_back_paused(world: World) -> None:
    tenant, _, made = await one(world)
    calls = stub(world, tenant)
    await calls.PauseSchedule(pb.PauseScheduleRequest(name=made.name))
    await calls.DeleteSchedule(pb.DeleteScheduleRequest(name=made.name))
    back = await calls.UndeleteSchedule(pb.UndeleteScheduleRequest(name=made.name))
    assert (back.state, back.HasField("next_fire_time")) == (PAUSED, False)


async def test_schedules_are_listed_by_tenant_and_by_account_in_pages(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    first, second = await account_of(world, tenant), await account_of(world, tenant, 2)
    calls, at = stub(world, tenant), "at(2027-01-31T02:30:00)"
    names = [
        (await calls.CreateSchedule(create(tenant, account, at, schedule_id=f"s{number}"))).name
        for number, account in enumerate((first, second) * 3)
    ]
    await calls.DeleteSchedule(pb.DeleteScheduleRequest(name=names[5]))

    async def listed(**asked: Any) -> list[str]:
        found, token = [], ""
        while True:
            page = await calls.ListSchedules(
                pb.ListSchedulesRequest(
                    parent=f"tenants/{tenant}", page_size=2, page_token=token, **asked
                )
            )
            found += [each.name for each in page.schedules]
            token = page.next_page_token
            if not token:
                return found

    assert await listed() == names[:5]
    assert await listed(show_deleted=True) == names
    assert await listed(account_id=first) == names[0:5:2]
    assert await listed(account_id=second) == names[1:4:2]
    assert await listed(account_id=second, show_deleted=True) == names[1::2]
    assert await listed(account_id="nobody") == []
    page = await calls.ListSchedules(
        pb.ListSchedulesRequest(parent=f"tenants/{tenant}", page_size=2)
    )
    for asked in (
        pb.ListSchedulesRequest(parent=f"tenants/{tenant}", page_token=page.next_page_token[:-1]),
        pb.ListSchedulesRequest(
            parent=f"tenants/{tenant}", page_token=page.next_page_token, account_id=first
        ),
    ):
        assert (await refused(calls.ListSchedules(asked))).reason == "PAGE_TOKEN_INVALID"
    theirs = pb.ListSchedulesRequest(parent=f"tenants/{other}", page_token=page.next_page_token)
    found = await refused(stub(world, other).ListSchedules(theirs))
    assert found.reason == "PAGE_TOKEN_INVALID"


async def test_a_preview_shows_what_clocks_do_to_times(world: World) -> None:
    tenant, _, made = await one(
        world, "30 2 * * *", schedule_id="nightly", time_zone="Europe/Berlin", jitter_seconds=3600
    )
    calls, parent = stub(world, tenant), f"tenants/{tenant}"
    next_fires = await calls.PreviewSchedule(
        pb.PreviewScheduleRequest(parent=parent, schedule_id="nightly")
    )
    assert len(next_fires.fires) == 20
    assert next_fires.fires[0].fire_time == made.next_fire_time
    assert next_fires.fires[0].run_time.seconds == made.next_fire_time.seconds + 2106
    assert next_fires.tzdata_version == TZDATA_VERSION
    spring = Timestamp(seconds=int(datetime(2027, 3, 27, 12, tzinfo=UTC).timestamp()))
    given = messages.Schedule(expression="30 2 * * *", time_zone="Europe/Berlin")
    given.dst_gap = messages.DST_GAP_SKIP
    unsaved = await calls.PreviewSchedule(
        pb.PreviewScheduleRequest(parent=parent, schedule=given, after_time=spring, count=2)
    )
    assert [each.mark for each in unsaved.fires] == [
        schedule_preview_pb2.FIRE_MARK_GAP_SKIPPED,
        schedule_preview_pb2.FIRE_MARK_PLAIN,
    ]
    assert unsaved.fires[1].local_time == "2027-03-29T02:30:00+02:00"
    autumn = Timestamp(seconds=int(datetime(2020, 10, 24, 12, tzinfo=UTC).timestamp()))
    given.dst_fold = messages.DST_FOLD_LAST
    passed = await calls.PreviewSchedule(
        pb.PreviewScheduleRequest(parent=parent, schedule=given, after_time=autumn, count=2)
    )
    assert [each.local_time for each in passed.fires if each.HasField("run_time")] == [
        "2020-10-25T02:30:00+01:00"
    ]
    bad = pb.PreviewScheduleRequest(parent=parent, schedule=messages.Schedule(expression="@never"))
    assert "schedule.expression" in str(await refused(calls.PreviewSchedule(bad)))
    neither = pb.PreviewScheduleRequest(parent=parent)
    assert (await refused(calls.PreviewSchedule(neither))).reason == "FIELD_INVALID"


async def test_what_is_due_is_listed_for_the_platform_the_longest_due_first(world: World) -> None:
    made = [(await one(world, f"{minute} * * * *"))[2] for minute in (30, 10, 50, 20, 40)]
    _, _, paused = await one(world, "15 * * * *")
    calls = stub(world, paused.name.split("/")[1])
    await calls.PauseSchedule(pb.PauseScheduleRequest(name=paused.name))
    platform = stub(world, OPERATOR, roles=["platform"])

    async def due() -> list[str]:
        found, token = [], ""
        while True:
            page = await platform.ListDueSchedules(
                pb.ListDueSchedulesRequest(page_size=2, page_token=token)
            )
            found += [each.name for each in page.schedules]
            token = page.next_page_token
            if not token:
                return found

    assert await due() == []
    world.clock.turn(41 * 60)
    late = sorted((each for each in made), key=lambda each: each.next_fire_time.seconds)
    assert await due() == [each.name for each in late[:4]]
    await fires(world, late[0], EIGHT + 2 * 3600)
    assert await due() == [each.name for each in late[1:4]]
    found = await refused(calls.ListDueSchedules(pb.ListDueSchedulesRequest()))
    assert found.reason == "PERMISSION_MISSING"
    bad = pb.ListDueSchedulesRequest(page_token="AAAA")
    assert (await refused(platform.ListDueSchedules(bad))).reason == "PAGE_TOKEN_INVALID"
