"""What an AWS answer means, whatever service gave it."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError


class Outcome(Enum):
    """How a read ended."""

    READ = "read"
    DENIED = "denied"
    THROTTLED = "throttled"
    ABSENT = "absent"
    """Answered that the thing is not there or not configured: a fact."""
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


# Codes shared by the services' "Common Errors" pages; botocore's own retry
# handler knows the same codes as throttling.
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "AuthorizationError",
        "AuthorizationErrorException",
        "Client.UnauthorizedOperation",
        "ForbiddenException",
        "InsufficientPrivilegesException",
        "NotAuthorized",
        "UnauthorizedAccess",
        "UnauthorizedOperation",
    }
)
_UNSUPPORTED = frozenset(
    {
        "InvalidAction",
        "MethodNotAllowed",
        "NotImplemented",
        "OptInRequired",
        "UnknownOperationException",
        "UnsupportedOperation",
        "UnsupportedOperationException",
    }
)
# Answered with 403 like a missing permission, but no grant would cure them.
CREDENTIALS_REFUSED = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


FEDERATED_SESSION = "FederatedSession"
"""Code of calls that a session of a user (GetFederationToken) can never make."""


class SessionUnavailable(BotoCoreError):
    """No session in the account for now, or not any more; the text holds no secret."""

    fmt = "{problem}"

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem=problem)
        self.reason = reason
        """As an ErrorInfo has it, such as ``DEPENDENCY_UNAVAILABLE``."""


_FORBIDDEN, _TOO_MANY, _NOT_IMPLEMENTED = 403, 429, 501


def error_code(response: Mapping[str, Any]) -> str:
    """Give the error code of a parsed answer, empty if it is none."""
    error = response.get("Error")
    return str(error.get("Code", "")) if isinstance(error, Mapping) else ""


def error_message(response: Mapping[str, Any]) -> str:
    """Give the text of a parsed answer's error, empty if it is none."""
    error = response.get("Error")
    return str(error.get("Message", "")) if isinstance(error, Mapping) else ""


def classify_code(code: str, status: int) -> Outcome:
    """Tell how a read ended from its error code and HTTP status."""
    if code in _THROTTLED or status == _TOO_MANY:
        return Outcome.THROTTLED
    if code in CREDENTIALS_REFUSED:
        return Outcome.FAILED
    if code in _DENIED or status == _FORBIDDEN:
        return Outcome.DENIED
    if code in _UNSUPPORTED or status == _NOT_IMPLEMENTED:
        return Outcome.UNSUPPORTED
    return Outcome.FAILED


def classify(error: ClientError | BotoCoreError) -> tuple[Outcome, str]:
    """Give the outcome and the code of an error; a failure below HTTP has its class as code."""
    if isinstance(error, SessionUnavailable):
        return Outcome.FAILED, error.reason
    if not isinstance(error, ClientError):
        return Outcome.FAILED, type(error).__name__
    response: Mapping[str, Any] = error.response
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = error_code(response) or str(status)
    return classify_code(code, status), code
