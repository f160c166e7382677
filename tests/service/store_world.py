"""A server over a database that tests fill by themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from mesh.client import CallRefused, open_channel
from mesh.identity.keys import create_signing_key, sign_token
from mesh.server.serve import Server
from mesh.sql.store import Store
from secmesh.inventory.v1 import backup_service_pb2_grpc, store_service_pb2_grpc
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from services.inventory.__main__ import build_server, open_store
from services.inventory.settings import InventorySettings
from tests.service.collect_world import CATALOGUE, TENANT

STUBS: dict[str, Any] = {
    "BackupService": backup_service_pb2_grpc.BackupServiceStub,
    "StoreService": store_service_pb2_grpc.StoreServiceStub,
}
METHODS = {method.descriptor.name: method.descriptor for method in CATALOGUE.methods.values()}
ONE, TWO = "111111111111", "222222222222"
"""Two accounts."""


def user(
    record: str, opened: int, closed: int | None = None, *, account: str = ONE, tenant: str = "acme"
) -> Record:
    made = Record(
        name=f"tenants/{tenant}/iam_users/{record}", cloud_account_id=account, region="global"
    )
    made.valid_from.seconds = opened
    if closed is not None:
        made.valid_to.seconds = closed
    made.iam_user.username = f"user-{record}"
    return made


def run(sync: str, started: int, *, account: str = ONE, tenant: str = "acme", **more: Any) -> Sync:
    made = Sync(
        name=f"tenants/{tenant}/syncs/{sync}",
        cloud_account_id=account,
        **{"state": Sync.STATE_SUCCEEDED, "regions": ["us-east-1"], **more},
    )
    made.start_time.seconds = started
    return made


def entry(sync: str, tenant: str = "acme") -> ManifestEntry:
    return ManifestEntry(name=f"tenants/{tenant}/syncs/{sync}/manifestEntries/e", operation="iam:x")


@dataclass
class Kept:
    """The server, and the store beneath it through connections of its own."""

    server: Server
    store: Store
    home: Path

    async def put(self, collection: str, *messages: Any) -> None:
        async with self.store.transaction() as connection:
            await self.store.insert(connection, collection, messages)

    async def ask(self, call: str, request: Any, **claims: Any) -> Any:
        """Make a call as ann of acme, an admin unless told otherwise."""
        chosen = {"tenant": "acme", "roles": ["admin"], **claims}
        token = sign_token(self.home / "keys", subject="ann", **chosen)
        async with self.channel(token) as channel:
            stub: Any = STUBS[METHODS[call].containing_service.name](channel)
            answer = getattr(stub, call)(request)
            if METHODS[call].server_streaming:
                return [event async for event in answer]
            return await answer

    def channel(self, token: str) -> grpc.aio.Channel:
        return open_channel(self.server.address, package=CATALOGUE.package, token=token)

    async def refused(self, call: str, request: Any, **claims: Any) -> CallRefused:
        with pytest.raises(CallRefused) as error:
            await self.ask(call, request, **claims)
        return error.value

    async def content(self) -> dict[str, list[Any]]:
        """Give every row of every table."""
        found = {}
        async with self.store.connection() as connection:
            for collection in self.store.tables:
                statement = sa.select(self.store.tables[collection].table)
                rows = (await connection.execute(statement)).all()
                found[collection] = sorted(map(tuple, rows), key=repr)
        return found

    async def count(self, collection: str, tenant: str = "acme") -> int:
        statement = self.store.select(collection, tenant, past=True)
        return len(await self.store.fetch(statement))


@asynccontextmanager
async def kept(url: str, home: Path, **more: Any) -> AsyncIterator[Kept]:
    """Serve a database as the process does."""
    create_signing_key(home / "keys")
    settings = InventorySettings(home=home, database_url=url, accounts="acme=*", **more)
    server = await build_server(settings)
    await server.start()
    store = await open_store(settings, CATALOGUE)
    try:
        yield Kept(server, store, home)
    finally:
        await store.engine.dispose()
        await server.stop()


async def fill(world: Kept) -> None:
    """Put two accounts and another tenant's into the store."""
    await world.put("syncs", run("s1", 10), run("s2", 30), run("t1", 20, account=TWO))
    await world.put("syncs", run("s1", 10, tenant="beta"))
    await world.put("manifest_entries", entry("s1"), entry("s2"), entry("t1"), entry("s1", "beta"))
    await world.put("iam_users", user("a", 10, 20), user("a", 20), user("b", 15))
    await world.put("iam_users", user("c", 25, account=TWO), user("a", 10, tenant="beta"))


__all__ = ["ONE", "TENANT", "TWO", "Kept", "entry", "fill", "kept", "run", "user"]
