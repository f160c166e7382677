"""What records of workflows keep to, whoever writes them: RecordService, batches and ingest."""

from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import FieldInvalid
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus
from services.security.errors import TransitionRefused
from services.security.workflows.run_store import EXECUTIONS

WORKFLOWS = "workflows"
_ELSEWHERE = "is not done by writing the record: see WorkflowService"
_TOLD = (
    "status",
    "workflow_id",
    "execution_key",
    "workflow_version",
    "trigger_type",
    "incident_id",
    "started_by_user_id",
    "input",
    "output",
)
"""What the service alone says of a run."""


class WorkflowGuard:
    """Lets no workflow become active unchecked, and nobody rewrite what a run did."""

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are workflows or their runs."""
        return kind.collection in (WORKFLOWS, EXECUTIONS)

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Raises TransitionRefused, FieldInvalid."""
        if kind.collection == WORKFLOWS:
            self._check_status(old, new)
        if kind.collection == EXECUTIONS and old is not None:
            self._check_told(old, new)

    @staticmethod
    def _check_status(old: Any, new: Any) -> None:
        before: Any = old.workflow.status if old is not None else 0
        after, active = new.workflow.status, DefinitionStatus.DEFINITION_STATUS_ACTIVE
        if after == active != before:
            name = DefinitionStatus.Name(before) if before else ""
            raise TransitionRefused(name, DefinitionStatus.Name(after), (), _ELSEWHERE)

    @staticmethod
    def _check_told(old: Any, new: Any) -> None:
        before, after = old.workflow_execution, new.workflow_execution
        for name in _TOLD:
            if getattr(before, name) != getattr(after, name):
                path = f"record.workflow_execution.{name}"
                raise FieldInvalid.of(path, "is what the run did", "NOT_ALLOWED")
