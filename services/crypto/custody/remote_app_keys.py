"""The app key in the hands of the sealer process, reached by its UNIX socket."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

from mesh.errors import DependencyUnavailable
from mesh.server.call import find_current_call
from secmesh.crypto.sealer.v1 import sealer_service_pb2 as pb
from secmesh.crypto.sealer.v1 import sealer_service_pb2_grpc as stubs
from services.crypto.custody.local_app_keys import CUSTODIAN
from services.crypto.custody.sealer_settings import MAX_MESSAGE_BYTES
from services.crypto.errors import KeyDisabled
from services.crypto.suite.fields import InnerValue

_SECONDS = 5.0
"""Longest wait for an answer, and less if the call ends before."""
_AT_ONCE = 500


class RemoteAppKeys:
    """See ``AppKeyCustodian``."""

    def __init__(
        self,
        socket: Path,
        environment: str,
        credentials: grpc.ChannelCredentials | None = None,
        server_name: str = "sealer",
    ) -> None:
        """Reach a sealer; with credentials its certificate must be of ``server_name``."""
        target = f"unix:{socket.absolute()}"
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # A sealer that was restarted is found again soon.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=options)
        else:
            named = [*options, ("grpc.ssl_target_name_override", server_name)]
            self._channel = grpc.aio.secure_channel(target, credentials, options=named)
        self._stub = stubs.SealerServiceStub(self._channel)
        self._environment = environment

    async def principal(self) -> str:
        """Say who can use the app key, as the sealer says."""
        with _refusals():
            answer = await self._stub.DescribeSealer(pb.DescribeSealerRequest(), timeout=_seconds())
        return answer.principal

    async def seal(self, tenant: str, values: Sequence[InnerValue]) -> list[bytes]:
        """Seal padded plaintexts, each by the version that its header names."""
        bodies: list[bytes] = []
        for start in range(0, len(values), _AT_ONCE):
            request = pb.SealInnerRequest(
                environment=self._environment,
                tenant=tenant,
                values=map(_wire, values[start : start + _AT_ONCE]),
            )
            with _refusals():
                answer = await self._stub.SealInner(request, timeout=_seconds())
            bodies += answer.bodies
        return bodies

    async def open(self, tenant: str, values: Sequence[InnerValue]) -> list[bytes | None]:
        """Open inner layers; None for what does not open, whatever is wrong."""
        bodies: list[bytes | None] = []
        for start in range(0, len(values), _AT_ONCE):
            request = pb.OpenInnerRequest(
                environment=self._environment,
                tenant=tenant,
                values=map(_wire, values[start : start + _AT_ONCE]),
            )
            with _refusals():
                answer = await self._stub.OpenInner(request, timeout=_seconds())
            bodies += [each.body if each.opened else None for each in answer.results]
        return bodies

    async def seal_again(
        self, tenant: str, values: Sequence[InnerValue], version: int
    ) -> list[bytes | None]:
        """Have the sealer seal by another version what inner layers hold."""
        bodies: list[bytes | None] = []
        for start in range(0, len(values), _AT_ONCE):
            request = pb.ResealInnerRequest(
                environment=self._environment,
                tenant=tenant,
                values=map(_wire, values[start : start + _AT_ONCE]),
                app_key_version=version,
            )
            with _refusals():
                answer = await self._stub.ResealInner(request, timeout=_seconds())
            bodies += [each.body if each.resealed else None for each in answer.results]
        return bodies

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close()


def _wire(value: InnerValue) -> pb.InnerValue:
    header = value.header
    return pb.InnerValue(
        user_id=value.subject.user_id,
        table=value.subject.table,
        field=value.field,
        field_number=header.field_number,
        padded=header.padded,
        app_key_version=header.app_key_version,
        body=value.body,
    )


def _seconds() -> float:
    call = find_current_call()
    return max(0.0, min(_SECONDS, math.inf if call is None else call.remaining))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            raise KeyDisabled(CUSTODIAN) from None
        raise DependencyUnavailable("sealer") from error
