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
