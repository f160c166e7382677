"""A schedule fires, an executor scans, and callers see, end and repeat what came of it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1 import execution_pb2 as messages
from secmesh.tenancy.v1 import execution_service_pb2 as pb
from secmesh.tenancy.v1 import scan_result_service_pb2 as results
from secmesh.tenancy.v1.execution_service_pb2_grpc import ExecutionServiceStub
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh.tenancy.v1.scan_result_service_pb2_grpc import ScanResultServiceStub
from secmesh.tenancy.v1.schedule_pb2 import SCHEDULE_STATE_PAUSED, Schedule
from secmesh.tenancy.v1.schedule_service_pb2 import CreateScheduleRequest, GetScheduleRequest
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh_client.refusal import CallRefused
from services.tenancy.scan_results import published
from services.tenancy.scheduling.executions import Plan, created
from services.tenancy.scheduling.executor import Executor
from services.tenancy.scheduling.scheduler import Scheduler
from services.tenancy.scheduling.work import ACCOUNT_GONE, Assignment, Published, WorkFailed
from services.tenancy.store.keys import TenantScope
from tests.service.tenancy_world import World, tenancy_world

DAY = 86400
QUEUED = messages.EXECUTION_STATUS_QUEUED
RUNNING = messages.EXECUTION_STATUS_RUNNING
SUCCEEDED = messages.EXECUTION_STATUS_SUCCEEDED
FAILED = messages.EXECUTION_STATUS_FAILED
CANCELLED = messages.EXECUTION_STATUS_CANCELLED


@dataclass
class Scan:
    """Work that ends as a test says."""

    world: World
    failure: WorkFailed | None = None
    done: list[Assignment] = field(default_factory=list)

    async def run(self, assignment: Assignment) -> Published:
        self.done.append(assignment)
        if self.failure is not None:
            raise self.failure
        result = ScanResult(account_id=assignment.account_id, fence=assignment.fence)
        result.execution = (
            f"tenants/{assignment.tenant}/schedules/{assignment.schedule_id}"
            f"/executions/{assignment.execution_id}"
        )
        now = self.world.clock.now()
        name, action = published(result, assignment.tenant, assignment.execution_id, now)
        return Published(name, [action])

    async def abort(self, _assignment: Assignment) -> None:
        """Nothing goes on elsewhere."""


@dataclass
class Site:
    """A tenant with one schedule, a scheduler and an executor that work when a test says so."""

    world: World
    tenant: str
    schedule: str
    account: str
    scan: Scan

    @property
    def stub(self) -> Any:
        return ExecutionServiceStub(self.world.channel(self.tenant))

    @property
    def results(self) -> Any:
        return ScanResultServiceStub(self.world.channel(self.tenant))

    async def fire(self, days: int = 1) -> list[messages.Execution]:
        """Let so many days pass and be claimed; give the schedule's executions, newest first."""
        scheduler = Scheduler(self.world.parts.store, self.world.clock, Random(1))
        for _ in range(days):
            self.world.clock.turn(DAY)
            await scheduler.tick()
        return await self.listed(self.schedule)

    async def execute(self) -> None:
        """Run all that can be run."""
        executor = Executor(
            self.world.parts.store, self.world.clock, Random(1), self.scan, uuid.uuid4().hex
        )
        for attempt in await executor.poll():
            await attempt.run()

    async def listed(self, parent: str, **asked: Any) -> list[messages.Execution]:
        request = pb.ListExecutionsRequest(parent=parent, **asked)
        return list((await self.stub.ListExecutions(request)).executions)

    async def get(self, name: str) -> messages.Execution:
        found: messages.Execution = await self.stub.GetExecution(pb.GetExecutionRequest(name=name))
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with tenancy_world(tmp_path) as world:
        tenant = await world.tenant()
        await world.provider(tenant)
        account = (await world.account(tenant)).name.rsplit("/", 1)[-1]
        schedules = ScheduleServiceStub(world.channel(tenant))
        schedule = await schedules.CreateSchedule(
            CreateScheduleRequest(
                parent=f"tenants/{tenant}",
                schedule=Schedule(account_id=account, schedule_name="N", expression="@daily"),
            )
        )
        yield Site(world, tenant, schedule.name, account, Scan(world))


async def test_a_schedule_fires_and_the_result_is_there_with_the_end(site: Site) -> None:
    (made,) = await site.fire()
    assert (made.status, made.account_id) == (QUEUED, site.account)
    assert made.trigger == messages.EXECUTION_TRIGGER_SCHEDULE
    assert made.fire_time.seconds % DAY == 0
    await site.execute()
    ended = await site.get(made.name)
    assert (ended.status, ended.attempts, ended.fence) == (SUCCEEDED, 1, 1)
    assert ended.etag != made.etag
    assert site.scan.done[0].key.startswith(made.name.rsplit("/", 1)[-1])
    result = await site.results.GetScanResult(results.GetScanResultRequest(name=ended.scan_result))
    assert result.execution == made.name
    asked: Any
    for asked in ({"account_id": site.account}, {"execution": made.name}, {}):
        request = results.ListScanResultsRequest(parent=f"tenants/{site.tenant}", **asked)
        assert list((await site.results.ListScanResults(request)).scan_results) == [result]


async def test_lists_are_of_a_schedule_an_account_or_a_month_and_paged(site: Site) -> None:
    for _ in range(3):
        await site.fire()
        await site.execute()
    listed = await site.listed(site.schedule)
    times = [each.fire_time.seconds for each in listed]
    assert times == sorted(times, reverse=True)
    assert len(listed) == 3
    every = f"tenants/{site.tenant}/schedules/-"
    assert await site.listed(every, account_id=site.account) == listed
    assert await site.listed(every) == listed
    assert await site.listed(every, month="202001") == []
    assert await site.listed(every, account_id="other") == []
    middle = Timestamp(seconds=times[1])
    assert await site.listed(every, since_time=middle, until_time=middle) == [listed[1]]
    assert await site.listed(every, account_id=site.account, month="202001") == []
    assert await site.listed(site.schedule, month="202001") == []
    assert await site.listed(site.schedule, account_id="other") == []
    assert await site.listed(site.schedule, since_time=middle, until_time=middle) == [listed[1]]
    assert await site.listed(site.schedule, triggered=True) == []
    assert await site.listed(every, triggered=True) == []
    assert await site.listed(every, status=SUCCEEDED) == listed
    assert await site.listed(site.schedule, status=messages.EXECUTION_STATUS_DEAD) == []
    seen, token = [], ""
    while True:
        request = pb.ListExecutionsRequest(parent=every, page_size=2, page_token=token)
        page = await site.stub.ListExecutions(request)
        seen += page.executions
        if not (token := page.next_page_token):
            break
        other = pb.ListExecutionsRequest(parent=site.schedule, page_token=token)
        with pytest.raises(CallRefused) as refused:
            await site.stub.ListExecutions(other)
        assert refused.value.reason == "PAGE_TOKEN_INVALID"
    assert seen == listed


async def test_a_list_of_nothing_tells_what_was_mistyped(site: Site) -> None:
    assert await site.listed(site.schedule) == []
    with pytest.raises(CallRefused) as refused:
        await site.listed(f"{site.schedule}x")
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    late, early = Timestamp(seconds=DAY), Timestamp(seconds=1)
    with pytest.raises(CallRefused) as refused:
        await site.listed(site.schedule, since_time=late, until_time=early)
    assert "until_time: is before since_time" in str(refused.value)


async def test_one_that_waits_is_cancelled_at_once_and_retried(site: Site) -> None:
    (made,) = await site.fire()
    cancelled = await site.stub.CancelExecution(pb.CancelExecutionRequest(name=made.name))
    assert cancelled.status == CANCELLED
    assert await site.stub.CancelExecution(pb.CancelExecutionRequest(name=made.name)) == cancelled
    await site.execute()
    assert site.scan.done == []
    request = pb.RetryExecutionRequest(name=made.name, request_id=str(uuid.uuid4()))
    again = await site.stub.RetryExecution(request)
    assert again.status == QUEUED
    assert await site.stub.RetryExecution(request) == again
    await site.execute()
    with pytest.raises(CallRefused) as refused:
        await site.stub.CancelExecution(pb.CancelExecutionRequest(name=made.name))
    assert (refused.value.reason, refused.value.metadata["status"]) == (
        "EXECUTION_ENDED",
        "succeeded",
    )
    with pytest.raises(CallRefused) as refused:
        await site.stub.RetryExecution(pb.RetryExecutionRequest(name=made.name))
    assert refused.value.reason == "EXECUTION_NOT_RETRIABLE"


async def test_a_failure_for_good_is_told_and_its_retry_is_work_of_another_key(site: Site) -> None:
    site.scan.failure = WorkFailed("ACCOUNT_STATUS_UNFIT", "it is suspended", final=True)
    (made,) = await site.fire()
    await site.execute()
    failed = await site.get(made.name)
    assert (failed.status, failed.error_reason) == (FAILED, "ACCOUNT_STATUS_UNFIT")
    stale = pb.RetryExecutionRequest(name=made.name, etag=made.etag)
    with pytest.raises(CallRefused) as refused:
        await site.stub.RetryExecution(stale)
    assert refused.value.reason == "ETAG_MISMATCH"
    await site.stub.RetryExecution(pb.RetryExecutionRequest(name=made.name, etag=failed.etag))
    site.scan.failure = None
    await site.execute()
    ended = await site.get(made.name)
    assert (ended.status, ended.error_reason) == (SUCCEEDED, "")
    keys = [each.key for each in site.scan.done]
    assert len(set(keys)) == 2


async def test_a_schedule_whose_account_is_gone_is_paused_though_it_asks_not(site: Site) -> None:
    site.scan.failure = WorkFailed(ACCOUNT_GONE, "the account is deleted", final=True)
    (made,) = await site.fire()
    await site.execute()
    assert (await site.get(made.name)).error_reason == ACCOUNT_GONE
    stub: Any = ScheduleServiceStub(site.world.channel(site.tenant))
    schedule = await stub.GetSchedule(GetScheduleRequest(name=site.schedule))
    assert schedule.state == SCHEDULE_STATE_PAUSED
    assert ACCOUNT_GONE in schedule.pause_reason


async def test_a_retry_waits_its_turn(site: Site) -> None:
    (first,) = await site.fire()
    await site.stub.CancelExecution(pb.CancelExecutionRequest(name=first.name))
    newest = (await site.fire())[0]
    with pytest.raises(CallRefused) as refused:
        await site.stub.RetryExecution(pb.RetryExecutionRequest(name=first.name))
    assert refused.value.reason == "SCHEDULE_BUSY"
    assert refused.value.metadata["execution"] == newest.name.rsplit("/", 1)[-1]


async def test_an_occurrence_that_was_made_otherwise_is_passed_over(site: Site) -> None:
    (made,) = await site.fire()
    await site.execute()
    schedule_id, fire = site.schedule.rsplit("/", 1)[-1], made.fire_time.seconds + DAY
    plan = Plan(
        tenant=site.tenant,
        schedule_id=schedule_id,
        account_id=site.account,
        status=QUEUED,
        trigger=messages.EXECUTION_TRIGGER_BACKFILL,
        fire=fire * 1_000_000,
        max_attempts=5,
    )
    key = TenantScope(site.tenant).execution(schedule_id, fire)
    await site.world.parts.store.write(created(key, plan, site.world.clock.now(), 16))
    listed = await site.fire(2)
    assert [each.fire_time.seconds for each in listed] == [fire + DAY, fire, fire - DAY]
    assert listed[1].trigger == messages.EXECUTION_TRIGGER_BACKFILL


async def test_names_of_others_are_of_nobody(site: Site) -> None:
    (made,) = await site.fire()
    other = await site.world.tenant()
    theirs: Any = ExecutionServiceStub(site.world.channel(other))
    swapped = made.name.replace(site.tenant, other)
    for stub, name in ((theirs, made.name), (theirs, swapped), (site.stub, swapped)):
        for call, request in (
            (stub.GetExecution, pb.GetExecutionRequest),
            (stub.CancelExecution, pb.CancelExecutionRequest),
            (stub.RetryExecution, pb.RetryExecutionRequest),
        ):
            with pytest.raises(CallRefused) as refused:
                await call(request(name=name))
            assert refused.value.reason == "RESOURCE_NOT_FOUND"
    renamed = made.name.replace("/schedules/", "/schedules/x")
    with pytest.raises(CallRefused) as refused:
        await site.get(renamed)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    assert (await site.get(made.name)).status == QUEUED
