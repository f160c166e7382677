"""IncidentService: incidents, led through their declared life."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.server.call import current_call
from mesh.sql.store import Store
from secmesh.security.v1 import incident_service_pb2 as pb
from secmesh.security.v1.incident_service_pb2_grpc import IncidentServiceServicer
from secmesh.security.v1.playbook_watch_pb2 import PlaybookWatch
from secmesh.security.v1.record_pb2 import Record
from services.security.incidents.arming import Arming
from services.security.incidents.life import IncidentLife, Words
from services.security.incidents.playbooks import Playbooks

_Work = Callable[[AsyncConnection], Awaitable[Any]]


class IncidentServicer(IncidentServiceServicer):
    """Takes each step in one transaction, with the entry in the history."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self, store: Store, life: IncidentLife, playbooks: Playbooks, arming: Arming
    ) -> None:
        self._store = store
        self._arming = arming
        self._life = life
        self._playbooks = playbooks

    async def ChangeIncidentStatus(
        self, request: pb.ChangeIncidentStatusRequest, _context: object
    ) -> Record:
        """Give the incident; TransitionRefused, FieldInvalid."""
        return await self._run(
            request,
            lambda connection: self._life.move(
                connection, request.name, request.status, _words(request), request.resolution
            ),
        )

    async def EscalateIncident(
        self, request: pb.EscalateIncidentRequest, _context: object
    ) -> Record:
        """Give the incident; FieldInvalid, EscalationExhausted."""
        return await self._run(
            request,
            lambda connection: self._life.escalate(
                connection, request.name, _words(request), request.priority, request.severity
            ),
        )

    async def StartPlaybook(
        self, request: pb.StartPlaybookRequest, _context: object
    ) -> pb.StartPlaybookResponse:
        """Give the tasks; PlaybookRefused, PermissionMissing where somebody must agree."""
        caller = current_call().caller
        async with self._store.transaction() as connection, connection.begin_nested() as savepoint:
            followed = await self._playbooks.follow(
                connection, request.name, request.playbook, request.etag, caller
            )
            if request.validate_only:
                await savepoint.rollback()
        return pb.StartPlaybookResponse(
            tasks=followed.tasks, started=followed.started, execution=followed.execution
        )

    async def ArmPlaybook(self, request: pb.ArmPlaybookRequest, _context: object) -> PlaybookWatch:
        """Give the watch; PlaybookRefused, PermissionMissing for what it watches and does."""
        return await self._arming.arm(
            request.name, current_call().caller, request.etag, tries=request.validate_only
        )

    async def DisarmPlaybook(
        self, request: pb.DisarmPlaybookRequest, _context: object
    ) -> PlaybookWatch:
        """Give the watch; ResourceNotFound."""
        return await self._arming.disarm(request.name)

    async def GetPlaybookWatch(
        self, request: pb.GetPlaybookWatchRequest, _context: object
    ) -> PlaybookWatch:
        """Give the watch; ResourceNotFound."""
        return await self._arming.show(request.name)

    async def _run(self, request: Any, work: _Work) -> Record:
        """Take a step; with ``validate_only`` as if."""
        async with self._store.transaction() as connection, connection.begin_nested() as savepoint:
            record: Record = await work(connection)
            if request.validate_only:
                await savepoint.rollback()
            return record


def _words(request: Any) -> Words:
    return Words(current_call().caller.subject, request.reason, request.comment, request.etag)
