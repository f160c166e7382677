"""ScanResultService: what executions found."""

from dataclasses import replace

from mesh.contract.names import NamePattern
from mesh.errors import ResourceNotFound
from secmesh.tenancy.v1 import scan_result_service_pb2 as pb
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh.tenancy.v1.scan_result_service_pb2_grpc import ScanResultServiceServicer
from services.tenancy.listing import Listing
from services.tenancy.parts import Parts
from services.tenancy.retention import is_gone
from services.tenancy.scan_results import CODEC, result_key
from services.tenancy.store.keys import TenantScope, month_of
from services.tenancy.store.port import Query

_PATTERN = NamePattern("tenants/{tenant}/scanResults/{scan_result}")
_EXECUTION = NamePattern("tenants/{tenant}/schedules/{schedule}/executions/{execution}")
_PARENT = "tenants/"


class ScanResultServicer(ScanResultServiceServicer):
    """Between messages and the items of results."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._listing = Listing(parts.store, parts.clock, parts.pages)

    async def GetScanResult(self, request: pb.GetScanResultRequest, _context: object) -> ScanResult:
        """Give it; ResourceNotFound."""
        ids = _PATTERN.parse(request.name)
        key = result_key(*ids) if ids is not None else None
        item = await self._store.get(key) if key is not None else None
        if item is None or is_gone(item, self._clock.now()):
            raise ResourceNotFound(request.name)
        return CODEC.message(item)

    async def ListScanResults(
        self, request: pb.ListScanResultsRequest, _context: object
    ) -> pb.ListScanResultsResponse:
        """Give a page; PageTokenInvalid, ResourceNotFound for another tenant's execution."""
        tenant = request.parent.removeprefix(_PARENT)
        found, token = await self._listing.page(
            tenant,
            self._query(tenant, request),
            CODEC,
            request.page_size,
            request.page_token,
            lambda result: _fits(result, request),
            f"{request.account_id} {request.month}",
        )
        return pb.ListScanResultsResponse(scan_results=found, next_page_token=token)

    def _query(self, tenant: str, request: pb.ListScanResultsRequest) -> Query:
        scope = TenantScope(tenant)
        if request.execution:
            ids = _EXECUTION.parse(request.execution)
            # As if absent: whether another tenant has it is nobody's business.
            if ids is None or ids[0] != tenant:
                raise ResourceNotFound(request.execution)
            execution_id = ids[2]
            return replace(scope.scan_results_of_execution(execution_id), forward=False)
        if request.account_id:
            return scope.scan_results_of_account(request.account_id)
        return scope.scan_results_of_month(request.month or month_of(self._clock.now()))


def _fits(result: ScanResult, request: pb.ListScanResultsRequest) -> bool:
    """Tell whether a result is asked for: of each question the keys answer a part alone."""
    month = month_of(result.create_time.ToMicroseconds())
    return request.account_id in ("", result.account_id) and request.month in ("", month)
