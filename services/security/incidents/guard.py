"""What records of incidents keep to, whoever writes them: RecordService, batches and ingest."""

from typing import cast

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from secmesh.security.v1.record_pb2 import Record
from services.security.errors import TransitionRefused
from services.security.incidents.life import INCIDENTS
from services.security.incidents.machine import incident_machine

_ELSEWHERE = "is not done by writing the record: see IncidentService"


class IncidentGuard:
    """Keeps the status of an incident from being written; a new one may come as it stands."""

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are incidents."""
        return kind.collection == INCIDENTS

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:  # noqa: ARG002  # the protocol's
        """Raises TransitionRefused for a changed status."""
        # The service's envelope, whose kind `concerns` has told.
        known, written = cast("Record | None", old), cast("Record", new)
        if known is None:
            return
        before, after = known.incident.status, written.incident.status
        if after and before != after:
            machine = incident_machine()
            current, wanted = machine.state(before), machine.state(after)
            raise TransitionRefused(current.name, wanted.name, current.to, _ELSEWHERE)
