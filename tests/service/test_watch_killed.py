"""A watcher of the inventory misses nothing and is told nothing twice, whatever is killed."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

from mesh.contract.catalogue import load_catalogue
from mesh.identity.keys import create_signing_key, sign_token
from mesh.sql.changes import Revision
from mesh.sql.engine import open_engine
from mesh.sql.schema import require_schema
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.records.v1.watch_pb2 import WatchRecordsRequest
from secmesh_client import aio
from tests.ports import free_port
from tests.service.server_fixtures import PACKAGE

USERS = "tenants/acme/iam_users"
PATIENCE = 250
"""Seconds until the service is back on a busy machine."""
WRITERS, TRANSACTIONS, ROWS = 4, 60, 10


class Service:
    """The inventory service as a process that may be killed, always at the same address."""

    def __init__(self, folder: Path, database: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._environment = {
            **os.environ,
            "SECMESH_HOME": str(folder),
            "DATABASE_URL": database,
            "SECMESH_INVENTORY_LISTEN": self.address,
        }

    def start(self) -> None:
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.inventory", "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(b"LISTENING")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


async def write(store: Store, writer: int) -> None:
    """Write in transactions that stay open for different times."""
    chance = Random(writer)
    for number in range(TRANSACTIONS):
        async with store.transaction() as connection:
            for row in range(ROWS):
                record = Record(
                    name=f"{USERS}/w{writer}-{number}-{row}",
                    cloud_account_id="123456789012",
                    region="global",
                )
                record.valid_from.GetCurrentTime()
                record.iam_user.username = f"user {row}"
                await store.insert(connection, "iam_users", [record])
            await asyncio.sleep(chance.random() / 50)


async def test_nothing_is_missed_and_nothing_comes_twice(database: str, tmp_path: Path) -> None:
    create_signing_key(tmp_path / "keys")
    engine = open_engine(database)
    store = Store(engine, Tables(load_catalogue(PACKAGE)), page_key=b"k" * 32)
    await require_schema(engine, store.tables)
    service = Service(tmp_path, database)
    await asyncio.to_thread(service.start)
    seen: list[tuple[Revision, str]] = []
    total = WRITERS * TRANSACTIONS * ROWS
    follower = asyncio.create_task(follow(service.address, tmp_path, seen, total))
    try:
        async with asyncio.timeout(60):
            while not seen:
                await asyncio.sleep(0.05)
        writers = [asyncio.create_task(write(store, writer)) for writer in range(WRITERS)]
        # A file is no other feed: once tells that it, too, is read again from where it was.
        for _ in range(1 if database.startswith("sqlite") else 2):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.start)
        await asyncio.gather(*writers)
        await asyncio.wait_for(follower, 150)
    finally:
        follower.cancel()
        service.kill()
        await engine.dispose()
    names = Counter(name for _, name in seen if name)
    assert len(names) == total
    assert set(names.values()) == {1}
    revisions = [revision for revision, name in seen if name]
    assert revisions == sorted(set(revisions))


async def follow(address: str, folder: Path, seen: list[tuple[Revision, str]], total: int) -> None:
    """Watch until all came; begun again by the client whenever the stream breaks."""
    token = sign_token(folder / "keys", subject="ann", tenant="acme", roles=["viewer"])
    async with aio.connect(address, token=token) as channel:
        stub = RecordServiceStub(channel)
        told = 0
        request = WatchRecordsRequest(parent=USERS)
        async for event in aio.watch(stub.WatchRecords, request, patience=PATIENCE):
            name = event.changed.name if event.HasField("changed") else ""
            seen.append((Revision.parse(event.revision), name))
            told += bool(name)
            if told == total:
                return
