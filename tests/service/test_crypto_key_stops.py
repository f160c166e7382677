"""A key that its operator disables stops the next call everywhere, and comes back as it was."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.sealing.secret_file import create_secret_file
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import CallRefused
from services.crypto.audit.entry import Operation
from services.crypto.tables import ROTATION_WORK
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.person_story import refused
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
    store,
)

DISABLED = {"KEY_DISABLED", "VALUE_UNOPENABLE"}


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


@pytest.fixture
async def beside(access: Access, world: World, tmp_path: Path) -> AsyncIterator[World]:
    """Another process on the same database and files."""
    home = tmp_path / "beside"
    create_secret_file(home / "app.keys", (world.home / "app.keys").read_text().splitlines(True))
    async with crypto_world(access, home, kms=world.kms) as made:
        made.tenant = world.tenant
        yield made


async def disable(world: World, key_id: str) -> Any:
    name = f"{world.parent}/keys/{key_id}"
    return await world.key_service().DisableKey(pb.DisableKeyRequest(name=name))


async def enable(world: World, key_id: str) -> Any:
    name = f"{world.parent}/keys/{key_id}"
    return await world.key_service().EnableKey(pb.EnableKeyRequest(name=name))


async def write(world: World, name: str) -> None:
    wanted = User(name=name, address=ADDRESS, ssn=SSN)
    await world.users().UpdateUser(users.UpdateUserRequest(user=wanted))


async def stopped(world: World, name: str) -> bool:
    """Tell whether neither reading nor writing is served, and for the reason that is wanted."""
    for call in (read, write):
        try:
            await call(world, name)
        except CallRefused as refusal:
            if refusal.reason not in DISABLED:
                raise
        else:
            return False
    return True


@pytest.mark.parametrize("kind", ["tenant-kek", "app-key", "user-dek"])
async def test_a_key_that_is_disabled_stops_the_next_call_in_every_process(
    world: World, beside: World, kind: str
) -> None:
    name, other = await store(world, 2)
    key_id = f"user-dek-{name[-36:]}" if kind == "user-dek" else kind
    for each in (world, beside):
        assert await read(each, name) == (ADDRESS, SSN)
        await write(each, name)
    shown = await disable(world, key_id)
    assert {each.state for each in shown.versions} == {key_pb2.KEY_STATE_DISABLED}
    assert await stopped(world, name)
    async with asyncio.timeout(60):
        # It hears within milliseconds, not at once.
        while not await stopped(beside, name):
            await asyncio.sleep(0.001)
    assert (await world.users().GetUser(users.GetUserRequest(name=name))).name == name
    if kind == "user-dek":
        assert await read(world, other) == (ADDRESS, SSN)
    assert await disable(beside, key_id) == shown
    await enable(beside, key_id)
    assert await read(beside, name) == (ADDRESS, SSN)
    async with asyncio.timeout(60):
        while await stopped(world, name):
            await asyncio.sleep(0.001)
    await write(world, name)


async def test_versions_come_back_as_they_were(world: World) -> None:
    [name] = await store(world, 1)
    await roll_back(world, (await run(world, key_pb2.KEY_TYPE_TENANT_KEK)).name)
    await disable(world, "tenant-kek")
    back = await enable(world, "tenant-kek")
    assert [(each.version, each.state) for each in back.versions] == [
        (2, key_pb2.KEY_STATE_DECRYPT_ONLY),
        (1, key_pb2.KEY_STATE_ACTIVE),
    ]
    assert await enable(world, "tenant-kek") == back
    assert await read(world, name) == (ADDRESS, SSN)


async def test_a_rotation_waits_while_its_key_is_disabled(world: World) -> None:
    await store(world, 2)
    planned = await plan(world, key_pb2.KEY_TYPE_TENANT_KEK)
    await world.key_service().RunRotation(pb.RunRotationRequest(name=planned.name))
    await disable(world, "tenant-kek")
    await world.runner.look()
    waiting = await get(world, planned.name)
    assert waiting.status == key_pb2.KEY_ROTATION_STATUS_RUNNING
    assert "disabled" in waiting.error
    await enable(world, "tenant-kek")
    await end_lease(world)
    await world.runner.look()
    assert (await get(world, planned.name)).status == key_pb2.KEY_ROTATION_STATUS_COMPLETED


async def test_it_is_in_the_audit_and_says_nothing_of_a_user(world: World) -> None:
    [name] = await store(world, 1)
    world.audit.told.clear()
    await disable(world, "app-key")
    await disable(world, f"user-dek-{name[-36:]}")
    await enable(world, "app-key")
    told = [(each.operation, each.details, bool(each.user_id)) for each in world.audit.told]
    assert told == [
        (Operation.CONFIGURE, "disable app-key", False),
        (Operation.CONFIGURE, "disable user-dek", True),
        (Operation.CONFIGURE, "enable app-key", False),
    ]
    world.audit.broken = True
    await refused(disable(world, "tenant-kek"), "DEPENDENCY_UNAVAILABLE")
    world.audit.broken = False
    asked = pb.GetKeyRequest(name=f"{world.parent}/keys/tenant-kek")
    [version] = (await world.key_service().GetKey(asked)).versions
    assert version.state == key_pb2.KEY_STATE_ACTIVE


async def test_calls_that_do_not_fit_are_refused(world: World) -> None:
    await store(world, 1)
    await refused(disable(world, f"user-dek-{new_uuid()}"), "RESOURCE_NOT_FOUND")
    await refused(disable(world, "index-key-ssn"), "FIELD_INVALID")
    asked = pb.DisableKeyRequest(name=f"{world.parent}/keys/app-key")
    reader = world.key_service(permissions=["crypto.keys.get", "crypto.keys.enable"])
    await refused(reader.DisableKey(asked), "PERMISSION_MISSING")
    other = world.key_service(f"other-{new_uuid()[:8]}")
    await refused(other.DisableKey(asked), "RESOURCE_NOT_FOUND")
