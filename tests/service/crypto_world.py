"""The crypto service in this process on a database of its own, with a KMS that tests rule."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.embedded.postgres import Access
from mesh.errors import DependencyUnavailable
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE, create_signing_key, sign_token
from mesh.identity.token import TokenVerifier
from mesh.server.serve import Server
from mesh.sql.engine import open_engine
from mesh.sql.paging import PageTokens
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import (
    config_service_pb2_grpc,
    field_crypto_service_pb2_grpc,
    key_service_pb2_grpc,
    statistics_service_pb2_grpc,
    user_service_pb2_grpc,
)
from secmesh_client.aio import connect
from services.crypto.assembly import Custody, Keys, open_keys, servicers
from services.crypto.audit.anchors import FileAnchors
from services.crypto.audit.entry import Access as AuditAccess
from services.crypto.audit.entry import Audit
from services.crypto.audit.note import Signer
from services.crypto.audit.subjects import Subjects
from services.crypto.custody.key_file import KeyFile, create_key_file
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.database import open_transactions
from services.crypto.erasure.erasing import Registry
from services.crypto.erasure.runner import ErasureRunner
from services.crypto.erasure_parts import erasure_runner
from services.crypto.keys.news import KeyNews
from services.crypto.rotation.runner import Pace, RotationRunner
from services.crypto.rotation_parts import RotationParts, key_servicer, open_rotations
from services.crypto.settings import PACKAGE, CryptoSettings
from services.crypto.statistics_parts import statistics_servicer
from tests.unit.fake_kms import FakeKms

KMS_KEY = "one"
ORIGIN, SEED = "secmesh.crypto/test", b"e" * 32
PACE = Pace(lease=timedelta(seconds=20), batch=5, quiet_batch=5)
_CATALOGUE = load_catalogue(PACKAGE)


@dataclass
class RememberedAudit:
    """Keeps what it is told, unless it is out of order."""

    told: list[AuditAccess] = field(default_factory=list)
    broken: bool = False
    forward: Audit | None = None
    """Who is told as well, from when a test says so."""

    async def record(self, accesses: Sequence[AuditAccess]) -> None:
        if self.broken:
            raise DependencyUnavailable("audit")
        if self.forward is not None:
            await self.forward.record(accesses)
        self.told.extend(accesses)


@dataclass
class Clock:
    """Goes as the real one, so far ahead of it as a test moves it."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class World:
    """A served database and one tenant in it, called by whomever a test wants."""

    access: Access
    home: Path
    kms: FakeKms
    audit: RememberedAudit
    transactions: Transactions
    keys: Keys
    server: Server
    news: KeyNews
    """A test closes it for a process that does not hear of others."""
    rotation: RotationParts
    """Does nothing by itself: tests say when it looks."""
    registry: Registry
    erasures: ErasureRunner
    """Does nothing by itself either."""
    clock: "Clock"
    address: str = ""
    tenant: str = ""
    _channels: list[grpc.aio.Channel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tenant = f"people-{uuid.uuid4().hex[:12]}"

    @property
    def runner(self) -> RotationRunner:
        return self.rotation.runner

    @property
    def parent(self) -> str:
        return f"tenants/{self.tenant}"

    def channel(self, tenant: str = "", *, permissions: Sequence[str] = ()) -> grpc.aio.Channel:
        """Open a channel of ann: an admin, or one with these permissions alone."""
        token = sign_token(
            self.home,
            subject="ann",
            tenant=tenant or self.tenant,
            roles=[] if permissions else ["admin"],
            permissions=permissions,
        )
        channel = connect(self.address, token=token)
        self._channels.append(channel)
        return channel

    def users(self, tenant: str = "", *, permissions: Sequence[str] = ()) -> Any:
        return user_service_pb2_grpc.UserServiceStub(self.channel(tenant, permissions=permissions))

    def config(self, tenant: str = "", *, permissions: Sequence[str] = ()) -> Any:
        return config_service_pb2_grpc.ConfigServiceStub(
            self.channel(tenant, permissions=permissions)
        )

    def fields(self, tenant: str = "", *, permissions: Sequence[str] = ()) -> Any:
        return field_crypto_service_pb2_grpc.FieldCryptoServiceStub(
            self.channel(tenant, permissions=permissions)
        )

    def key_service(self, tenant: str = "", *, permissions: Sequence[str] = ()) -> Any:
        return key_service_pb2_grpc.KeyServiceStub(self.channel(tenant, permissions=permissions))

    def statistics(self, tenant: str = "", *, permissions: Sequence[str] = ()) -> Any:
        return statistics_service_pb2_grpc.StatisticsServiceStub(
            self.channel(tenant, permissions=permissions)
        )

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


@asynccontextmanager
async def crypto_world(
    access: Access,
    home: Path,
    *,
    kms: FakeKms | None = None,
    kms_key_id: str = KMS_KEY,
    pace: Pace = PACE,
) -> AsyncIterator[World]:
    """Serve a database with a new tenant in it; with ``kms`` under that of another world."""
    create_signing_key(home)
    create_key_file(home / "app.keys", ["v1"])
    settings = CryptoSettings(
        environment="test", kms_key_id=kms_key_id, kms_state_seconds=0, admin=""
    )
    kms, audit = kms or FakeKms(KMS_KEY), RememberedAudit()
    engine = open_engine(access.application, settings.pool)
    transactions = open_transactions(engine)
    custody = Custody(kms, LocalAppKeys(KeyFile(home / "app.keys")))
    keys = open_keys(settings, custody, transactions)
    tokens = PageTokens(b"k" * 32)
    clock = Clock()
    rotation = open_rotations(settings, custody, keys, transactions, audit, pace, clock)
    registry = Registry(
        ORIGIN,
        Signer(ORIGIN, SEED),
        Subjects({1: SEED}),
        FileAnchors(home / "erasures"),
        timedelta(days=7),
    )
    erasures = erasure_runner(keys, transactions, audit, registry)

    def register(target: grpc.aio.Server) -> None:
        parts = [
            *servicers(
                settings, custody, keys, transactions, audit, tokens, registry, server.draining
            ),
            key_servicer(transactions, rotation.rotations, keys, audit, tokens),
            statistics_servicer(settings, custody, transactions, audit),
        ]
        for add, servicer in parts:
            add(servicer, target)

    verifier = TokenVerifier(home / JWKS_FILE, ISSUER, AUDIENCE)
    server = Server(
        settings,
        _CATALOGUE,
        verifier,
        register,
        transactions.ready,
        engine.dispose,
        tenants=transactions,
    )
    await server.start()
    news = KeyNews(engine, keys.forget)
    news.start()
    world = World(
        access,
        home,
        kms,
        audit,
        transactions,
        keys,
        server,
        news,
        rotation,
        registry,
        erasures,
        clock,
        server.address,
    )
    try:
        async with asyncio.timeout(60):
            await news.hears.wait()
        yield world
    finally:
        await news.close()
        await world.close()
        await server.stop(0)
        await keys.close()
        await custody.close()
