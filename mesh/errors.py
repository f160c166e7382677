"""Errors that a caller is meant to see, each with a reason from a contract (AIP-193)."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from secmesh.options.v1 import reason_pb2
from secmesh.rpc.v1 import error_reason_pb2

DOMAIN = "secmesh"


class Reason:
    """One reason of a service's ErrorReason enum, with the code its contract gives it."""

    def __init__(self, enum: Any, value: int) -> None:
        descriptor: EnumDescriptor = enum.DESCRIPTOR
        entry = descriptor.values_by_number[value]
        option = entry.GetOptions().Extensions[reason_pb2.reason]
        self.name: str = entry.name.removeprefix("ERROR_REASON_")
        self.code: int = option.code
        self.metadata: frozenset[str] = frozenset(option.metadata)


class Refusal(Exception):
    """A call that is refused for a reason the caller can act on.

    Subclasses set ``reason``; metadata keys must be those the contract lists.
    """

    reason: ClassVar[Reason]

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        details: Iterable[Message] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.details = tuple(details)
        if unknown := self.metadata.keys() - self.reason.metadata:
            raise ValueError(f"{self.reason.name} lists no metadata {min(unknown)!r}")

    def status(self, request_id: str = "") -> status_pb2.Status:
        """Write the error as it travels."""
        status = status_pb2.Status(code=self.reason.code, message=self.message)
        info = error_details_pb2.ErrorInfo(
            reason=self.reason.name, domain=DOMAIN, metadata=self.metadata
        )
        if request_id:
            info.metadata["request_id"] = request_id
        for detail in (info, *self.details):
            status.details.add().Pack(detail)
        return status


def common(value: int) -> Reason:
    """Give a reason of ``secmesh.rpc.v1.ErrorReason``."""
    return Reason(error_reason_pb2.ErrorReason, value)


class TokenMissing(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_TOKEN_MISSING)


class TokenInvalid(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_TOKEN_INVALID)


class TokenExpired(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_TOKEN_EXPIRED)


class PermissionMissing(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_PERMISSION_MISSING)

    def __init__(self, permission: str) -> None:
        super().__init__(f"needs {permission}", metadata={"permission": permission})


class FieldInvalid(Refusal):
    """One or more fields break their bounds."""

    reason = common(error_reason_pb2.ERROR_REASON_FIELD_INVALID)

    def __init__(self, *violations: error_details_pb2.BadRequest.FieldViolation) -> None:
        # A rule about several fields names them in its words, and stands at none.
        told = (
            f"{each.field}: {each.description}" if each.field else each.description
            for each in violations
        )
        listed = "; ".join(told)
        bad = error_details_pb2.BadRequest(field_violations=violations)
        super().__init__(listed, details=[bad])

    @classmethod
    def of(cls, field: str, description: str, reason: str = "INVALID") -> "FieldInvalid":
        """Refuse one field."""
        return cls(
            error_details_pb2.BadRequest.FieldViolation(
                field=field, description=description, reason=reason
            )
        )


class ResourceNotFound(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_RESOURCE_NOT_FOUND)

    def __init__(self, name: str, problem: str = "") -> None:
        info = error_details_pb2.ResourceInfo(resource_name=name)
        problem = problem or f"{name} does not exist"
        super().__init__(problem, metadata={"resource": name}, details=[info])


class ResourceExists(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_RESOURCE_EXISTS)

    def __init__(self, name: str) -> None:
        info = error_details_pb2.ResourceInfo(resource_name=name)
        super().__init__(f"{name} exists already", metadata={"resource": name}, details=[info])


class KindUnknown(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_KIND_UNKNOWN)

    def __init__(self, collection: str) -> None:
        super().__init__(
            f"there is no collection {collection!r}", metadata={"collection": collection}
        )


class FilterInvalid(Refusal):
    """A CEL condition that cannot be used; line and column count from 1."""

    reason = common(error_reason_pb2.ERROR_REASON_FILTER_INVALID)

    def __init__(self, problem: str, *, line: int = 1, column: int = 1) -> None:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field="filter", description=problem, reason="FILTER_INVALID"
        )
        super().__init__(
            f"filter:{line}:{column}: {problem}",
            metadata={"line": str(line), "column": str(column)},
            details=[error_details_pb2.BadRequest(field_violations=[violation])],
        )


class OrderInvalid(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_ORDER_INVALID)

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"order_by: {problem}: {field!r}", metadata={"field": field})


class PageTokenInvalid(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_PAGE_TOKEN_INVALID)

    def __init__(self) -> None:
        super().__init__("page_token does not belong to this request")


class MaskInvalid(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_MASK_INVALID)

    def __init__(self, path: str, mask: str = "read_mask") -> None:
        super().__init__(f"{mask}: {path!r} is no field", metadata={"path": path})


class DeadlineExceeded(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_DEADLINE_EXCEEDED)


class DependencyUnavailable(Refusal):
    """The store or another service does not answer; the caller may try again."""

    reason = common(error_reason_pb2.ERROR_REASON_DEPENDENCY_UNAVAILABLE)

    def __init__(self, dependency: str, *, retry_after_seconds: int = 1) -> None:
        delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_after_seconds))
        super().__init__(
            f"{dependency} does not answer",
            metadata={"dependency": dependency},
            details=[delay],
        )


class InternalError(Refusal):
    """Something failed that the caller cannot mend; says nothing but where to look."""

    reason = common(error_reason_pb2.ERROR_REASON_INTERNAL)

    def __init__(self) -> None:
        super().__init__("internal error; the request id leads to the log entry")


class BodyInvalid(Refusal):
    """A JSON body or query parameter does not fit the request message."""

    reason = common(error_reason_pb2.ERROR_REASON_BODY_INVALID)


class BodyTooLarge(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_BODY_TOO_LARGE)

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the upload is larger than {max_bytes} bytes")


class PathUnknown(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_PATH_UNKNOWN)

    def __init__(self, path: str) -> None:
        super().__init__("no method has this path", metadata={"path": path})


class MethodUnknown(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_METHOD_UNKNOWN)

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} is not implemented", metadata={"method": method})


class EtagMismatch(Refusal):
    """The resource was written since the caller read it."""

    reason = common(error_reason_pb2.ERROR_REASON_ETAG_MISMATCH)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has another etag; read it again", metadata={"resource": name})


class OwnerMissing(Refusal):
    """Work on the rows of all tenants was asked of a process that sees one tenant's alone."""

    reason = common(error_reason_pb2.ERROR_REASON_OWNER_MISSING)

    def __init__(self) -> None:
        super().__init__("this process has no connection as the owner of the database")


class KindReadOnly(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_KIND_READ_ONLY)

    def __init__(self, collection: str) -> None:
        super().__init__(
            f"the service alone writes {collection}", metadata={"collection": collection}
        )


class KindAppendOnly(Refusal):
    """An update of what is a fact about a moment, or its deletion where it must stay."""

    reason = common(error_reason_pb2.ERROR_REASON_KIND_APPEND_ONLY)

    def __init__(self, collection: str, never: str = "updated") -> None:
        super().__init__(
            f"{collection} are created and never {never}", metadata={"collection": collection}
        )


class RequestIdReused(Refusal):
    """A request_id that stands for another request already."""

    reason = common(error_reason_pb2.ERROR_REASON_REQUEST_ID_REUSED)

    def __init__(self) -> None:
        super().__init__("request_id was used before, with another content")


class ReferenceNotFound(Refusal):
    """A reference to what is not there, or is another tenant's."""

    reason = common(error_reason_pb2.ERROR_REASON_REFERENCE_NOT_FOUND)

    def __init__(self, field: str, name: str) -> None:
        super().__init__(
            f"{field} refers to {name}, which does not exist",
            metadata={"field": field, "resource": name},
        )


class ResourceReferenced(Refusal):
    """A resource that others refer to and cannot do without."""

    reason = common(error_reason_pb2.ERROR_REASON_RESOURCE_REFERENCED)

    def __init__(self, name: str, referrer: str) -> None:
        super().__init__(
            f"{referrer} refer to {name}", metadata={"resource": name, "referrer": referrer}
        )


class RevisionGone(Refusal):
    """A revision whose changes are not kept any more, or that this database never had."""

    reason = common(error_reason_pb2.ERROR_REASON_REVISION_GONE)

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the changes after revision {revision} are not kept; list the records again",
            metadata={"revision": revision},
        )


class ReadTimeGone(Refusal):
    """A moment in the past since which changes were forgotten."""

    reason = common(error_reason_pb2.ERROR_REASON_READ_TIME_GONE)

    def __init__(self, earliest: str) -> None:
        super().__init__(
            f"changes since that moment are not kept; the earliest that can be read is {earliest}",
            metadata={"earliest": earliest},
        )


class WatchEnded(Refusal):
    """A watch whose time is over; it goes on by asking again from its last revision."""

    reason = common(error_reason_pb2.ERROR_REASON_WATCH_ENDED)


class TenantInactive(Refusal):
    """A tenant that is deleted or leaves, in which nothing is made or changed, or that has left."""

    reason = common(error_reason_pb2.ERROR_REASON_TENANT_INACTIVE)

    def __init__(self, name: str, status: str) -> None:
        way_out = "; undelete it first" if status == "deleted" else ""
        super().__init__(
            f"{name} is {status}{way_out}", metadata={"resource": name, "status": status}
        )


class SealBroken(Refusal):
    """A stored value that is not what was sealed there, or whose key is gone."""

    reason = common(error_reason_pb2.ERROR_REASON_SEAL_BROKEN)

    def __init__(self, collection: str, field: str) -> None:
        super().__init__(
            f"{field} of {collection} cannot be opened",
            metadata={"collection": collection, "field": field},
        )


class SealingKeysMissing(Refusal):
    reason = common(error_reason_pb2.ERROR_REASON_SEALING_KEYS_MISSING)

    def __init__(self, collection: str, field: str) -> None:
        super().__init__(
            f"{field} of {collection} is kept sealed or hashed, and the service has no keys",
            metadata={"collection": collection, "field": field},
        )
