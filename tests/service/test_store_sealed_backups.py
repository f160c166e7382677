"""Backups that are encrypted, on a real server and on each database."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.sealing.keyring import add_key, create_keys, put_first, read_keys
from secmesh.inventory.v1.backup_pb2 import Backup
from secmesh.inventory.v1.store_service_pb2 import GetStatsRequest
from tests.service.store_world import Kept, fill, kept, user
from tests.service.test_store_backups import backup, data, listed, refused, restore

MARK = "nobody-else-reads-this"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    create_keys(tmp_path / "backup.keys")
    return tmp_path / "backup.keys"


@asynccontextmanager
async def serving(database: str, home: Path, keys: Path | None, **more: Any) -> AsyncIterator[Kept]:
    async with kept(database, home, backup_keys=keys, **more) as world:
        yield world


async def marked(world: Kept) -> Backup:
    """Back up a store that holds the mark."""
    await fill(world)
    await world.put("iam_users", user(MARK, 40))
    return await backup(world)


def believed(file: Path) -> None:
    """Let the manifest say that the file is what it is now."""
    told = json.loads(file.with_suffix(".json").read_text())
    told |= {"size": file.stat().st_size, "sha256": sha256(file.read_bytes()).hexdigest()}
    file.with_suffix(".json").write_text(json.dumps(told))


async def test_what_is_encrypted_comes_back(database: str, tmp_path: Path, keys: Path) -> None:
    async with serving(database, tmp_path, None) as world:
        await fill(world)
        plain = await backup(world)
        assert plain.encryption_key_id == ""
    async with serving(database, tmp_path, keys) as world:
        await world.put("iam_users", user(MARK, 40))
        before = await world.content()
        made = await backup(world)
        assert made.encryption_key_id == read_keys(keys).first
        assert data(world, made).read_bytes().startswith(b"secmesh sealed file 1\n")
        for each in (world.home / "backups").iterdir():
            assert MARK.encode() not in each.read_bytes()
        await world.put("iam_users", user("new", 90))
        await restore(world, made.name, only=True)
        safety = await restore(world, made.name)
        assert await world.content() == before
        (secured,) = [each for each in await listed(world) if each.name == safety]
        assert secured.encryption_key_id == made.encryption_key_id
        # What was made before there were keys is still good, and nothing decrypted stays behind.
        await restore(world, plain.name)
        assert not list((world.home / "backups").glob("*.partial"))


async def test_keys_are_changed_and_old_backups_still_open(
    database: str, tmp_path: Path, keys: Path
) -> None:
    async with serving(database, tmp_path, keys) as world:
        made = await marked(world)
        before = await world.content()
    put_first(keys, add_key(keys, hashes=False))
    async with serving(database, tmp_path, keys) as world:
        later = await backup(world)
        assert later.encryption_key_id == read_keys(keys).first != made.encryption_key_id
        await restore(world, made.name)
        assert await world.content() == before
    other = tmp_path / "other.keys"
    create_keys(other)
    for chosen, words in ((other, "not among the keys"), (None, "name no keys")):
        async with serving(database, tmp_path, chosen) as world:
            error = await refused(world, made.name)
            assert (error.code, error.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "BACKUP_UNFIT",
            )
            assert words in str(error)
            assert await world.content() == before


async def test_what_was_tampered_with_is_refused_though_its_manifest_fits(
    database: str, tmp_path: Path, keys: Path
) -> None:
    async with serving(database, tmp_path, keys) as world:
        made, other = await marked(world), await backup(world)
        file, before = data(world, made), await world.content()
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for content, reason in (
            (bytes(flipped), "BACKUP_BROKEN"),
            (whole[:-1], "BACKUP_BROKEN"),
            (whole[:-65_552], "BACKUP_BROKEN"),
            (whole[:40], "BACKUP_BROKEN"),
            (b"", "BACKUP_BROKEN"),
            (data(world, other).read_bytes(), "BACKUP_UNFIT"),
        ):
            file.write_bytes(content)
            believed(file)
            assert (await refused(world, made.name)).reason == reason
        file.write_bytes(whole)
        believed(file)
        manifest = json.loads(file.with_suffix(".json").read_text())
        file.with_suffix(".json").write_text(json.dumps({**manifest, "created": 1}))
        assert (await refused(world, made.name)).reason == "BACKUP_UNFIT"
        assert await world.content() == before


async def test_scheduled_backups_are_encrypted_too(
    database: str, tmp_path: Path, keys: Path
) -> None:
    async with serving(database, tmp_path, keys, backup_hours=1) as world:
        async with asyncio.timeout(60):
            while not (found := await listed(world)):
                await asyncio.sleep(0.05)
        assert {each.encryption_key_id for each in found} == {read_keys(keys).first}
        assert {each.origin for each in found} == {Backup.ORIGIN_SCHEDULED}
        stats = await world.ask("GetStats", GetStatsRequest(parent="tenants/acme"))
        assert not stats.backup_schedule.failure
