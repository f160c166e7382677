"""What the security service refuses, beside the refusals every service shares."""

from collections.abc import Iterable

from mesh.errors import Reason, Refusal
from secmesh.security.v1 import error_reason_pb2


def reason(value: int) -> Reason:
    """Give one reason of this service's contract."""
    return Reason(error_reason_pb2.ErrorReason, value)


class ReportFormatUnknown(Refusal):
    """A report of no format that is known here."""

    reason = reason(error_reason_pb2.ERROR_REASON_REPORT_FORMAT_UNKNOWN)


class ReportFormatUnsupported(Refusal):
    """A report of a format that can be read, but has no place among the records."""

    reason = reason(error_reason_pb2.ERROR_REASON_REPORT_FORMAT_UNSUPPORTED)

    def __init__(self, format_name: str) -> None:
        super().__init__(
            f"reports of the format {format_name} cannot be imported",
            metadata={"format": format_name},
        )


class TransitionRefused(Refusal):
    """The declared life of a finding has no such step, or not by this way."""

    reason = reason(error_reason_pb2.ERROR_REASON_TRANSITION_REFUSED)

    def __init__(
        self, current: str, wanted: str, allowed: Iterable[str], problem: str = "is no step"
    ) -> None:
        listed = ",".join(allowed)
        start = current or "a new record"
        super().__init__(
            f"from {start} to {wanted} {problem}; allowed: {listed or 'nothing'}",
            metadata={"from": current, "to": wanted, "allowed": listed},
        )


class FindingExpected(Refusal):
    """A record of a kind that has no declared life."""

    reason = reason(error_reason_pb2.ERROR_REASON_FINDING_EXPECTED)

    def __init__(self, collection: str) -> None:
        super().__init__(f"{collection} are no findings", metadata={"collection": collection})


class EscalationExhausted(Refusal):
    """An incident that nothing can make more urgent."""

    reason = reason(error_reason_pb2.ERROR_REASON_ESCALATION_EXHAUSTED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is as urgent as it can be", metadata={"resource": name})


class WorkflowInvalid(Refusal):
    """A workflow that cannot run as it is."""

    reason = reason(error_reason_pb2.ERROR_REASON_WORKFLOW_INVALID)

    def __init__(self, step: str, problem: str) -> None:
        where = f"step {step}: " if step else ""
        super().__init__(f"{where}{problem}", metadata={"step": step, "problem": problem})


class WorkflowInactive(Refusal):
    """A workflow that is not active."""

    reason = reason(error_reason_pb2.ERROR_REASON_WORKFLOW_INACTIVE)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not active", metadata={"resource": name})


class ExecutionState(Refusal):
    """A run of which something is asked that it is not ready for."""

    reason = reason(error_reason_pb2.ERROR_REASON_EXECUTION_STATE)

    def __init__(self, name: str, status: str, problem: str) -> None:
        super().__init__(
            f"{name} is {status}: {problem}", metadata={"resource": name, "status": status}
        )


class ApproverRefused(Refusal):
    """Somebody who is not asked, or has answered."""

    reason = reason(error_reason_pb2.ERROR_REASON_APPROVER_REFUSED)

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: the caller {problem}", metadata={"path": path})


class PlaybookRefused(Refusal):
    """A playbook that cannot be followed in an incident."""

    reason = reason(error_reason_pb2.ERROR_REASON_PLAYBOOK_REFUSED)

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}", metadata={"resource": name, "problem": problem})
