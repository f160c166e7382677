"""The edge process: one gRPC port for Envoy's checks, one HTTP port for documents."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import uvicorn
from envoy.service.auth.v3 import external_auth_pb2_grpc
from starlette.applications import Starlette

from gateway.contracts import body_bytes, select
from gateway.edge.authorization import AuthorizationServicer
from gateway.edge.documents import application
from gateway.edge.health import HealthProbe
from gateway.edge.introspection import add_introspection
from gateway.edge.key_exchange import KeyExchange, require_known
from gateway.edge.key_file import FileKeys
from gateway.edge.key_grants import KeySource
from gateway.edge.key_service import SECONDS, ServiceKeys
from gateway.edge.key_set import KeySets
from gateway.edge.own_token import OwnToken
from gateway.envoy_clusters import AddressInvalid, split_address
from gateway.envoy_config import PLAINTEXT
from gateway.envoy_tls import Tls
from gateway.openapi.document import document_bytes
from gateway.routes import RouteTable
from mesh.identity.api_key_file import ApiKeyFile
from mesh.identity.attempts import Attempts
from mesh.identity.issuers import KeyReading
from mesh.identity.jwks import MAX_AGE_SECONDS
from mesh.identity.jwks import KeySource as JwksSource
from mesh.identity.keys import ISSUER
from mesh.tls import KeyPair, client_credentials
from secmesh.tenancy.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from secmesh_client import Tls as ClientTls
from secmesh_client import TokenFile
from secmesh_client.aio import connect

_LOG = logging.getLogger(__name__)
GRACE_SECONDS = 5.0
KEYS_AGE_SECONDS = 10.0
"""After which keys that are fetched are fetched again: so long the gateway still believes one
that was revoked."""
HEADROOM_BYTES = 1024 * 1024
"""Room for the headers around a body in one check."""


@dataclass(frozen=True)
class EdgeSettings:
    """Addresses as ``host:port``; port 0 takes any free one."""

    services: Mapping[str, str]
    """Address by service name."""
    jwks: str | Path
    """The issuer's public keys, a file or an https URL."""
    issuer: str = ISSUER
    """Whose tokens they verify."""
    issuers: Mapping[str, str] = field(default_factory=dict)
    """Where the keys of further issuers are: also a tenancy service, ``grpcs://HOST:PORT``."""
    issuers_ca: Path | None = None
    """Authorities of those servers; without it the system's, and those that gRPC brings."""
    key_set_seconds: float = MAX_AGE_SECONDS
    """For how long a key set is believed that cannot be read again."""
    authz: str = "127.0.0.1:0"
    http: str = "127.0.0.1:0"
    tls: Tls = PLAINTEXT
    """Towards the services; callers are Envoy's affair."""
    api_keys: Path | None = None
    """File of API keys; of these and of the service's none is good without a signing key."""
    api_key_service: str = ""
    """The tenancy service, ``host:port``, which is asked for keys that the file lacks."""
    api_key_seconds: float = SECONDS
    """How long its answers are used: after so long a key that is revoked stops."""
    api_key_token: Path | None = None
    """File with the token it is asked by; without it the signing key makes one."""
    signing_keys: Path | None = None
    """Folder of the key that signs the tokens for which API keys are exchanged."""

    def client_tls(self) -> ClientTls | None:
        """Give how the tenancy service is asked, None for plaintext."""
        if not self.tls.upstream_ca:
            return None
        certificate, key = _path(self.tls.upstream_certificate), _path(self.tls.upstream_key)
        return ClientTls(Path(self.tls.upstream_ca), certificate, key)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Give how services are asked, None for plaintext. Raises TlsInvalid."""
        if not self.tls.upstream_ca:
            return None
        return client_credentials(Path(self.tls.upstream_ca), self.own())

    def own(self) -> KeyPair | None:
        """Give the certificate that services are shown."""
        certificate, key = self.tls.upstream_certificate, self.tls.upstream_key
        return KeyPair(Path(certificate), Path(key)) if certificate else None


class _HttpServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process has one place that hears signals, and it is not here


@contextlib.asynccontextmanager
async def running(settings: EdgeSettings) -> AsyncIterator[dict[str, str]]:
    """Run the edge and give its addresses by purpose, ``authz`` and ``http``."""
    services = select(settings.services)
    methods = [method for service in services for method in service.methods]
    largest = max((body_bytes(each, route) for each in methods for route in each.routes), default=0)
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", largest + HEADROOM_BYTES),
        ]
    )
    sources = await asyncio.to_thread(_sources, settings)
    probe = HealthProbe(settings.services, settings.credentials())
    add_introspection(server, services, probe)
    host, _ = split_address(settings.authz, any_port=True)
    port = server.add_insecure_port(settings.authz)
    pages = application(partial(document_bytes, services), probe, KeySets(settings.issuer, sources))
    async with (
        _exchange(settings, sources.get(ISSUER)) as exchange,
        _http(settings.http, pages) as http,
    ):
        servicer = AuthorizationServicer(RouteTable(methods), exchange)
        external_auth_pb2_grpc.add_AuthorizationServicer_to_server(servicer, server)
        await server.start()
        try:
            yield {"authz": f"{host}:{port}", "http": http}
        finally:
            await server.stop(GRACE_SECONDS)
            await probe.close()


def _sources(settings: EdgeSettings) -> Mapping[str, JwksSource]:
    """Open the key set of each issuer; blocks. Raises JwksInvalid, OSError for the first."""
    max_age = settings.key_set_seconds
    reading = KeyReading(settings.issuers_ca, settings.own(), KEYS_AGE_SECONDS, max_age)
    first = JwksSource(settings.jwks, age=KEYS_AGE_SECONDS, max_age=max_age)
    further = {issuer: reading.open(where) for issuer, where in settings.issuers.items()}
    return {**further, settings.issuer: first}


@contextlib.asynccontextmanager
async def _exchange(
    settings: EdgeSettings, local: JwksSource | None
) -> AsyncIterator[KeyExchange | None]:
    kept, signing = settings.api_keys or settings.api_key_service, settings.signing_keys
    if not kept or signing is None:
        if kept or signing:
            _LOG.warning(
                "API keys are refused: they need a signing key, and a file of keys or the service "
                "that keeps them"
            )
        yield None
        return
    require_known(signing, local)
    sources: list[KeySource] = []
    if settings.api_keys is not None:
        sources.append(FileKeys(ApiKeyFile(settings.api_keys)))
    async with contextlib.AsyncExitStack() as stack:
        if settings.api_key_service:
            channel = await stack.enter_async_context(_key_service(settings, signing))
            sources.append(ServiceKeys(ApiKeyServiceStub(channel), settings.api_key_seconds))
        yield KeyExchange(sources, signing, Attempts())


def _key_service(settings: EdgeSettings, signing: Path) -> grpc.aio.Channel:
    file = settings.api_key_token
    token = OwnToken(signing) if file is None else TokenFile(file)
    try:
        return connect(settings.api_key_service, token=token, tls=settings.client_tls())
    except ValueError as error:
        raise AddressInvalid(str(error)) from None


def _path(text: str) -> Path | None:
    return Path(text) if text else None


@contextlib.asynccontextmanager
async def _http(address: str, pages: Starlette) -> AsyncIterator[str]:
    host, port = split_address(address, any_port=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        bound = listener.getsockname()[1]
        config = uvicorn.Config(pages, log_config=None, access_log=False, server_header=False)
        server = _HttpServer(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"{host}:{bound}"
        finally:
            server.should_exit = True
            await task


async def serve(settings: EdgeSettings) -> None:
    """Run the edge until SIGINT or SIGTERM; say where it listens on standard output."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as addresses:
        sys.stdout.write(f"LISTENING {json.dumps(addresses)}\n")
        sys.stdout.flush()
        await stop.wait()
