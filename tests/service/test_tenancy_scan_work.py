"""What an executor asks of the inventory service, whose answers a test gives."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from secmesh.inventory.v1 import compliance_service_pb2_grpc, sync_service_pb2_grpc
from secmesh.inventory.v1.assessment_pb2 import (
    VERDICT_CONTRADICTED,
    VERDICT_SUPPORTED,
    Assessment,
    VerdictCount,
)
from secmesh.inventory.v1.assessment_requests_pb2 import EvaluateRequest, EvaluateResponse
from secmesh.inventory.v1.filing_pb2 import FileAssessmentResponse
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.tenancy.v1.account_pb2 import (
    ACCOUNT_STATUS_ACTIVE,
    ACCOUNT_STATUS_DELETED,
    ACCOUNT_STATUS_SUSPENDED,
    Account,
    AccountStatus,
)
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh_client.aio import connect
from services.tenancy.gate import CLOSED, COUNTERS, Gate, opened
from services.tenancy.scan_results import CODEC
from services.tenancy.scheduling.scan_work import ScanWork
from services.tenancy.scheduling.work import ACCOUNT_GONE, Assignment, WorkFailed
from services.tenancy.store.items import ItemCodec
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Delete, Put, Set, Update
from tests.service.tenancy_world import TurnedClock

TENANT, ACCOUNT, CLOUD = "acme", "prod", "123456789012"
ASSESSMENT = "tenants/acme/assessments/a1"


@dataclass
class Inventory:
    """Answers calls of both services, and remembers them."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    states: list[Sync.State.ValueType] = field(
        default_factory=lambda: [Sync.STATE_RUNNING, Sync.STATE_RUNNING, Sync.STATE_SUCCEEDED]
    )
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)

    async def sync(self, request: Any, context: Any) -> Sync:
        method = type(request).__name__.removesuffix("SyncRequest").lower()
        self.calls.append((method, request))
        await self._answer(method, context)
        name = request.name if method != "start" else f"{request.parent}/syncs/{request.sync_id}"
        sync = Sync(name=name, state=self.states.pop(0))
        sync.progress.units_done, sync.progress.resources = 7, 40
        return sync

    async def evaluate(self, request: EvaluateRequest, context: Any) -> AsyncIterator[Any]:
        self.calls.append(("evaluate", request))
        await self._answer("evaluate", context)
        counts = [
            VerdictCount(verdict=VERDICT_SUPPORTED, count=9),
            VerdictCount(verdict=VERDICT_CONTRADICTED, count=3),
        ]
        assessment = Assessment(name=ASSESSMENT, claims=12, claim_counts=counts)
        yield EvaluateResponse(assessment=assessment)
        yield EvaluateResponse(ended=status_pb2.Status())

    async def file(self, request: Any, context: Any) -> FileAssessmentResponse:
        self.calls.append(("file", request))
        await self._answer("file", context)
        counts = FileAssessmentResponse.Counts(created=2, updated=1, unchanged=50, closed=1)
        return FileAssessmentResponse(counts=[counts])

    async def _answer(self, method: str, context: Any) -> None:
        if method in self.refuses:
            code, reason = self.refuses[method]
            status = status_pb2.Status(code=code, message="refused")
            status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="secmesh"))
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
            codes = {each.value[0]: each for each in grpc.StatusCode}
            await context.abort(codes[code], "refused")


@dataclass
class Site:
    inventory: Inventory
    store: MemoryStore
    work: ScanWork

    async def account(self, status: AccountStatus.ValueType) -> None:
        name = f"tenants/{TENANT}/accounts/{ACCOUNT}"
        account = Account(name=name, cloud_account_id=CLOUD, status=status)
        item = ItemCodec(Account).item(account)
        await self.store.write(Put(TenantScope(TENANT).account(ACCOUNT), item))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    inventory, store = Inventory(), MemoryStore()
    syncs: Any = sync_service_pb2_grpc.SyncServiceServicer()  # type: ignore[abstract]  # abstract in its stub only
    for method in ("StartSync", "ResumeSync", "GetSync", "CancelSync"):
        setattr(syncs, method, inventory.sync)
    compliance: Any = compliance_service_pb2_grpc.ComplianceServiceServicer()  # type: ignore[abstract]  # as above
    compliance.Evaluate, compliance.FileAssessment = inventory.evaluate, inventory.file
    server = grpc.aio.server()
    sync_service_pb2_grpc.add_SyncServiceServicer_to_server(syncs, server)
    compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server(compliance, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = connect(f"127.0.0.1:{port}", token="t" * 20)
    gate = Gate(store, TurnedClock())
    await store.write(opened(TenantScope(TENANT), dict.fromkeys(COUNTERS, 9)))
    made = Site(inventory, store, ScanWork(store, TurnedClock(), gate, channel))
    await made.account(ACCOUNT_STATUS_ACTIVE)
    yield made
    await channel.close()
    await server.stop(0)


def assignment(key: str = "e1.0", **schedule: Any) -> Assignment:
    given = Schedule(name=f"tenants/{TENANT}/schedules/s", account_id=ACCOUNT, **schedule)
    return Assignment(TENANT, "s", "e1", ACCOUNT, 0, 3, key, given)


async def test_an_account_is_read_held_against_the_plan_and_filed(site: Site) -> None:
    published = await site.work.run(assignment(ssp_id="plan", regions=["eu-west-1"]))
    names = [name for name, _ in site.inventory.calls]
    assert names == ["start", "resume", "get", "evaluate", "file"]
    start = site.inventory.calls[0][1]
    assert start.sync.account == f"tenants/{TENANT}/accounts/{ACCOUNT}"
    assert start.sync.cloud_account_id == CLOUD
    assert list(start.sync.regions) == ["eu-west-1"]
    evaluate = site.inventory.calls[3][1]
    assert evaluate.ssp == f"tenants/{TENANT}/ssps/plan"
    assert list(evaluate.cloud_account_ids) == [CLOUD]
    (action,) = published.actions
    assert isinstance(action, Put)
    result = CODEC.message(action.attributes)
    assert result.name == published.result
    assert result.execution == f"tenants/{TENANT}/schedules/s/executions/e1"
    assert (result.fence, result.complete) == (3, True)
    assert (result.unit_count, result.record_count) == (7, 40)
    assert (result.claim_count, result.contradicted_count, result.filed_count) == (12, 3, 4)


async def test_the_same_key_is_the_same_run_and_another_another(site: Site) -> None:
    site.inventory.states = [Sync.STATE_SUCCEEDED] * 6
    for key in ("e1.0", "e1.0", "e1.1"):
        await site.work.run(assignment(key))
    ids = [call.sync_id for name, call in site.inventory.calls if name == "start"]
    assert ids[0] == ids[1] != ids[2]


async def test_a_run_that_is_over_is_taken_as_it_is(site: Site) -> None:
    site.inventory.states = [Sync.STATE_PARTIAL]
    site.inventory.refuses["resume"] = (code_pb2.FAILED_PRECONDITION, "SYNC_ENDED")
    published = await site.work.run(assignment())
    (action,) = published.actions
    assert isinstance(action, Put)
    assert not CODEC.message(action.attributes).complete
    assert [name for name, _ in site.inventory.calls] == ["start", "resume"]


@pytest.mark.parametrize(
    ("method", "code", "reason", "final"),
    [
        ("start", code_pb2.PERMISSION_DENIED, "PERMISSION_MISSING", True),
        ("start", code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY", False),
        ("evaluate", code_pb2.NOT_FOUND, "RESOURCE_NOT_FOUND", True),
        ("file", code_pb2.ABORTED, "BUSY", False),
    ],
)
async def test_what_is_refused_fails_for_good_or_is_tried_again(
    site: Site, method: str, code: int, reason: str, final: bool
) -> None:
    site.inventory.refuses[method] = (code, reason)
    with pytest.raises(WorkFailed) as failed:
        await site.work.run(assignment(ssp_id="plan"))
    assert (failed.value.reason, failed.value.final) == (reason, final)


async def test_a_newer_assessment_is_filed_by_whoever_made_it(site: Site) -> None:
    site.inventory.refuses["file"] = (code_pb2.FAILED_PRECONDITION, "ASSESSMENT_SUPERSEDED")
    published = await site.work.run(assignment(ssp_id="plan"))
    (action,) = published.actions
    assert isinstance(action, Put)
    assert CODEC.message(action.attributes).filed_count == 0


async def test_a_run_that_failed_is_a_failed_attempt(site: Site) -> None:
    site.inventory.states = [Sync.STATE_RUNNING, Sync.STATE_RUNNING, Sync.STATE_FAILED]
    with pytest.raises(WorkFailed) as failed:
        await site.work.run(assignment())
    assert (failed.value.reason, failed.value.final) == ("SYNC_FAILED", False)


async def test_an_account_that_is_stopped_is_not_entered(site: Site) -> None:
    await site.account(ACCOUNT_STATUS_SUSPENDED)
    with pytest.raises(WorkFailed) as failed:
        await site.work.run(assignment())
    assert (failed.value.reason, failed.value.final) == ("ACCOUNT_STATUS_UNFIT", True)
    assert site.inventory.calls == []


async def test_an_account_that_is_deleted_or_purged_is_gone(site: Site) -> None:
    await site.account(ACCOUNT_STATUS_DELETED)
    with pytest.raises(WorkFailed) as failed:
        await site.work.run(assignment())
    assert (failed.value.reason, failed.value.final) == (ACCOUNT_GONE, True)
    await site.store.write(Delete(TenantScope(TENANT).account(ACCOUNT)))
    with pytest.raises(WorkFailed) as failed:
        await site.work.run(assignment())
    assert (failed.value.reason, failed.value.final) == (ACCOUNT_GONE, True)
    assert site.inventory.calls == []


async def test_accounts_of_a_tenant_that_is_closed_are_not_entered(site: Site) -> None:
    closing = Update(TenantScope(TENANT).quota(), [Set(CLOSED, "deleted")])
    await site.store.write(closing)
    with pytest.raises(WorkFailed) as failed:
        await site.work.run(assignment())
    assert (failed.value.reason, failed.value.final) == ("TENANT_INACTIVE", True)
    assert site.inventory.calls == []


async def test_a_cancelled_execution_ends_its_run(site: Site) -> None:
    site.inventory.states = [Sync.STATE_CANCELLED]
    await site.work.abort(assignment())
    ((method, request),) = site.inventory.calls
    assert method == "cancel"
    assert request.name.startswith(f"tenants/{TENANT}/syncs/scan-")
    site.inventory.refuses["cancel"] = (code_pb2.NOT_FOUND, "RESOURCE_NOT_FOUND")
    await site.work.abort(assignment())
