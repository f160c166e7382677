"""FindingService: findings of every kind, led through their declared lives."""

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.names import collection_of
from mesh.errors import PermissionMissing, ResourceNotFound
from mesh.server.call import current_call
from mesh.sql.store import Store
from secmesh.security.v1 import finding_service_pb2 as pb
from secmesh.security.v1.finding_service_pb2_grpc import FindingServiceServicer
from secmesh.security.v1.record_pb2 import Record
from services.security.errors import TransitionRefused
from services.security.findings.life import Actor, FindingLife
from services.security.findings.machine import Step

_Work = Callable[[AsyncConnection], Awaitable[Any]]


class FindingServicer(FindingServiceServicer):
    """Takes each step in one transaction, with the entry in the history."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, catalogue: Catalogue, store: Store, life: FindingLife) -> None:
        self._kinds = catalogue.record_kinds
        self._store = store
        self._life = life

    async def TransitionFinding(
        self, request: pb.TransitionFindingRequest, _context: object
    ) -> Record:
        """Give the finding; TransitionRefused, FieldInvalid, PermissionMissing."""
        machine = self._life.machine(request.name)
        state = machine.states.get(request.status)
        if state is not None and state.verb:
            needed = self._kind(request.name).permission(state.verb)
            if not current_call().caller.permits(needed):
                raise PermissionMissing(needed)
        step = Step(
            request.status,
            request.justification,
            _moment(request.expire_time) if request.HasField("expire_time") else None,
            request.resolution,
        )
        return await self._move(request, step)

    async def AcceptFinding(self, request: pb.AcceptFindingRequest, _context: object) -> Record:
        """Give the finding; TransitionRefused too where its kind has no accepted risks."""
        accepted = self._life.machine(request.name).accepted
        if accepted is None:
            raise TransitionRefused("", "an accepted risk", ())
        step = Step(accepted.name, request.justification, _moment(request.expire_time))
        return await self._move(request, step)

    async def ReopenFinding(self, request: pb.ReopenFindingRequest, _context: object) -> Record:
        """Give the finding, due anew; TransitionRefused."""
        reopened = self._life.machine(request.name).reopened
        return await self._move(request, Step(reopened.name, request.justification))

    async def AssignFinding(self, request: pb.AssignFindingRequest, _context: object) -> Record:
        """Give the finding; ReferenceNotFound if the assignee is no user of the tenant."""
        self._life.machine(request.name)
        return await self._run(
            request,
            lambda connection: self._life.assign(
                connection, request.name, request.assignee, _actor(request), request.justification
            ),
        )

    async def ListFindingHistory(
        self, request: pb.ListFindingHistoryRequest, _context: object
    ) -> pb.ListFindingHistoryResponse:
        """Give one page of steps; ResourceNotFound if there is no such finding."""
        self._life.machine(request.parent)
        page = await self._life.events.page(request)
        if not page.items and not request.page_token:
            # No steps yet is an answer about what exists alone.
            kind = self._kind(request.parent)
            await self._store.get(kind.collection, request.parent, columns=["etag"])
        events: Any = page.items
        return pb.ListFindingHistoryResponse(events=events, next_page_token=page.next_page_token)

    def _kind(self, name: str) -> Kind:
        kind = self._kinds.get(collection_of(name) or "")
        if kind is None:
            raise ResourceNotFound(name)
        return kind

    async def _move(self, request: Any, step: Step) -> Record:
        return await self._run(
            request,
            lambda connection: self._life.move(connection, request.name, step, _actor(request)),
        )

    async def _run(self, request: Any, work: _Work) -> Record:
        """Take a step; with ``validate_only`` as if."""
        async with self._store.transaction() as connection, connection.begin_nested() as savepoint:
            record: Record = await work(connection)
            if request.validate_only:
                await savepoint.rollback()
            return record


def _actor(request: Any) -> Actor:
    return Actor(current_call().caller.subject, request.etag)


def _moment(stamp: Timestamp) -> int:
    """Give microseconds since 1970."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
