"""A tenant's move to another KMS key and back; no row but those of wrapped keys is touched."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from services.crypto.custody.kms import KmsKeyState
from services.crypto.tables import INDEX_KEYS, ROTATION_WORK, TENANT_KEYS, USER_KEYS
from tests.databases import crypto_database
from tests.service.crypto_world import KMS_KEY, World, crypto_world
from tests.service.person_story import refused
from tests.service.rotation_story import (
    ADDRESS,
    SSN,
    change,
    end_lease,
    end_window,
    get,
    plan,
    read,
    roll_back,
    run,
    store,
)
from tests.unit.fake_kms import FakeKms

KMS_CMK = key_pb2.KEY_TYPE_KMS_CMK
NEW = "two"


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path, kms=FakeKms(KMS_KEY, NEW)) as made:
        # What another test's tenants left hangs from another KMS.
        await change(made, sa.delete(ROTATION_WORK))
        yield made


@pytest.fixture
async def moved(access: Access, world: World, tmp_path: Path) -> AsyncIterator[World]:
    """A process whose settings name the new KMS key, on the tenant of the other."""
    home = tmp_path / "moved"
    home.mkdir()
    (home / "app.keys").write_bytes((world.home / "app.keys").read_bytes())
    (home / "app.keys").chmod(0o600)
    async with crypto_world(access, home, kms=world.kms, kms_key_id=NEW) as made:
        made.tenant = world.tenant
        yield made


async def hanging(world: World) -> set[tuple[str, str]]:
    """Give the tables of wrapped keys with the KMS keys in them."""
    found = set()
    async with world.transactions.connection(world.tenant) as connection:
        for table in (TENANT_KEYS, INDEX_KEYS):
            statement = sa.select(table.c.kms_key_id).where(table.c.tenant_id == world.tenant)
            for each in (await connection.execute(statement)).scalars():
                found.add((table.name, each))
    return found


async def wrapped(world: World) -> set[bytes]:
    statement = sa.select(USER_KEYS.c.wrapped).where(USER_KEYS.c.tenant_id == world.tenant)
    async with world.transactions.connection(world.tenant) as connection:
        return {bytes(each) for each in (await connection.execute(statement)).scalars()}


async def test_what_the_old_key_wraps_moves_and_moves_back(world: World, moved: World) -> None:
    names = await store(world, 3)
    before, users = await hanging(world), await wrapped(world)
    assert {key for _, key in before} == {KMS_KEY}
    planned = await plan(moved, KMS_CMK)
    assert planned.planned_count >= 2
    done = await run(moved, KMS_CMK)
    assert (done.status, done.error) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, "")
    assert done.affected_count == done.planned_count == planned.planned_count
    assert {key for _, key in await hanging(world)} == {NEW}
    assert await wrapped(world) == users
    world.kms.set_state(KMS_KEY, KmsKeyState.DISABLED)
    assert await read(moved, names[0]) == (ADDRESS, SSN)
    world.kms.set_state(KMS_KEY, KmsKeyState.ENABLED)
    undoing = await roll_back(moved, done.name)
    assert undoing.affected_count == undoing.planned_count == planned.planned_count
    assert (await get(moved, done.name)).status == key_pb2.KEY_ROTATION_STATUS_ROLLED_BACK
    assert await hanging(world) == before
    assert await read(world, names[0]) == (ADDRESS, SSN)


async def test_old_wrapped_forms_go_when_the_time_for_a_rollback_is_over(
    world: World, moved: World
) -> None:
    names = await store(world, 1)
    done = await run(moved, KMS_CMK)
    statement = sa.select(TENANT_KEYS.c.previous_wrapped)
    async with world.transactions.connection(world.tenant) as connection:
        assert await connection.scalar(statement) is not None
    await end_lease(world)
    await moved.runner.look()
    async with world.transactions.connection(world.tenant) as connection:
        assert await connection.scalar(statement) is not None
    await end_window(world)
    await moved.runner.look()
    async with world.transactions.connection(world.tenant) as connection:
        assert await connection.scalar(statement) is None
    assert (await get(moved, done.name)).status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert await read(moved, names[0]) == (ADDRESS, SSN)


async def test_a_new_key_that_may_not_be_used_delays_the_move(world: World, moved: World) -> None:
    names = await store(world, 1)
    planned = await plan(moved, KMS_CMK)
    world.kms.deny(NEW)
    await moved.key_service().RunRotation(pb.RunRotationRequest(name=planned.name))
    await moved.runner.look()
    waiting = await get(moved, planned.name)
    assert (waiting.status, waiting.affected_count) == (key_pb2.KEY_ROTATION_STATUS_RUNNING, 0)
    assert "denied" in waiting.error
    assert {key for _, key in await hanging(world)} == {KMS_KEY}
    assert await read(world, names[0]) == (ADDRESS, SSN)
    world.kms.deny(NEW, False)
    await end_lease(world)
    await moved.runner.look()
    assert (await get(moved, planned.name)).status == key_pb2.KEY_ROTATION_STATUS_COMPLETED


async def test_a_plan_of_what_hangs_from_the_key_already_counts_nothing(world: World) -> None:
    await store(world, 1)
    assert (await plan(world, KMS_CMK)).planned_count == 0
    world.kms.set_state(KMS_KEY, KmsKeyState.DISABLED)
    await refused(plan(world, KMS_CMK), "KEY_DISABLED")
