"""Records that were acknowledged survive the service and PostgreSQL, and a watcher misses none."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.embedded.postgres import Access, PostgresServer
from mesh.identity.keys import create_signing_key, sign_token
from mesh.sealing.keyring import create_keys
from mesh.sql.changes import Revision
from secmesh.records.v1.aggregate_pb2 import AggregateRecordsRequest
from secmesh.records.v1.watch_pb2 import WatchRecordsRequest
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh_client import aio
from tests.ports import free_port
from tests.service.audit_world import tenant_of
from tests.service.callers import LIFETIME
from tests.service.security_records import Tag, body_of
from tests.service.security_world import KINDS

KIND = KINDS["users"]
PARENT = f"tenants/acme/{KIND.collection}"
TOTAL = 3000
PART = 1000
PATIENCE = 250
"""Seconds until the service and its database are back on a busy machine."""
STREAM = "01a201ab-6d72-72c3-b342-5607cc9c856d"


class Service:
    """The security service as a process that may be killed, always at the same address."""

    def __init__(self, folder: Path, access: Access) -> None:
        create_signing_key(folder / "keys")
        create_keys(folder / "sealing.keys")
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._environment = {
            **os.environ,
            "SECMESH_HOME": str(folder),
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
            "SECMESH_SECURITY_LISTEN": self.address,
            "SECMESH_SECURITY_SEALING_KEYS": str(folder / "sealing.keys"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.security", "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(b"LISTENING")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def connect(self) -> Any:
        token = sign_token(
            self._folder / "keys", subject="ann", tenant="acme", roles=["admin"], lifetime=LIFETIME
        )
        return aio.connect(self.address, token=token)


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of one test that keeps what it confirmed, whatever happens to it."""
    # At its start, any pytest closes its folders to PostgreSQL's user.
    with (
        tempfile.TemporaryDirectory(prefix="secmesh-killed-") as folder,
        PostgresServer(Path(folder) / "postgres", durable=True) as server,
    ):
        yield server


async def users(parts: list[asyncio.Event]) -> AsyncIterator[Record]:
    """Give records that have no name yet: their ids are made of the stream.

    Each part but the first comes as something ends, so that none was answered before.
    """
    body = body_of(KIND, Tag("killed"), {}, whole=False)
    for number in range(TOTAL):
        for event in parts[: number // PART]:
            await event.wait()
        record = Record()
        record.user.CopyFrom(body)  # type: ignore[arg-type]  # a body of this kind
        record.user.username, record.user.email = f"user{number}", f"user{number}@example.com"
        yield record


async def follow(service: Service, seen: list[tuple[Revision, str]]) -> None:
    """Watch until all came; begun again by the client whenever the stream breaks."""
    async with service.connect() as channel:
        stub = RecordServiceStub(channel)
        told = 0
        request = WatchRecordsRequest(parent=PARENT)
        async for event in aio.watch(stub.WatchRecords, request, patience=PATIENCE):
            name = event.changed.name if event.HasField("changed") else ""
            seen.append((Revision.parse(event.revision), name))
            told += bool(name)
            if told == TOTAL:
                return


@pytest.mark.timeout(300)
async def test_whatever_is_killed_all_is_there_once_and_was_told_once(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    access = postgres.create_isolated_database("killed")
    service = Service(tmp_path, access)

    def restart_service() -> None:
        service.kill()
        service.start()

    def restart_postgres() -> None:
        postgres.kill()
        postgres.start()
        assert service.process is not None
        assert service.process.poll() is None

    ends = {600: restart_service, 1600: restart_postgres}
    parts = [asyncio.Event() for _ in ends]
    seen: list[tuple[Revision, str]] = []
    results: list[Any] = []
    await asyncio.to_thread(service.start)
    follower = asyncio.create_task(follow(service, seen))
    try:
        async with asyncio.timeout(60):
            while not seen:
                await asyncio.sleep(0.05)
        async with service.connect() as channel:
            stub = RecordServiceStub(channel)
            opening = IngestRecordsRequest(parent=PARENT, stream_id=STREAM)
            async for result in aio.ingest(
                stub.IngestRecords, opening, users([*parts]), patience=PATIENCE
            ):
                results.append(result)
                if end := ends.pop(len(results), None):
                    parts.pop(0).set()
                    await asyncio.to_thread(end)
            [group] = (await stub.AggregateRecords(AggregateRecordsRequest(parent=PARENT))).groups
        await asyncio.wait_for(follower, 90)
    finally:
        follower.cancel()
        service.kill()
    assert not ends
    assert [each.sequence for each in results] == list(range(1, TOTAL + 1))
    assert all(each.durable for each in results)
    stored = {each.name for each in results}
    assert (len(stored), group.count) == (TOTAL, TOTAL)
    names = Counter(name for _, name in seen if name)
    assert names.keys() == stored
    assert set(names.values()) == {1}
    revisions = [revision for revision, name in seen if name]
    assert revisions == sorted(set(revisions))
    # Each write has one entry in the audit log, wherever the chain was broken off.
    async with tenant_of(access, "acme") as tenant:
        verdict = await tenant.check()
    assert (verdict.entries, verdict.problem) == (TOTAL, "")
