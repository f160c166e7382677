"""HistoryService: what changed between two moments or two runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.names import EVERY_COLLECTION, collection_of, tenant_of
from mesh.errors import FieldInvalid, KindUnknown
from mesh.records.moments import Clock, now, past_moment
from mesh.sql.history import History, Span
from mesh.sql.moments import require_history
from mesh.sql.paging import page_limit
from mesh.sql.store import Store
from secmesh.inventory.v1.history_service_pb2 import (
    DiffRecordsRequest,
    DiffRecordsResponse,
    RecordChange,
)
from secmesh.inventory.v1.history_service_pb2_grpc import HistoryServiceServicer
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.differences import record_change
from services.inventory.sync_store import SyncStore


@dataclass(frozen=True)
class _Place:
    """Where a comparison goes on."""

    span: Span
    collection: str
    after: str
    """The last record id that was seen."""


@dataclass(frozen=True)
class _Question:
    """What a call asks, checked."""

    tenant: str
    kinds: Sequence[Kind]
    """In the order of their collections."""
    conditions: Sequence[str]
    start: _Place
    limit: int


class HistoryServicer(HistoryServiceServicer):
    """Answers from the versions of a store."""

    def __init__(
        self, catalogue: Catalogue, store: Store, syncs: SyncStore, clock: Clock = now
    ) -> None:
        self._kinds = catalogue.record_kinds
        self._store = store
        self._syncs = syncs
        self._clock = clock

    async def DiffRecords(  # noqa: N802  # the contract's name
        self,
        request: DiffRecordsRequest,
        _context: "grpc.aio.ServicerContext[DiffRecordsRequest, DiffRecordsResponse]",
    ) -> DiffRecordsResponse:
        """Give one page of changes; FieldInvalid, FilterInvalid, PageTokenInvalid."""
        question = await self._question(request)
        changes, place = await self._compare(question)
        answer = DiffRecordsResponse(
            changes=changes,
            from_time=_stamp(question.start.span.start),
            to_time=_stamp(question.start.span.end),
        )
        if place is not None:
            position = [place.span.start, place.span.end, place.collection, place.after]
            answer.next_page_token = self._store.tokens.write(_binding(request), position)
        return answer

    async def _compare(self, question: _Question) -> tuple[list[RecordChange], _Place | None]:
        """Fill a page; give where the next one begins."""
        history, span = History(self._store), question.start.span
        changes: list[RecordChange] = []
        after = question.start.after
        async with self._store.connection() as connection:
            for kind in question.kinds:
                if kind.collection < question.start.collection:
                    continue
                while True:
                    if len(changes) == question.limit:
                        return changes, _Place(span, kind.collection, after)
                    page = await history.pairs(
                        kind.collection,
                        question.tenant,
                        span,
                        conditions=question.conditions,
                        after=after,
                        limit=question.limit - len(changes),
                        connection=connection,
                    )
                    described = (record_change(kind, pair) for pair in page.pairs)
                    changes += [change for change in described if change is not None]
                    after = page.after
                    if not after:
                        break
        return changes, None

    async def _question(self, request: DiffRecordsRequest) -> _Question:
        limit = page_limit(request.page_size)
        kinds = self._asked_kinds(request.parent)
        account = await self._account(request)
        conditions = [request.filter] if request.filter else []
        if account:
            conditions.append(f'record.cloud_account_id == "{account}"')
        start = await self._start(request, kinds[0].collection)
        return _Question(tenant_of(request.parent) or "", kinds, conditions, start, limit)

    def _asked_kinds(self, parent: str) -> Sequence[Kind]:
        collection = collection_of(parent) or ""
        if collection == EVERY_COLLECTION:
            kept = (each for each in self._kinds.values() if each.option.history)
            return sorted(kept, key=lambda kind: kind.collection)
        if collection not in self._kinds:
            raise KindUnknown(collection)
        require_history(self._store.target(collection), "parent")
        return [self._kinds[collection]]

    async def _account(self, request: DiffRecordsRequest) -> str:
        """Give the account to compare, empty for all; runs of another one are refused."""
        account = request.cloud_account_id
        for field in ("from_sync", "to_sync"):
            name = getattr(request, field)
            if not name:
                continue
            sync = await self._run(request, field, name)
            account = account or sync.cloud_account_id
            if sync.cloud_account_id != account:
                raise FieldInvalid.of(field, f"is a run of another account than {account}")
        return account

    async def _run(self, request: DiffRecordsRequest, field: str, name: str) -> Sync:
        if tenant_of(name) != tenant_of(request.parent):
            raise FieldInvalid.of(field, "is a run of another tenant than the parent")
        sync = await self._syncs.get(name)
        if not sync.HasField("end_time"):
            raise FieldInvalid.of(field, "is a run that has not ended")
        return sync

    async def _start(self, request: DiffRecordsRequest, collection: str) -> _Place:
        if request.page_token:
            start, end, collection, after = self._store.tokens.read(
                _binding(request), request.page_token
            )
            return _Place(Span(start, end), collection, after)
        start = await self._moment(request, request.WhichOneof("old_state"))
        end = await self._moment(request, request.WhichOneof("new_state"))
        return _Place(Span(start, end), collection, "")

    async def _moment(self, request: DiffRecordsRequest, field: str | None) -> int:
        """Give a state's moment in microseconds; without one, now."""
        if field is None:
            return self._clock()
        given = getattr(request, field)
        if isinstance(given, Timestamp):
            return past_moment(given, field, self._clock)
        ended: int = (await self._syncs.get(given)).end_time.ToMicroseconds()
        return ended


def _binding(request: DiffRecordsRequest) -> list[str]:
    """Give what a page token belongs to: all of the request but the page."""
    bound = DiffRecordsRequest()
    bound.CopyFrom(request)
    bound.ClearField("page_token")
    bound.ClearField("page_size")
    return ["diff", bound.SerializeToString(deterministic=True).hex()]


def _stamp(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made
