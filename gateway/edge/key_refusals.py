"""Why a request with an API key is refused."""

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from mesh.errors import Refusal, common
from secmesh.rpc.v1 import error_reason_pb2 as reasons


class ApiKeyInvalid(Refusal):
    """The same words whether the key is unknown, wrong or revoked."""

    reason = common(reasons.ERROR_REASON_API_KEY_INVALID)

    def __init__(self) -> None:
        super().__init__("the API key is not valid here")


class ApiKeyExpired(Refusal):
    reason = common(reasons.ERROR_REASON_API_KEY_EXPIRED)

    def __init__(self) -> None:
        super().__init__("the API key has expired")


class CredentialsAmbiguous(Refusal):
    reason = common(reasons.ERROR_REASON_CREDENTIALS_AMBIGUOUS)

    def __init__(self) -> None:
        super().__init__("send an API key or a token, not both")


class ApiKeysUnsupported(Refusal):
    reason = common(reasons.ERROR_REASON_API_KEYS_UNSUPPORTED)

    def __init__(self) -> None:
        super().__init__("this gateway takes no API keys; send a token of its issuer")


class AttemptsExceeded(Refusal):
    """The address has sent too many wrong keys of late."""

    reason = common(reasons.ERROR_REASON_API_KEY_ATTEMPTS_EXCEEDED)

    def __init__(self, retry_seconds: int) -> None:
        delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_seconds))
        super().__init__("too many wrong API keys came from this address", details=[delay])
