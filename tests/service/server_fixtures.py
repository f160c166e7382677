"""A real server with servicers whose behaviour each test chooses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc

from mesh.contract.catalogue import Catalogue, load_catalogue
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE, create_signing_key, sign_token
from mesh.identity.token import TokenVerifier
from mesh.server.serve import Server
from mesh.server.settings import ServerSettings
from mesh.sql.answers import Answers
from secmesh.inventory.v1 import (
    record_pb2,
    record_service_pb2,
    record_service_pb2_grpc,
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.records.v1 import record_requests_pb2

PACKAGE = "secmesh.inventory.v1"
RECORD = "tenants/acme/iam_users/u1"
SYNC = "tenants/acme/syncs/s1"


async def _echo_record(request: Any, _context: Any) -> Any:
    return record_pb2.Record(name=request.name)


async def _no_records(_request: Any, _context: Any) -> Any:
    return record_service_pb2.ListRecordsResponse()


async def _no_kinds(_request: Any, _context: Any) -> Any:
    return record_requests_pb2.ListKindsResponse()


async def _started_sync(request: Any, _context: Any) -> Any:
    return sync_pb2.Sync(name=SYNC, cloud_account_id=request.sync.cloud_account_id)


async def _one_event(request: Any, _context: Any) -> AsyncIterator[Any]:
    yield sync_service_pb2.WatchSyncResponse(sync=sync_pb2.Sync(name=request.name))


@dataclass
class Records(record_service_pb2_grpc.RecordServiceServicer):
    """RecordService whose methods are attributes."""

    # ruff: noqa: N802 - methods have the names of the contract

    get: Callable[[Any, Any], Awaitable[Any]] = _echo_record
    list_records: Callable[[Any, Any], Awaitable[Any]] = _no_records
    kinds: Callable[[Any, Any], Awaitable[Any]] = _no_kinds
    calls: list[str] = field(default_factory=list)

    async def GetRecord(self, request: Any, context: Any) -> Any:
        self.calls.append("GetRecord")
        return await self.get(request, context)

    async def ListRecords(self, request: Any, context: Any) -> Any:
        self.calls.append("ListRecords")
        return await self.list_records(request, context)

    async def ListKinds(self, request: Any, context: Any) -> Any:
        self.calls.append("ListKinds")
        return await self.kinds(request, context)


@dataclass
class Syncs:
    """SyncService without most of its methods, as a servicer under construction has them."""

    start: Callable[[Any, Any], Awaitable[Any]] = _started_sync
    watch: Callable[[Any, Any], AsyncIterator[Any]] = _one_event
    calls: list[str] = field(default_factory=list)

    def add_to(self, server: grpc.aio.Server) -> None:
        async def start(_servicer: Any, request: Any, context: Any) -> Any:
            self.calls.append("StartSync")
            return await self.start(request, context)

        async def watch(_servicer: Any, request: Any, context: Any) -> AsyncIterator[Any]:
            self.calls.append("WatchSync")
            async for event in self.watch(request, context):
                yield event

        # The other methods stay as the generated base class has them.
        methods = {"StartSync": start, "WatchSync": watch}
        servicer: Any = type("Syncs", (sync_service_pb2_grpc.SyncServiceServicer,), methods)
        sync_service_pb2_grpc.add_SyncServiceServicer_to_server(servicer(), server)


@dataclass
class Running:
    """A server that is up, with the means to call it."""

    server: Server
    records: Records
    syncs: Syncs
    keys: Path

    @property
    def address(self) -> str:
        return self.server.address

    def token(
        self,
        *,
        tenant: str = "acme",
        roles: tuple[str, ...] = ("admin",),
        permissions: tuple[str, ...] = (),
        tenants: tuple[str, ...] = (),
        lifetime: timedelta = timedelta(minutes=5),
    ) -> str:
        return sign_token(
            self.keys,
            subject="ann",
            tenant=tenant,
            roles=roles,
            permissions=permissions,
            tenants=tenants,
            lifetime=lifetime,
        )

    def metadata(self, *more: tuple[str, str], **claims: Any) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token(**claims)}"), *more)


async def always_ready() -> bool:
    return True


@asynccontextmanager
async def running(
    folder: Path,
    *,
    catalogue: Catalogue | None = None,
    register: Callable[[grpc.aio.Server], None] | None = None,
    ready: Callable[[], Awaitable[bool]] = always_ready,
    dispose: Callable[[], Awaitable[None]] | None = None,
    answers: Answers | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Start a server on a free port and stop it at the end."""
    keys = folder / "keys"
    create_signing_key(keys)
    # The other methods stay as the generated base class has them.
    records, syncs = Records(), Syncs()  # type: ignore[abstract]  # abstract in its stub only

    def register_both(server: grpc.aio.Server) -> None:
        record_service_pb2_grpc.add_RecordServiceServicer_to_server(records, server)
        syncs.add_to(server)

    server = Server(
        ServerSettings(**settings),
        catalogue or load_catalogue(PACKAGE),
        TokenVerifier(keys / JWKS_FILE, ISSUER, AUDIENCE),
        register or register_both,
        ready,
        dispose,
        answers,
    )
    await server.start()
    try:
        yield Running(server, records, syncs, keys)
    finally:
        await server.stop()


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition that another task brings about."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
