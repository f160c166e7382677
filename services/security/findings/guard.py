"""What records of findings keep to, whoever writes them: RecordService, batches and ingest."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import Catalogue, Kind
from mesh.errors import FieldInvalid
from mesh.records.writing import RECORD
from services.security.errors import TransitionRefused
from services.security.findings import due
from services.security.findings.machine import RESOLUTION, STATUS, Machine, finding_machines
from services.security.findings.project_days import Days, project_of

_ELSEWHERE = "is not done by writing the record: see FindingService"


class FindingGuard:
    """Lets writes of records neither skip a step of a finding's life nor leave it undated."""

    def __init__(
        self, catalogue: Catalogue, own_days: Mapping[str, Days | None] | None = None
    ) -> None:
        """Guard all findings; ``own_days`` are those of projects, by name, as far as known."""
        self._machines: Mapping[str, Machine] = finding_machines(catalogue)
        self._own_days = {} if own_days is None else own_days

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are findings."""
        return kind.collection in self._machines

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Date what is new or changed its severity.

        Raises TransitionRefused for a status that a new record cannot have and for any change of
        it, and FieldInvalid for a resolution that changes by itself.
        """
        machine = self._machines.get(kind.collection)
        body_field = kind.body_field or ""
        if machine is None or not new.HasField(body_field):
            return
        body = getattr(new, body_field)
        if old is None:
            self._check_first(machine, body)
            _date(None, body, self._own_days.get(project_of(body)))
            return
        before = getattr(old, body_field)
        self._check_same(machine, before, body, f"{RECORD}.{body_field}")
        _date(before, body, self._own_days.get(project_of(body)))

    @staticmethod
    def _check_first(machine: Machine, body: Any) -> None:
        state = machine.state(body.status)
        if state is not None and not state.first:
            raise TransitionRefused("", state.name, machine.first)

    @staticmethod
    def _check_same(machine: Machine, before: Any, body: Any, path: str) -> None:
        current, wanted = machine.state(before.status), machine.state(body.status)
        if current is not None and wanted is not None and current is not wanted:
            raise TransitionRefused(current.name, wanted.name, current.to, _ELSEWHERE)
        if RESOLUTION in body.DESCRIPTOR.fields_by_name and before.resolution != body.resolution:
            raise FieldInvalid.of(
                f"{path}.{RESOLUTION}", f"changes with the {STATUS} alone", "NOT_ALLOWED"
            )


def _date(old: Any, body: Any, own: Days | None) -> None:
    """Set the time to be closed by, unless the writer did."""
    if not due.has_due_time(body):
        return
    if old is None:
        if not body.HasField(due.DUE_TIME) and body.HasField(due.FIRST_SEEN):
            # Not from now: the same record sent again is the same.
            due.set_due(body, due.moment_of(body, due.FIRST_SEEN), own)
    elif old.severity != body.severity and old.due_time == body.due_time:
        due.moved_due(old, body, own)
