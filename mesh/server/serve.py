"""Serves the methods of one package: start, readiness, drain."""

import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mesh.contract.catalogue import Catalogue
from mesh.identity.token import Verifier
from mesh.server.interceptors import HEALTH, REFLECTION, interceptor_chain
from mesh.server.interceptors.idempotency import KeptAnswers
from mesh.server.interceptors.served import ServedTenants
from mesh.server.log import report_loop_failure
from mesh.server.operations import ListenError, Operations
from mesh.server.readiness import Readiness, Ready
from mesh.server.settings import ServerSettings
from mesh.server.transport import server_credentials
from mesh.tls import TlsInvalid

__all__ = ["ListenError", "Server"]

_LOG = logging.getLogger(__name__)
_CONNECTION_AGE_MS = 5 * 60 * 1000
_MIN_PING_INTERVAL_MS = 30_000
_CANCELLED_SECONDS = 20
"""How long a cancelled call may take to roll back."""
_HURRY_SECONDS = 5
"""How long what is left may take after a second signal."""
_METADATA_BYTES = 192 * 1024
"""Takes all that the gateway lets in: 60 KiB, a long query of it twice, escaped once more."""


class Server:
    """One gRPC server of one process.

    ``register`` adds the servicers, ``ready`` tells whether they can work (a ping of the store),
    ``dispose`` closes what they use, after the last call or when there will be none,
    ``answers`` keeps the answers to requests with a request_id, ``tenants`` knows who was removed.
    """

    def __init__(
        self,
        settings: ServerSettings,
        catalogue: Catalogue,
        verifier: Verifier,
        register: Callable[[grpc.aio.Server], None],
        ready: Ready,
        dispose: Callable[[], Awaitable[None]] | None = None,
        answers: KeptAnswers | None = None,
        tenants: ServedTenants | None = None,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._register = register
        self._dispose = dispose
        self._operations = Operations(settings)
        self._readiness = Readiness(
            catalogue.services, ready, settings.readiness_seconds, self._operations.show_ready
        )
        self._server: grpc.aio.Server | None = None
        open_paths = (HEALTH, REFLECTION) if settings.serves_reflection else (HEALTH,)
        self._chain = interceptor_chain(catalogue, verifier, open_paths, answers, tenants)
        self._stopped = False
        self._hurried = asyncio.Event()
        self.draining = asyncio.Event()
        """Set when the server begins to drain: long streams end themselves, in band."""
        self.port = 0
        """The port it listens on, once started."""

    @property
    def address(self) -> str:
        """``host:port`` as clients reach it, once started."""
        return f"{self._settings.host}:{self.port}"

    @property
    def addresses(self) -> dict[str, str]:
        """``host:port`` by purpose: ``address`` for callers, the others for operators."""
        return {"address": self.address, **self._operations.addresses}

    async def start(self) -> int:
        """Listen and serve; give the port. Raises ListenError or TlsInvalid."""
        asyncio.get_running_loop().set_exception_handler(report_loop_failure)
        server = grpc.aio.server(
            interceptors=(self._chain,), options=options_of(self._settings, self._catalogue)
        )
        self._register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._readiness.servicer, server)
        if self._settings.serves_reflection:
            health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            names = (*self._catalogue.services, health_name, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        try:
            self.port = self._bind(server)
            await self._operations.start()
        except (ListenError, TlsInvalid):
            await self._operations.stop()
            if self._dispose is not None:
                await self._dispose()
            raise
        await self._readiness.start()
        await server.start()
        self._server = server
        _LOG.info("listening", extra={"fields": self.addresses})
        return self.port

    def _bind(self, server: grpc.aio.Server) -> int:
        listen = self._settings.listen
        credentials = server_credentials(self._settings)
        try:
            if credentials is None:
                return server.add_insecure_port(listen)
            return server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            raise ListenError(listen) from error

    async def run_until_signal(self) -> None:
        """Start unless started, announce the address on standard output, serve until a signal.

        The first SIGTERM or SIGINT drains, a second one stops at once; more change nothing.
        """
        if self._server is None:
            await self.start()
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, signals.put_nowait, each)
        again: asyncio.Task[None] | None = None
        try:
            print("LISTENING " + json.dumps(self.addresses), flush=True)  # noqa: T201 - the start-up protocol
            received = await signals.get()
            _LOG.info("draining", extra={"fields": {"signal": received.name}})
            again = asyncio.create_task(self._hurry_after(signals))
            await self.stop(self._settings.grace_seconds)
        finally:
            if again is not None:
                again.cancel()
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)
                # The process is at its end: one signal more would only make a failure of it.
                signal.signal(each, signal.SIG_IGN)

    async def _hurry_after(self, signals: "asyncio.Queue[signal.Signals]") -> None:
        """End the drain at the next signal."""
        received = await signals.get()
        _LOG.warning("stopping at once", extra={"fields": {"signal": received.name}})
        self._hurried.set()
        if self._server is not None:
            # A smaller grace overrides the one that is running.
            await self._server.stop(None)

    async def stop(self, grace: float | None = None) -> None:
        """Drain: NOT_SERVING, wait until that is seen, let calls end within ``grace``, dispose.

        Without grace the server stops at once.
        """
        if self._server is None or self._stopped:
            return
        self._stopped = True
        self.draining.set()
        await self._readiness.stop()
        if grace:
            # Load balancers need a probe to notice; calls that come meanwhile are served.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), self._settings.drain_seconds)
        await self._server.stop(None if self._hurried.is_set() else grace)
        ended = asyncio.create_task(self._end())
        hurried = asyncio.create_task(self._hurried.wait())
        await asyncio.wait({ended, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            await asyncio.wait({ended}, timeout=_HURRY_SECONDS)
        if not ended.done():
            _LOG.error("what was left did not end in time")
            ended.cancel()
            return
        ended.result()
        _LOG.info("stopped")

    async def _end(self) -> None:
        """Close what calls used, after the last of them."""
        # gRPC does not wait for the handlers of calls that it cancelled: they roll back by now.
        if not await self._chain.ended(_CANCELLED_SECONDS):
            _LOG.error("handlers of cancelled calls did not end")
        if self._dispose is not None:
            await self._dispose()
        await self._operations.stop()


def options_of(settings: ServerSettings, catalogue: Catalogue) -> list[tuple[str, int]]:
    """Give the options of a server, by the names that gRPC's core has for them."""
    longest = max(method.timeout for method in catalogue.methods.values())
    return [
        # On by default on Linux: a second server would share a taken port in silence.
        ("grpc.so_reuseport", int(settings.share_port)),
        # 4 MiB by default for what is received, no limit for what is sent.
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # 8 KiB by default: from there on gRPC refuses calls by chance.
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        # Connections are renewed so that new replicas get load; calls in flight may end first.
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
        ("grpc.max_connection_age_grace_ms", int(longest.total_seconds() * 1000) + 30_000),
        # Clients ping every 60 s; twice as eager is borne, more is an attack.
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
