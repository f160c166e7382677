"""The sealer process: the app key in the hands of another user than the crypto service's."""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

import grpc
from google.protobuf.message import Message

from mesh.errors import DependencyUnavailable
from mesh.server.interceptors.validation import violations_of
from mesh.tls import KeyPair, ServerTls, TlsInvalid
from secmesh.crypto.sealer.v1 import sealer_service_pb2 as pb
from secmesh.crypto.sealer.v1 import sealer_service_pb2_grpc as stubs
from services.crypto.custody.key_file import KeyFile
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.custody.sealer_limit import ValuesLimit
from services.crypto.custody.sealer_settings import MAX_MESSAGE_BYTES, SealerSettings
from services.crypto.errors import KeyDisabled
from services.crypto.suite.context import Subject
from services.crypto.suite.fields import InnerValue
from services.crypto.suite.header import Header, Suite

_LOG = logging.getLogger(__name__)
_OTHERS_MAY_NOT = 0o117
"""Taken from the socket's mode: its owner and group may connect, nobody else."""
Context = grpc.aio.ServicerContext[Any, Any]


class SealerInUse(Exception):
    """Another process listens on the socket."""


class SealerServicer(stubs.SealerServiceServicer):
    """Seals and opens inner layers; what it does is in its own log, values are not."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, keys: LocalAppKeys, environment: str, limit: ValuesLimit) -> None:
        self._keys = keys
        self._environment = environment
        self._limit = limit

    async def SealInner(
        self, request: pb.SealInnerRequest, context: Context
    ) -> pb.SealInnerResponse:
        """Give the layers; FAILED_PRECONDITION if a version is not there or disabled."""
        values = await self._admitted("seal", request, context)
        try:
            bodies = await self._keys.seal(request.tenant, values)
        except KeyDisabled:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "no such app key")
        except DependencyUnavailable:
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, "the app keys cannot be read")
        return pb.SealInnerResponse(bodies=bodies)

    async def OpenInner(
        self, request: pb.OpenInnerRequest, context: Context
    ) -> pb.OpenInnerResponse:
        """Give what opens."""
        values = await self._admitted("open", request, context)
        try:
            bodies = await self._keys.open(request.tenant, values)
        except DependencyUnavailable:
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, "the app keys cannot be read")
        failed = sum(body is None for body in bodies)
        if failed:
            _LOG.warning("layers did not open", extra={"fields": {"values": failed}})
        results = [pb.OpenedInner(opened=body is not None, body=body or b"") for body in bodies]
        return pb.OpenInnerResponse(results=results)

    async def ResealInner(
        self, request: pb.ResealInnerRequest, context: Context
    ) -> pb.ResealInnerResponse:
        """Give the layers by another version; FAILED_PRECONDITION if that is not there."""
        values = await self._admitted("reseal", request, context)
        version = request.app_key_version
        try:
            bodies = await self._keys.seal_again(request.tenant, values, version)
        except KeyDisabled:
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "no such app key")
        except DependencyUnavailable:
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, "the app keys cannot be read")
        results = [pb.ResealedInner(resealed=body is not None, body=body or b"") for body in bodies]
        return pb.ResealInnerResponse(results=results)

    async def DescribeSealer(
        self, _request: pb.DescribeSealerRequest, context: Context
    ) -> pb.DescribeSealerResponse:
        """Give the owner of the file of app keys."""
        try:
            principal = await self._keys.principal()
        except DependencyUnavailable:
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, "the app keys cannot be read")
        return pb.DescribeSealerResponse(principal=principal, environment=self._environment)

    async def _admitted(
        self,
        operation: str,
        request: pb.SealInnerRequest | pb.OpenInnerRequest | pb.ResealInnerRequest,
        context: Context,
    ) -> Sequence[InnerValue]:
        await _require_valid(request, context)
        if request.environment != self._environment:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "of another environment")
        if seconds := self._limit.admit(len(request.values)):
            _LOG.warning("limit of values reached")
            again = f"too many values; again in {seconds:.3f} s"
            await _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, again)
        told = {"operation": operation, "tenant": request.tenant, "values": len(request.values)}
        _LOG.info("sealer used", extra={"fields": told})
        return [self._value(request.tenant, each) for each in request.values]

    def _value(self, tenant: str, value: pb.InnerValue) -> InnerValue:
        subject = Subject(self._environment, tenant, value.user_id, value.table)
        header = Header(Suite.NESTED, value.padded, value.field_number, 0, value.app_key_version)
        return InnerValue(subject, value.field, header, value.body)


async def _require_valid(request: Message, context: Context) -> None:
    if violations := violations_of(request):
        await _refuse(
            context, grpc.StatusCode.INVALID_ARGUMENT, f"{violations[0].field} is invalid"
        )


async def _refuse(context: Context, code: grpc.StatusCode, details: str) -> Never:
    await context.abort(code, details)
    raise AssertionError("abort raises")


class SealerServer:
    """Serves one socket."""

    def __init__(self, settings: SealerSettings) -> None:
        self._settings = settings
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises SealerInUse, TlsInvalid, KeyFileError."""
        settings = self._settings
        file = KeyFile(settings.app_keys)
        file.keys()
        _clear(settings.socket)
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ]
        )
        limit = ValuesLimit(settings.values_per_second)
        servicer = SealerServicer(LocalAppKeys(file), settings.environment, limit)
        stubs.add_SealerServiceServicer_to_server(servicer, server)
        try:
            _bind(server, settings)
        except (SealerInUse, TlsInvalid):
            await server.stop(None)
            raise
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Let calls in flight end, and stop."""
        if self._server is not None:
            await self._server.stop(self._settings.grace_seconds)

    async def run_until_signal(self) -> None:
        """Start, announce the socket on standard output, serve until SIGTERM or SIGINT."""
        await self.start()
        ended = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, ended.set)
        print("LISTENING " + json.dumps({"socket": str(self._settings.socket)}), flush=True)  # noqa: T201 - the start-up protocol
        await ended.wait()
        await self.stop()


def _bind(server: grpc.aio.Server, settings: SealerSettings) -> None:
    target = f"unix:{settings.socket.absolute()}"
    before = os.umask(_OTHERS_MAY_NOT)
    try:
        if settings.tls_certificate is None or settings.tls_key is None:
            server.add_insecure_port(target)
        else:
            own = KeyPair(settings.tls_certificate, settings.tls_key)
            server.add_secure_port(target, ServerTls(own, settings.tls_client_ca).credentials())
    except RuntimeError as error:
        raise SealerInUse(f"{settings.socket} cannot be listened on") from error
    finally:
        os.umask(before)


def _clear(path: Path) -> None:
    """Remove the socket of a process that is gone; leave that of one that answers."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise SealerInUse(f"another process listens on {path}")
