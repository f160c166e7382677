"""What the security service refuses, beside the refusals every service shares."""

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

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


class QualityGateUndecided(Refusal):
    """A project without a gate, where the tenant has not exactly one default gate."""

    reason = reason(error_reason_pb2.ERROR_REASON_QUALITY_GATE_UNDECIDED)

    def __init__(self, project: str, defaults: int) -> None:
        said = "no default one" if not defaults else "several default ones"
        super().__init__(
            f"{project} has no quality gate of its own, and there is {said}",
            metadata={"project": project, "defaults": str(defaults)},
        )


class ScanNotCurrent(Refusal):
    """A scan that records cannot tell about: it is not complete, or no longer the last."""

    reason = reason(error_reason_pb2.ERROR_REASON_SCAN_NOT_CURRENT)

    def __init__(self, scan: str) -> None:
        super().__init__(
            f"{scan} is not the last complete scan of its tool and branch",
            metadata={"scan": scan},
        )


class MfaCodeRefused(Refusal):
    """A code that is wrong, too old, or was taken before: nobody is told which."""

    reason = reason(error_reason_pb2.ERROR_REASON_MFA_CODE_REFUSED)

    def __init__(self, locked_seconds: int = 0) -> None:
        details = [_retry_after(locked_seconds)] if locked_seconds else []
        super().__init__("the code is refused", details=details)


class MfaLocked(Refusal):
    """The second factors of a user are locked for a while; no code is looked at."""

    reason = reason(error_reason_pb2.ERROR_REASON_MFA_LOCKED)

    def __init__(self, locked_seconds: int) -> None:
        super().__init__("too many wrong codes; wait", details=[_retry_after(locked_seconds)])


class MfaDeviceState(Refusal):
    """A device that is not yet confirmed, or no longer in use."""

    reason = reason(error_reason_pb2.ERROR_REASON_MFA_DEVICE_STATE)

    def __init__(self, name: str, status: str) -> None:
        super().__init__(f"{name} cannot do this: it is {status}", metadata={"status": status})


class PhishingCampaignState(Refusal):
    """A campaign that was not launched yet, or that has ended."""

    reason = reason(error_reason_pb2.ERROR_REASON_PHISHING_CAMPAIGN_STATE)

    def __init__(self, name: str, status: str) -> None:
        super().__init__(f"{name} cannot do this: it is {status}", metadata={"status": status})


class PhishingTargetsMissing(Refusal):
    """A campaign that nobody would get; ``group`` is a name that leads nowhere, if that is why."""

    reason = reason(error_reason_pb2.ERROR_REASON_PHISHING_TARGETS_MISSING)

    def __init__(self, group: str = "") -> None:
        problem = f"{group!r} is no team and no department" if group else "it goes to nobody"
        super().__init__(problem, metadata={"group": group} if group else {})


def _retry_after(seconds: int) -> RetryInfo:
    return RetryInfo(retry_delay=Duration(seconds=seconds))


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


class MandateEnded(Refusal):
    """What runs by itself for somebody who may no longer do it."""

    reason = reason(error_reason_pb2.ERROR_REASON_MANDATE_ENDED)

    def __init__(self, user: str, problem: str) -> None:
        super().__init__(
            f"{user}, in whose name this runs, {problem}: somebody else must let it run",
            metadata={"resource": user, "problem": problem},
        )


class WebhookRefused(Refusal):
    """A delivery that is not signed, or not fresh."""

    reason = reason(error_reason_pb2.ERROR_REASON_WEBHOOK_REFUSED)

    def __init__(self, problem: str) -> None:
        super().__init__(f"the delivery is refused: {problem}", metadata={"problem": problem})


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


class ReportTooLarge(Refusal):
    """A report that would not fit into a document."""

    reason = reason(error_reason_pb2.ERROR_REASON_REPORT_TOO_LARGE)

    def __init__(self, limit: str) -> None:
        super().__init__(f"the report would have more than {limit}", metadata={"limit": limit})


class DocumentFormatUnsupported(Refusal):
    """A format that the contract names and that cannot be made."""

    reason = reason(error_reason_pb2.ERROR_REASON_DOCUMENT_FORMAT_UNSUPPORTED)

    def __init__(self, format_name: str) -> None:
        super().__init__(
            f"documents of the format {format_name} cannot be made",
            metadata={"format": format_name},
        )


class PlaybookRefused(Refusal):
    """A playbook that cannot be followed in an incident."""

    reason = reason(error_reason_pb2.ERROR_REASON_PLAYBOOK_REFUSED)

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}", metadata={"resource": name, "problem": problem})


class ScheduleRefused(Refusal):
    """A report that says no time at which it could be made."""

    reason = reason(error_reason_pb2.ERROR_REASON_SCHEDULE_INVALID)

    def __init__(self, problem: str) -> None:
        super().__init__(problem, metadata={"problem": problem})


class ReportDocumentMissing(Refusal):
    """A run of a report that has no document."""

    reason = reason(error_reason_pb2.ERROR_REASON_REPORT_DOCUMENT_MISSING)

    def __init__(self, name: str, status: str) -> None:
        super().__init__(
            f"{name} has no document: it is {status}",
            metadata={"resource": name, "status": status},
        )
