"""ExecutionService: what came of schedules."""

from dataclasses import replace

from mesh.contract.names import NamePattern
from mesh.errors import EtagMismatch, FieldInvalid, ResourceNotFound
from secmesh.tenancy.v1 import execution_service_pb2 as pb
from secmesh.tenancy.v1.execution_pb2 import Execution, ExecutionTrigger
from secmesh.tenancy.v1.execution_service_pb2_grpc import ExecutionServiceServicer
from services.tenancy.listing import DEFAULT_PAGE_SIZE
from services.tenancy.parts import Parts
from services.tenancy.retention import is_gone
from services.tenancy.scheduling.executions import CODEC
from services.tenancy.scheduling.operations import cancel, retry
from services.tenancy.store.items import etag_of, version_of
from services.tenancy.store.keys import TenantScope, key_of, month_of
from services.tenancy.store.port import MAX_KEYS, Item, Query
from services.tenancy.store.tables import Table
from services.tenancy.writing import Write

_PATTERN = NamePattern("tenants/{tenant}/schedules/{schedule}/executions/{execution}")
_PARENT = NamePattern("tenants/{tenant}/schedules/{schedule}")
EVERY = "-"
"""Stands for all schedules (AIP-159)."""
_MANUAL = ExecutionTrigger.EXECUTION_TRIGGER_MANUAL


class ExecutionServicer(ExecutionServiceServicer):
    """Between messages and what is done with executions."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._clock = parts.clock

    async def GetExecution(self, request: pb.GetExecutionRequest, _context: object) -> Execution:
        """Give it; ResourceNotFound."""
        return await self._again(request.name)

    async def ListExecutions(
        self, request: pb.ListExecutionsRequest, _context: object
    ) -> pb.ListExecutionsResponse:
        """Give a page; PageTokenInvalid, FieldInvalid, ResourceNotFound for the schedule."""
        tenant, schedule = _PARENT.parse(request.parent) or ("", "")
        _check_stretch(request)
        query = self._query(TenantScope(tenant), schedule, request)
        size = request.page_size or DEFAULT_PAGE_SIZE
        query = replace(query, limit=min(size, MAX_KEYS) if query.index else size, forward=False)
        pages = self._parts.pages
        asked = _asked(request)
        page = await self._store.query(pages.started(tenant, query, request.page_token, asked))
        items: list[Item | None] = list(page.items)
        if query.index and items:
            # The index holds keys alone.
            keys = [key_of(Table.EXECUTIONS, item) for item in page.items]
            items = await self._store.get_many(keys, consistent=False)
        now = self._clock.now()
        found = [CODEC.message(each) for each in items if each and not is_gone(each, now)]
        kept = [each for each in found if _fits(each, request)]
        token = pages.next(tenant, query, page, asked)
        if not (items or token or request.page_token or schedule == EVERY):
            # Nothing may mean that the name is mistyped.
            await self._parts.schedules.item(tenant, schedule)
        return pb.ListExecutionsResponse(executions=kept, next_page_token=token)

    async def CancelExecution(
        self, request: pb.CancelExecutionRequest, _context: object
    ) -> Execution:
        """End it; ResourceNotFound, EtagMismatch, ExecutionEnded, WritesCollided."""
        item = await self._item(request.name, request.etag)
        return CODEC.message(await cancel(self._store, item, self._clock))

    async def RetryExecution(
        self, request: pb.RetryExecutionRequest, _context: object
    ) -> Execution:
        """Queue it once more; see ``operations.retry``, and EtagMismatch, TenantInactive."""
        tenant = request.name.split("/")[1]
        named = self._parts.named(tenant, request.request_id, request)

        async def do() -> Execution:
            item = await self._item(request.name, request.etag)
            scope, gate = TenantScope(tenant), self._parts.gate
            write = named.remember(Write(self._store), request.name)
            write.add(gate.check(scope), lambda found: gate.refusal(scope, found))
            shards = self._parts.settings.index_shards
            return CODEC.message(await retry(self._store, item, self._clock, shards, write))

        return await named.once(do, self._again)

    def _query(self, scope: TenantScope, schedule: str, request: pb.ListExecutionsRequest) -> Query:
        # Occurrences are whole seconds: those between the moments that were named.
        since = request.since_time.seconds + bool(request.since_time.nanos)
        until = request.until_time.seconds
        if schedule != EVERY:
            if request.triggered:
                return scope.manual_executions_of_schedule(schedule)
            return scope.executions_of_schedule(schedule, since, until)
        if request.account_id:
            return scope.executions_of_account(request.account_id, since, until)
        return scope.executions_of_month(request.month or month_of(self._clock.now()))

    async def _again(self, name: str) -> Execution:
        return CODEC.message(await self._item(name))

    async def _item(self, name: str, etag: str = "") -> Item:
        """Give the item of a name; ResourceNotFound, EtagMismatch."""
        ids = _PATTERN.parse(name)
        key = TenantScope(ids[0]).execution_of(ids[2]) if ids is not None else None
        item = await self._store.get(key) if key is not None else None
        if item is None or is_gone(item, self._clock.now()) or CODEC.message(item).name != name:
            raise ResourceNotFound(name)
        if etag and etag != etag_of(version_of(item)):
            raise EtagMismatch(name)
        return item


def _check_stretch(request: pb.ListExecutionsRequest) -> None:
    if request.HasField("until_time") and (
        request.until_time.ToNanoseconds() < request.since_time.ToNanoseconds()
    ):
        raise FieldInvalid.of("until_time", "is before since_time")


def _asked(request: pb.ListExecutionsRequest) -> str:
    """Give all that a page depends on beside its parent, for its token."""
    asked = pb.ListExecutionsRequest()
    asked.CopyFrom(request)
    for field in ("parent", "page_size", "page_token"):
        asked.ClearField(field)
    return asked.SerializeToString(deterministic=True).hex()


def _fits(execution: Execution, request: pb.ListExecutionsRequest) -> bool:
    """Tell whether an execution is asked for: of each question the keys answer a part alone."""
    fire = execution.fire_time.ToNanoseconds()
    month = month_of(execution.create_time.ToMicroseconds())
    return (
        request.status in (0, execution.status)
        and request.account_id in ("", execution.account_id)
        and request.month in ("", month)
        and request.since_time.ToNanoseconds() <= fire
        and (not request.HasField("until_time") or fire <= request.until_time.ToNanoseconds())
        and (not request.triggered or execution.trigger == _MANUAL)
    )
