"""What a service passes on when it calls another for its caller: the token, and refusals."""

from types import SimpleNamespace

import grpc
from google.rpc import status_pb2

from mesh.errors import DependencyUnavailable, Refusal
from mesh.server.call import current_call
from secmesh_client import CallRefused

_KEY = "authorization"
_SCHEME = "bearer "
_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class PassedRefusal(Refusal):
    """What another service refused, told to the caller in its words."""

    def __init__(self, refused: CallRefused) -> None:
        super().__init__(refused.message, metadata=refused.metadata)
        self._status = refused.status

    def status(self, request_id: str = "") -> status_pb2.Status:  # noqa: ARG002 - it names the same request
        """Give the other service's status."""
        return self._status


def _in_its_words(refused: CallRefused) -> Refusal:
    """Give a refusal whose reason is known only now: it is of another service's contract."""
    told = SimpleNamespace(
        name=refused.reason, code=refused.status.code, metadata=refused.metadata.keys()
    )
    made: type[PassedRefusal] = type(PassedRefusal.__name__, (PassedRefusal,), {"reason": told})
    return made(refused)


def passed_on(refused: CallRefused, dependency: str) -> Refusal:
    """Give what the caller is told: that the other service does not answer, or its own words.

    An answer without a reason of a contract is not of our services, and is not passed on.
    """
    if refused.code in _UNANSWERED or not refused.reason:
        return DependencyUnavailable(dependency)
    return _in_its_words(refused)


def callers_token() -> str:
    """Give the token that came with the call being served. Raises LookupError outside of one."""
    for key, value in current_call().metadata:
        if key == _KEY and isinstance(value, str) and value[: len(_SCHEME)].lower() == _SCHEME:
            return value[len(_SCHEME) :]
    raise LookupError("the call that is being served has no token")
