"""Rotation of the app key: sealed anew by its custodian alone."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import key_pb2
from services.crypto.custody.key_file import FileKey, KeyFile, write_key_file
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.tables import ROTATION_WORK
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.rotation_story import (
    ADDRESS,
    SSN,
    change,
    end_lease,
    get,
    plan,
    read,
    roll_back,
    run,
    sealing,
    store,
)

APP_KEY = key_pb2.KEY_TYPE_APP_KEY
COLUMN = "app_key_version"


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        # What another test's tenants left hangs from another KMS.
        await change(made, sa.delete(ROTATION_WORK))
        yield made


def add_version(world: World) -> None:
    """Give the custodian a second version, as an operator does."""
    path = world.home / "app.keys"
    write_key_file(path, {**KeyFile(path).keys(), "v2": FileKey(True, b"2" * 32)})


def take_version(world: World, name: str) -> None:
    path = world.home / "app.keys"
    kept = {key: value for key, value in KeyFile(path).keys().items() if key != name}
    write_key_file(path, kept)


async def setting(world: World) -> int:
    asked = config.GetConfigurationRequest(name=f"{world.parent}/configuration")
    return int((await world.config().GetConfiguration(asked)).current_app_key_version)


async def test_a_run_writes_as_many_rows_as_the_plan_counted_and_rolls_back(world: World) -> None:
    names = await store(world, 6)
    add_version(world)
    assert (await plan(world, APP_KEY)).planned_count == 6
    done = await run(world, APP_KEY)
    assert (done.status, done.error) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, "")
    assert (done.planned_count, done.affected_count, done.skipped_count) == (6, 6, 0)
    assert await sealing(world, COLUMN) == {None: 6, 2: 6}
    assert await setting(world) == 2
    assert await read(world, names[5]) == (ADDRESS, SSN)
    undoing = await roll_back(world, done.name)
    assert (undoing.planned_count, undoing.affected_count) == (6, 6)
    assert (await get(world, done.name)).status == key_pb2.KEY_ROTATION_STATUS_ROLLED_BACK
    assert await sealing(world, COLUMN) == {None: 6, 1: 6}
    assert await setting(world) == 1
    take_version(world, "v2")
    assert await read(world, names[0]) == (ADDRESS, SSN)


async def test_values_open_by_the_new_version_alone_and_never_leave_the_custodian(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await store(world, 3)
    add_version(world)
    opened = LocalAppKeys.seal_again

    async def seal_again(*arguments: Any) -> Any:
        bodies = await opened(*arguments)
        assert all(body and SSN.encode() not in body for body in bodies)
        return bodies

    monkeypatch.setattr(LocalAppKeys, "seal_again", seal_again)
    assert (await run(world, APP_KEY)).affected_count == 3
    take_version(world, "v1")
    assert await read(world, names[0]) == (ADDRESS, SSN)


async def test_a_rotation_waits_for_a_version_that_its_custodian_does_not_have(
    world: World,
) -> None:
    await store(world, 2)
    waiting = await run(world, APP_KEY)
    assert waiting.status == key_pb2.KEY_ROTATION_STATUS_RUNNING
    assert "app" in waiting.error
    assert await setting(world) == 1
    assert await sealing(world, COLUMN) == {None: 2, 1: 2}
    add_version(world)
    await end_lease(world)
    await world.runner.look()
    done = await get(world, waiting.name)
    assert (done.status, done.affected_count) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, 2)


async def test_another_process_opens_at_once_what_is_sealed_by_the_new_version(
    access: Access, world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = await store(world, 2)
    add_version(world)
    home = tmp_path_factory.mktemp("other")
    async with crypto_world(access, home, kms=world.kms) as other:
        other.tenant = world.tenant
        write_key_file(home / "app.keys", KeyFile(world.home / "app.keys").keys())
        # It remembers the versions of before.
        assert await read(other, names[0]) == (ADDRESS, SSN)
        await run(world, APP_KEY)
        assert await read(other, names[0]) == (ADDRESS, SSN)
