"""The work in production: an account read by the inventory service, held against a plan, filed.

All of it goes through the stubs of the other services. The run of the inventory service has its
id from the work's key: an executor that takes up the work of a lost one goes on with that run.
"""

import contextlib
import hashlib
from collections.abc import Iterator

import grpc

from mesh.errors import ResourceNotFound, TenantInactive
from secmesh.inventory.v1 import compliance_service_pb2_grpc, sync_service_pb2_grpc
from secmesh.inventory.v1.assessment_pb2 import VERDICT_CONTRADICTED, Assessment
from secmesh.inventory.v1.assessment_requests_pb2 import EvaluateRequest
from secmesh.inventory.v1.filing_pb2 import FileAssessmentRequest, FileAssessmentResponse
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import (
    CancelSyncRequest,
    GetSyncRequest,
    ResumeSyncRequest,
    StartSyncRequest,
)
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh_client import CallRefused, StreamCut
from secmesh_client.aio import whole
from services.tenancy.clock import Clock
from services.tenancy.gate import Gate
from services.tenancy.scan_results import published
from services.tenancy.scheduling.executions import execution_name
from services.tenancy.scheduling.work import ACCOUNT_GONE, Assignment, Published, WorkFailed
from services.tenancy.store.items import text
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Store

_DELETED = account_pb2.AccountStatus.Name(account_pb2.ACCOUNT_STATUS_DELETED)
_READABLE = frozenset(
    account_pb2.AccountStatus.Name(each)
    for each in (account_pb2.ACCOUNT_STATUS_VERIFIED, account_pb2.ACCOUNT_STATUS_ACTIVE)
)
_FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""What is refused so is refused again."""
_SUPERSEDED = "ASSESSMENT_SUPERSEDED"
_ENDED = "SYNC_ENDED"
_ID_CHARACTERS = 40
LOOK_SECONDS = 2
"""Between two looks at a run of the inventory service."""


class ScanWork:
    """See ``Work``."""

    def __init__(self, store: Store, clock: Clock, gate: Gate, inventory: grpc.aio.Channel) -> None:
        """Take a channel whose token is good for all tenants whose schedules are run."""
        self._store = store
        self._clock = clock
        self._gate = gate
        self._syncs = sync_service_pb2_grpc.SyncServiceStub(inventory)
        self._compliance = compliance_service_pb2_grpc.ComplianceServiceStub(inventory)

    async def run(self, assignment: Assignment) -> Published:
        """Read the account, hold it against the schedule's plan, file what is contradicted."""
        account = await self._account(assignment)
        try:
            result = await self._scanned(assignment, account)
        except CallRefused as refused:
            raise WorkFailed(
                refused.reason or refused.code.name, refused.message, final=refused.code in _FINAL
            ) from refused
        except StreamCut as cut:
            raise WorkFailed("DEPENDENCY_UNAVAILABLE", "a stream was cut") from cut
        ended = self._clock.now()
        name, action = published(result, assignment.tenant, assignment.execution_id, ended)
        return Published(name, [action])

    async def abort(self, assignment: Assignment) -> None:
        """End the run of the inventory service, if there is one."""
        with contextlib.suppress(CallRefused):
            await self._syncs.CancelSync(CancelSyncRequest(name=_sync_name(assignment)))

    async def _account(self, assignment: Assignment) -> str:
        """Give the id that AWS knows the account by; WorkFailed if it is not to be entered."""
        scope = TenantScope(assignment.tenant)
        try:
            await self._gate.require_open(scope)
        except (TenantInactive, ResourceNotFound) as refusal:
            raise WorkFailed(refusal.reason.name, refusal.message, final=True) from refusal
        item = await self._store.get(scope.account(assignment.account_id))
        if item is None or item.get("status") == _DELETED:
            raise WorkFailed(ACCOUNT_GONE, "the account is deleted", final=True)
        status = text(item, "status")
        if status not in _READABLE:
            word = status.removeprefix("ACCOUNT_STATUS_").lower()
            raise WorkFailed("ACCOUNT_STATUS_UNFIT", f"the account is {word}", final=True)
        return text(item, "cloud_account_id")

    async def _scanned(self, assignment: Assignment, account: str) -> ScanResult:
        sync = await self._read(assignment, account)
        result = ScanResult(
            account_id=assignment.account_id,
            execution=execution_name(
                assignment.tenant, assignment.schedule_id, assignment.execution_id
            ),
            fence=assignment.fence,
            sync=sync.name,
            complete=sync.state == Sync.STATE_SUCCEEDED,
            unit_count=sync.progress.units_done,
            record_count=sync.progress.resources,
        )
        if assignment.schedule.ssp_id:
            assessment = await self._evaluated(assignment, account)
            result.assessment = assessment.name
            result.claim_count = assessment.claims
            result.contradicted_count = sum(
                each.count
                for each in assessment.claim_counts
                if each.verdict == VERDICT_CONTRADICTED
            )
            result.filed_count = await self._filed(assessment.name)
        return result

    async def _read(self, assignment: Assignment, account: str) -> Sync:
        """Have the inventory service read the account to its end, whoever began it."""
        name = _sync_name(assignment)
        schedule = assignment.schedule
        wanted = Sync(
            account=f"tenants/{assignment.tenant}/accounts/{assignment.account_id}",
            cloud_account_id=account,
            regions=schedule.regions,
            collections=schedule.collections,
        )
        request = StartSyncRequest(
            parent=f"tenants/{assignment.tenant}", sync=wanted, sync_id=name.rsplit("/", 1)[-1]
        )
        sync: Sync = await self._syncs.StartSync(request)
        # One that was begun by a lost executor may have broken off as well.
        with _ignoring(_ENDED):
            sync = await self._syncs.ResumeSync(ResumeSyncRequest(name=name))
        while sync.state == Sync.STATE_RUNNING:
            await self._clock.sleep(LOOK_SECONDS)
            sync = await self._syncs.GetSync(GetSyncRequest(name=name))
        if sync.state not in (Sync.STATE_SUCCEEDED, Sync.STATE_PARTIAL):
            word = Sync.State.Name(sync.state).removeprefix("STATE_").lower()
            raise WorkFailed(f"SYNC_{word.upper()}", f"{name} ended as {word}")
        return sync

    async def _evaluated(self, assignment: Assignment, account: str) -> Assessment:
        request = EvaluateRequest(
            ssp=f"tenants/{assignment.tenant}/ssps/{assignment.schedule.ssp_id}",
            cloud_account_ids=[account],
        )
        found = Assessment()
        async for event in whole(self._compliance.Evaluate(request)):
            if event.HasField("assessment"):
                found = event.assessment
        return found

    async def _filed(self, assessment: str) -> int:
        """File what is contradicted; give how many records that changed."""
        answer = FileAssessmentResponse()
        # A newer one of the same plan and account says more, and is filed by whoever made it.
        with _ignoring(_SUPERSEDED):
            answer = await self._compliance.FileAssessment(FileAssessmentRequest(name=assessment))
        return sum(
            each.created + each.updated + each.closed + each.reopened for each in answer.counts
        )


def _sync_name(assignment: Assignment) -> str:
    digest = hashlib.sha256(assignment.key.encode()).hexdigest()[:_ID_CHARACTERS]
    return f"tenants/{assignment.tenant}/syncs/scan-{digest}"


@contextlib.contextmanager
def _ignoring(reason: str) -> Iterator[None]:
    try:
        yield
    except CallRefused as refused:
        if refused.reason != reason:
            raise
