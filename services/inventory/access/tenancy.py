"""The tenancy service, asked for sessions in the name of this one."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import grpc
from google.protobuf.duration_pb2 import Duration

from mesh.client.passing import passed_on
from mesh.contract.names import tenant_of
from mesh.errors import DependencyUnavailable
from secmesh.tenancy.v1 import credential_service_pb2_grpc
from secmesh.tenancy.v1.credential_service_pb2 import (
    VendCredentialsRequest,
    VendCredentialsResponse,
)
from secmesh_client import CallRefused
from services.inventory.access.refused import SessionRefused

LIFETIME_SECONDS = 1800
"""Of a session; a run that takes longer fetches the next one."""
_NAME = "tenancy"
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
_OURS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
"""What is said of this service's own token, and is nothing to its callers."""

_LOG = logging.getLogger(__name__)


class Tenancy:
    """Typed calls of the tenancy service; threads may share it."""

    def __init__(
        self,
        channel: grpc.Channel,
        issuing: grpc.Channel | None = None,
        acting_for: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Call over a channel; ``acting_for`` has it carry a tenant's tokens of ``issuing``."""
        self._credentials = credential_service_pb2_grpc.CredentialServiceStub(channel)
        self._channels = [channel] if issuing is None else [channel, issuing]
        self._acting_for = acting_for

    def close(self) -> None:
        """Close the channels."""
        for each in self._channels:
            each.close()

    def vend(self, account: str, purpose: str, refused: str) -> VendCredentialsResponse:
        """Give a session in an account, another than that of the access key ``refused``.

        Blocks. Raises SessionRefused.
        """
        request = VendCredentialsRequest(
            name=account,
            purpose=purpose,
            lifetime=Duration(seconds=LIFETIME_SECONDS),
            refused_access_key_id=refused,
        )
        try:
            with self._acting_for(tenant_of(account) or ""):
                made: VendCredentialsResponse = self._credentials.VendCredentials(request)
        except CallRefused as problem:
            raise _told(problem) from problem
        except (OSError, ValueError) as problem:
            # The file of the token or the secret; its path is nothing to callers.
            _LOG.error("no token for the tenancy service", extra={"fields": {"why": str(problem)}})
            raise SessionRefused(DependencyUnavailable(_NAME), passing=True) from problem
        return made


def _told(problem: CallRefused) -> SessionRefused:
    if problem.code in _OURS:
        _LOG.error(
            "the tenancy service refuses this one",
            extra={"fields": {"reason": problem.reason or problem.code.name}},
        )
        # Whoever renews the token may do so in a moment.
        return SessionRefused(DependencyUnavailable(_NAME), passing=True)
    return SessionRefused(passed_on(problem, _NAME), passing=problem.code in _PASSING)
