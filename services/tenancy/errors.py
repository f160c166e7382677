"""What the tenancy service refuses, beside the refusals every service shares."""

from typing import ClassVar

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from mesh.errors import Reason, Refusal
from secmesh.tenancy.v1 import error_reason_pb2


def reason(value: int) -> Reason:
    """Give one reason of this service's contract."""
    return Reason(error_reason_pb2.ErrorReason, value)


class QuotaExceeded(Refusal):
    """A tenant that has as many of something as it may have."""

    reason = reason(error_reason_pb2.ERROR_REASON_QUOTA_EXCEEDED)

    def __init__(self, name: str, quota: str, limit: int) -> None:
        problem = f"{name} may have {limit} {quota} and has as many"
        failure = error_details_pb2.QuotaFailure()
        failure.violations.add(subject=name, description=problem)
        super().__init__(
            f"{problem}; UpdateTenantQuotas gives more",
            metadata={"quota": quota, "limit": str(limit)},
            details=[failure],
        )


class ValueTaken(Refusal):
    """A value that must be unique and is another resource's; the message never holds it."""

    reason = reason(error_reason_pb2.ERROR_REASON_VALUE_TAKEN)

    def __init__(self, field: str) -> None:
        problem = f"another resource has this {field}, perhaps one that is deleted"
        super().__init__(problem, metadata={"field": field})


class AccountStatusUnfit(Refusal):
    """A call that the status of an account does not allow."""

    reason = reason(error_reason_pb2.ERROR_REASON_ACCOUNT_STATUS_UNFIT)

    _WAY_OUT: ClassVar = {
        "pending": "verify it first",
        "failed": "its status_reason says why; verify it again",
        "suspended": "resume it first",
        "deleted": "undelete it first",
    }

    def __init__(self, name: str, status: str) -> None:
        way_out = self._WAY_OUT.get(status)
        super().__init__(
            f"{name} is {status}" + (f"; {way_out}" if way_out else ""),
            metadata={"status": status},
        )


class ResourceDeleted(Refusal):
    """A resource that is deleted and not purged yet."""

    reason = reason(error_reason_pb2.ERROR_REASON_RESOURCE_DELETED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is deleted; undelete it first", metadata={"resource": name})


class ResourceNotDeleted(Refusal):
    """A resource that was to be undeleted and is not deleted (AIP-164)."""

    reason = reason(error_reason_pb2.ERROR_REASON_RESOURCE_NOT_DELETED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not deleted", metadata={"resource": name})


class TenantRestorable(Refusal):
    """A deleted tenant that can still be undeleted, and was to be off-boarded."""

    reason = reason(error_reason_pb2.ERROR_REASON_TENANT_RESTORABLE)

    def __init__(self, name: str, purge_time: str) -> None:
        super().__init__(
            f"{name} can be undeleted until {purge_time}; wait, or ask for it to be shredded",
            metadata={"resource": name, "purge_time": purge_time},
        )


class ApiKeyRevoked(Refusal):
    """An API key that was ended for good, and was to be changed."""

    reason = reason(error_reason_pb2.ERROR_REASON_API_KEY_REVOKED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was revoked", metadata={"resource": name})


class TenantNotDeleted(Refusal):
    """A tenant that is served, and was to be off-boarded."""

    reason = reason(error_reason_pb2.ERROR_REASON_TENANT_NOT_DELETED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is served; delete it first", metadata={"resource": name})


class TenantOffboarded(Refusal):
    """A tenant whose data was removed for good; its id names no other."""

    reason = reason(error_reason_pb2.ERROR_REASON_TENANT_OFFBOARDED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was off-boarded", metadata={"resource": name})


class WritesCollided(Refusal):
    """A transaction that others got in the way of until no retry was left."""

    reason = reason(error_reason_pb2.ERROR_REASON_WRITES_COLLIDED)

    def __init__(self) -> None:
        super().__init__("others write the same right now; try again")


class ExecutionEnded(Refusal):
    """An execution that was to be cancelled and has ended otherwise."""

    reason = reason(error_reason_pb2.ERROR_REASON_EXECUTION_ENDED)

    def __init__(self, status: str) -> None:
        super().__init__(f"the execution has ended: {status}", metadata={"status": status})


class ExecutionNotRetriable(Refusal):
    """An execution that was to be tried once more and did not fail."""

    reason = reason(error_reason_pb2.ERROR_REASON_EXECUTION_NOT_RETRIABLE)

    def __init__(self, status: str) -> None:
        super().__init__(f"the execution is {status}", metadata={"status": status})


class ScheduleBusy(Refusal):
    """A schedule that lets no execution run beside the one it has."""

    reason = reason(error_reason_pb2.ERROR_REASON_SCHEDULE_BUSY)

    def __init__(self, execution: str) -> None:
        super().__init__(
            "another execution of the schedule has not ended", metadata={"execution": execution}
        )


class AccountFiresExceeded(Refusal):
    """Schedules of an account that would fire more often than it may be scanned."""

    reason = reason(error_reason_pb2.ERROR_REASON_ACCOUNT_FIRES_EXCEEDED)

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(
            f"the schedules of {name} fire at most {limit} times an hour, all together",
            metadata={"resource": name, "limit": str(limit)},
        )


class ScheduleCompleted(Refusal):
    """A schedule without times left, which was to be paused."""

    reason = reason(error_reason_pb2.ERROR_REASON_SCHEDULE_COMPLETED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has no time left to fire at", metadata={"resource": name})


class ClientCredentialsInvalid(Refusal):
    """The same words whether the credential is unknown, revoked or its secret another."""

    reason = reason(error_reason_pb2.ERROR_REASON_CLIENT_CREDENTIALS_INVALID)

    def __init__(self) -> None:
        super().__init__("client_id and client_secret are no valid credential")


class ClientCredentialsExpired(Refusal):
    """The right secret of a credential whose time is over."""

    reason = reason(error_reason_pb2.ERROR_REASON_CLIENT_CREDENTIALS_EXPIRED)

    def __init__(self) -> None:
        super().__init__("the service credential has expired")


class ClientAttemptsExceeded(Refusal):
    """Too many wrong secrets came for one credential of late."""

    reason = reason(error_reason_pb2.ERROR_REASON_CLIENT_ATTEMPTS_EXCEEDED)

    def __init__(self, retry_seconds: int) -> None:
        delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_seconds))
        super().__init__("too many wrong secrets came for this client", details=[delay])


class ScopeExceeded(Refusal):
    """More is asked for than is held: a permission, or ``tenants/NAME``."""

    reason = reason(error_reason_pb2.ERROR_REASON_SCOPE_EXCEEDED)

    def __init__(self, scope: str) -> None:
        super().__init__(f"{scope} is more than may be given", metadata={"scope": scope})


class ServiceCredentialRevoked(Refusal):
    """A credential that was revoked and was to get another secret."""

    reason = reason(error_reason_pb2.ERROR_REASON_SERVICE_CREDENTIAL_REVOKED)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is revoked", metadata={"resource": name})


class AudienceUnknown(Refusal):
    """A token was asked for a service there is none of."""

    reason = reason(error_reason_pb2.ERROR_REASON_AUDIENCE_UNKNOWN)

    def __init__(self, audience: str) -> None:
        super().__init__(f"no service {audience!r} takes tokens", metadata={"audience": audience})


class SigningKeyUnknown(Refusal):
    """The issuer has no key of this kid."""

    reason = reason(error_reason_pb2.ERROR_REASON_SIGNING_KEY_UNKNOWN)

    def __init__(self, kid: str) -> None:
        super().__init__("the issuer has no such key", metadata={"kid": kid})
