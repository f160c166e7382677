"""What is refused about credentials, and how failures of AWS are told to callers."""

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from mesh.errors import DependencyUnavailable, Refusal
from secmesh.tenancy.v1 import error_reason_pb2 as pb
from services.tenancy.credentials.secrets import (
    MAX_BYTES,
    SecretPendingDeletion,
    SecretsError,
    SecretsThrottled,
    SecretsUnavailable,
    SecretTooLarge,
)
from services.tenancy.credentials.sts import (
    AssumptionDenied,
    KeysRefused,
    TokensError,
    TokensRejected,
)
from services.tenancy.errors import reason

_RETRY = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1))


class CredentialTypeUnfit(Refusal):
    """A credential of another type than the account's."""

    reason = reason(pb.ERROR_REASON_CREDENTIAL_TYPE_UNFIT)

    def __init__(self, credential_type: str) -> None:
        super().__init__(
            f"the account is entered by {credential_type}",
            metadata={"credential_type": credential_type},
        )


class CredentialRefused(Refusal):
    """A new version that failed its test; nothing changed."""

    reason = reason(pb.ERROR_REASON_CREDENTIAL_REFUSED)

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the new credential failed its test: {problem}", metadata={"problem": problem}
        )


class CredentialVersionUnfit(Refusal):
    """A version that is gone, or was never fit for use."""

    reason = reason(pb.ERROR_REASON_CREDENTIAL_VERSION_UNFIT)

    def __init__(self, version: int) -> None:
        what = f"version {version} cannot be used" if version else "there is no version before"
        super().__init__(what, metadata={"version": str(version)})


class CredentialRotating(Refusal):
    """A rotation, while another is under way."""

    reason = reason(pb.ERROR_REASON_CREDENTIAL_ROTATING)

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is being rotated", metadata={"resource": name})


class ProviderUnsupported(Refusal):
    """What is done for accounts of AWS alone."""

    reason = reason(pb.ERROR_REASON_PROVIDER_UNSUPPORTED)

    def __init__(self, provider_type: str, problem: str = "") -> None:
        said = f"a secret of {provider_type} {problem}"
        kept = f"accounts of {provider_type} are kept, and not entered yet"
        super().__init__(
            said if problem else kept,
            metadata={"provider_type": provider_type},
        )


class RotationUntested(ProviderUnsupported):
    """A new secret of a provider that has no test for it, without leave to go without."""

    def __init__(self, provider_type: str) -> None:
        super().__init__(
            provider_type, "cannot be tested; set untested to put it in place as it is"
        )


class AccountEntryDenied(Refusal):
    """An account that does not let us in."""

    reason = reason(pb.ERROR_REASON_ACCOUNT_ENTRY_DENIED)

    def __init__(self, problem: str) -> None:
        super().__init__(f"the account lets nobody in: {problem}", metadata={"problem": problem})


class TooLarge(Refusal):
    """A secret that Secrets Manager has no room for."""

    reason = reason(pb.ERROR_REASON_SECRET_TOO_LARGE)

    def __init__(self) -> None:
        super().__init__(
            f"the secret is larger than {MAX_BYTES} bytes", metadata={"limit": str(MAX_BYTES)}
        )


class SecretStoreRefused(Refusal):
    """Secrets Manager or the KMS, which refuse us."""

    reason = reason(pb.ERROR_REASON_SECRET_STORE_REFUSED)

    def __init__(self) -> None:
        super().__init__("Secrets Manager does not let the service use the secret")


class SecretStoreThrottled(Refusal):
    """Secrets Manager, which takes no more for now."""

    reason = reason(pb.ERROR_REASON_SECRET_STORE_THROTTLED)

    def __init__(self) -> None:
        super().__init__("Secrets Manager takes no more calls at the moment", details=[_RETRY])


class PendingDeletion(Refusal):
    """A secret whose name is blocked."""

    reason = reason(pb.ERROR_REASON_SECRET_PENDING_DELETION)

    def __init__(self, name: str) -> None:
        super().__init__(f"the secret of {name} is being deleted", metadata={"resource": name})


class SessionRefused(Refusal):
    """A session that STS does not take as asked for."""

    reason = reason(pb.ERROR_REASON_SESSION_REFUSED)

    def __init__(self) -> None:
        super().__init__("STS refuses the session as asked for: name fewer actions")


class PrincipalUnknown(Refusal):
    """A service that was not told who it is to others' accounts."""

    reason = reason(pb.ERROR_REASON_PRINCIPAL_UNKNOWN)

    def __init__(self) -> None:
        super().__init__("the service was not told its principal")


def secrets_refusal(error: SecretsError, name: str) -> Refusal:
    """Tell a caller of a failure of Secrets Manager about a credential of this name."""
    match error:
        case SecretTooLarge():
            return TooLarge()
        case SecretPendingDeletion():
            return PendingDeletion(name)
        case SecretsThrottled():
            return SecretStoreThrottled()
        case SecretsUnavailable():
            return DependencyUnavailable("secrets")
        case _:
            return SecretStoreRefused()


def tokens_refusal(error: TokensError) -> Refusal:
    """Tell a caller of a failure of STS."""
    match error:
        case AssumptionDenied():
            return AccountEntryDenied("assumption_denied")
        case KeysRefused():
            return AccountEntryDenied("keys_refused")
        case TokensRejected():
            return SessionRefused()
        case _:
            return DependencyUnavailable("sts")
