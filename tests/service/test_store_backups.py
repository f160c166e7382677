"""Backups and restores on a real server, on each database."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused
from mesh.identity.keys import sign_token
from mesh.sql.backup.errors import BackupsBusy
from mesh.sql.backup.folder import BackupFolder
from secmesh.inventory.v1 import backup_service_pb2_grpc
from secmesh.inventory.v1.backup_pb2 import Backup
from secmesh.inventory.v1.backup_service_pb2 import (
    CreateBackupRequest,
    DeleteBackupRequest,
    GetBackupRequest,
    ListBackupsRequest,
    RestoreBackupRequest,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.service.store_world import TENANT, Kept, fill, kept, run, user

PLATFORM = {"roles": ["platform"]}


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(database, tmp_path) as made:
        await fill(made)
        yield made


async def backup(world: Kept) -> Backup:
    *events, made, ended = await world.ask("CreateBackup", CreateBackupRequest(), **PLATFORM)
    assert all(event.WhichOneof("event") == "progress" for event in events)
    assert ended.ended.code == 0
    assert isinstance(made.backup, Backup)
    return made.backup


async def restore(world: Kept, name: str, *, only: bool = False) -> str:
    request = RestoreBackupRequest(name=name, validate_only=only)
    *_, done, ended = await world.ask("RestoreBackup", request, **PLATFORM)
    assert ended.ended.code == 0
    return str(done.result.safety_backup)


async def refused(world: Kept, name: str) -> CallRefused:
    return await world.refused("RestoreBackup", RestoreBackupRequest(name=name), **PLATFORM)


async def listed(world: Kept) -> list[Backup]:
    answer = await world.ask("ListBackups", ListBackupsRequest(), **PLATFORM)
    return list(answer.backups)


def data(world: Kept, made: Backup) -> Path:
    return world.home / "backups" / f"{made.name.removeprefix('backups/')}.backup"


async def test_a_backup_says_what_it_holds(world: Kept) -> None:
    made = await backup(world)
    assert made.rows["iam_users"] == 5
    assert set(made.rows) == set(world.store.tables.metadata.tables)
    assert made.origin == Backup.ORIGIN_REQUESTED
    assert made.database == world.store.database
    file = data(world, made)
    assert file.stat().st_size == made.size_bytes
    assert {each.stat().st_mode & 0o077 for each in file.parent.iterdir()} == {0}
    assert file.parent.stat().st_mode & 0o077 == 0
    assert await world.ask("GetBackup", GetBackupRequest(name=made.name), **PLATFORM) == made
    assert await listed(world) == [made]


async def test_a_backup_that_was_opened_to_others_is_closed_again(world: Kept) -> None:
    made = await backup(world)
    file = data(world, made)
    file.chmod(0o644)
    file.with_suffix(".json").chmod(0o664)
    await backup(world)
    assert {each.stat().st_mode & 0o777 for each in file.parent.iterdir()} == {0o600}


async def test_a_restore_brings_everything_back(world: Kept) -> None:
    before = await world.content()
    made = await backup(world)
    await world.put("iam_users", user("new", 90), user("new", 90, tenant="beta"))
    async with world.store.transaction() as connection:
        await world.store.delete_under(connection, "manifest_entries", f"{TENANT}/syncs/s1")
    changed = await world.content()
    assert changed != before
    assert await restore(world, made.name, only=True) == ""
    assert await world.content() == changed
    safety = await restore(world, made.name)
    assert await world.content() == before
    kept_before = await world.ask("GetBackup", GetBackupRequest(name=safety), **PLATFORM)
    assert kept_before.origin == Backup.ORIGIN_SAFETY
    await restore(world, safety)
    assert await world.content() == changed
    # The store is written as before.
    await world.put("iam_users", user("later", 95))
    assert await world.count("iam_users") == 6


async def test_readers_see_the_old_store_or_the_new_one(world: Kept) -> None:
    await world.put("iam_users", *(user(f"old{n}", 50) for n in range(500)))
    made = await backup(world)
    async with world.store.transaction() as connection:
        await connection.execute(world.store.delete("iam_users", "acme"))
    await world.put("iam_users", user("only", 60))
    seen: set[int] = set()
    done = asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            seen.add(await world.count("iam_users"))

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        # A snapshot from before stays what it was, to its end.
        async with world.store.connection() as snapshot:
            statement = world.store.select("iam_users", "acme", past=True)
            assert len(await world.store.fetch(statement, snapshot)) == 1
            await restore(world, made.name)
            assert len(await world.store.fetch(statement, snapshot)) == 1
        await asyncio.sleep(0.05)
        done.set()
    assert seen == {1, 504}


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def lose(file: Path) -> None:
    file.unlink()


def foreign(file: Path) -> None:
    change_manifest(file, contract_digest="0" * 64)


def of_another_database(file: Path) -> None:
    change_manifest(file, database="oracle")


def garbled(file: Path) -> None:
    file.with_suffix(".json").write_text("{")


def miscounted(file: Path) -> None:
    rows = json.loads(file.with_suffix(".json").read_text())["rows"]
    change_manifest(file, rows={**rows, "iam_users": 4})


def change_manifest(file: Path, **changes: Any) -> None:
    manifest = file.with_suffix(".json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changes}))


SPOILS = (
    (truncate, "BACKUP_BROKEN"),
    (flip, "BACKUP_BROKEN"),
    (lose, "BACKUP_BROKEN"),
    (garbled, "BACKUP_BROKEN"),
    (miscounted, "BACKUP_BROKEN"),
    (foreign, "BACKUP_UNFIT"),
    (of_another_database, "BACKUP_UNFIT"),
)


async def test_what_cannot_be_restored_changes_nothing(world: Kept) -> None:
    made = await backup(world)
    await world.put("iam_users", user("new", 90))
    before = await world.content()
    file = data(world, made)
    whole = {each: each.read_bytes() for each in (file, file.with_suffix(".json"))}
    for spoil, reason in SPOILS:
        spoil(file)
        error = await refused(world, made.name)
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, reason), spoil
        assert error.metadata["backup"] == made.name
        for each, content in whole.items():
            each.write_bytes(content)
    assert await world.content() == before
    # Nothing was even secured, for nothing was about to be replaced.
    assert await listed(world) == [made]
    await restore(world, made.name)


def unsound(file: Path) -> None:
    change_manifest(file, size="many")


def beyond_time(file: Path) -> None:
    change_manifest(file, created=1 << 62)


async def test_a_damaged_backup_is_listed_and_can_be_deleted(world: Kept) -> None:
    made, other = await backup(world), await backup(world)
    for spoil in (garbled, unsound, beyond_time):
        whole = data(world, made).with_suffix(".json").read_bytes()
        spoil(data(world, made))
        last, damaged = await listed(world)
        assert last == other
        wanted = Backup(name=made.name, problem="its manifest cannot be read")
        wanted.create_time.FromSeconds(made.create_time.seconds)
        assert damaged == wanted
        assert (await refused(world, made.name)).reason == "BACKUP_BROKEN"
        data(world, made).with_suffix(".json").write_bytes(whole)
    garbled(data(world, made))
    await world.ask("DeleteBackup", DeleteBackupRequest(name=made.name), **PLATFORM)
    assert await listed(world) == [other]
    assert not data(world, made).exists()


async def test_a_running_sync_is_not_overwritten(world: Kept) -> None:
    made = await backup(world)
    await world.put("syncs", run("live", 40, tenant="beta", state=Sync.STATE_RUNNING))
    error = await refused(world, made.name)
    assert (error.reason, error.metadata["sync"]) == ("SYNC_RUNNING", "tenants/beta/syncs/live")
    assert await world.count("syncs", "beta") == 2


async def test_what_does_not_exist(world: Kept) -> None:
    name = "backups/20260101t000000-00000000"
    assert (await refused(world, name)).reason == "RESOURCE_NOT_FOUND"
    for call, request in (("GetBackup", GetBackupRequest), ("DeleteBackup", DeleteBackupRequest)):
        error = await world.refused(call, request(name=name), **PLATFORM)
        assert error.reason == "RESOURCE_NOT_FOUND"
        error = await world.refused(call, request(name="backups/../keys"), **PLATFORM)
        assert error.reason == "FIELD_INVALID"


async def test_a_deleted_backup_is_gone(world: Kept) -> None:
    made, other = await backup(world), await backup(world)
    await world.ask("DeleteBackup", DeleteBackupRequest(name=made.name), **PLATFORM)
    assert await listed(world) == [other]
    assert not data(world, made).exists()


async def test_backups_are_listed_newest_first_page_by_page(world: Kept) -> None:
    made = [(await backup(world)).name for _ in range(3)]
    first = await world.ask("ListBackups", ListBackupsRequest(page_size=2), **PLATFORM)
    token = first.next_page_token
    rest = await world.ask("ListBackups", ListBackupsRequest(page_token=token), **PLATFORM)
    names = [each.name for each in (*first.backups, *rest.backups)]
    assert names == made[::-1]
    assert not rest.next_page_token
    error = await world.refused("ListBackups", ListBackupsRequest(page_token="x"), **PLATFORM)
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_one_at_a_time(world: Kept) -> None:
    with BackupFolder(world.home / "backups").locked():
        for call, request in (
            ("CreateBackup", CreateBackupRequest()),
            ("RestoreBackup", RestoreBackupRequest(name="backups/20260101t000000-00000000")),
        ):
            error = await world.refused(call, request, **PLATFORM)
            assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "BACKUPS_BUSY")
    await backup(world)


async def test_tenants_cannot_reach_the_whole_store(world: Kept) -> None:
    for call, request in (
        ("CreateBackup", CreateBackupRequest()),
        ("ListBackups", ListBackupsRequest()),
        ("RestoreBackup", RestoreBackupRequest(name="backups/20260101t000000-00000000")),
    ):
        error = await world.refused(call, request, roles=["admin"])
        assert error.reason == "PERMISSION_MISSING"


def is_free(world: Kept) -> bool:
    """Tell whether nobody writes backups."""
    try:
        with BackupFolder(world.home / "backups").locked():
            return True
    except BackupsBusy:
        return False


async def test_a_caller_that_leaves_leaves_nothing_half_done(world: Kept) -> None:
    folder = world.home / "backups"
    await world.put("iam_users", *(user(f"u{n}", 50) for n in range(2000)))
    token = sign_token(world.home / "keys", subject="ann", tenant="acme", roles=["platform"])
    async with world.channel(token) as channel:
        call = backup_service_pb2_grpc.BackupServiceStub(channel).CreateBackup(
            CreateBackupRequest()
        )
        async with asyncio.timeout(60):
            while not any(folder.glob("20*")):
                await asyncio.sleep(0.001)
        call.cancel()
    async with asyncio.timeout(60):
        while any(folder.glob("*.partial")) or not is_free(world):
            await asyncio.sleep(0.05)
    made = await backup(world)
    assert made in await listed(world)
    assert made.rows["iam_users"] == 2005
