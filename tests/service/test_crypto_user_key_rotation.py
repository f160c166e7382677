"""Rotation of users' keys: values sealed anew, tier 3 without its custodian."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from secmesh.crypto.v1 import user_service_pb2 as users
from services.crypto.custody.local_app_keys import LocalAppKeys
from services.crypto.suite.header import HEADER_BYTES
from services.crypto.tables import ROTATION_WORK, USER_KEYS, USERS
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
    sealing,
    store,
)

USER_DEK = key_pb2.KEY_TYPE_USER_DEK


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


async def test_a_run_writes_as_many_rows_as_the_plan_counted_and_rolls_back(world: World) -> None:
    names = await store(world, 7)
    etag = (await world.users().GetUser(users.GetUserRequest(name=names[0]))).etag
    planned = await plan(world, USER_DEK)
    assert planned.planned_count == 7 + 14
    done = await run(world, USER_DEK)
    assert done.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert (done.planned_count, done.affected_count, done.skipped_count) == (21, 21, 0)
    assert await sealing(world) == {2: 14}
    assert await read(world, names[6]) == (ADDRESS, SSN)
    assert (await world.users().GetUser(users.GetUserRequest(name=names[0]))).etag == etag
    undoing = await roll_back(world, done.name)
    assert (undoing.planned_count, undoing.affected_count) == (21, 21)
    assert (await get(world, done.name)).status == key_pb2.KEY_ROTATION_STATUS_ROLLED_BACK
    assert await sealing(world) == {1: 14}
    assert await read(world, names[0]) == (ADDRESS, SSN)
    again = await run(world, USER_DEK)
    assert again.affected_count == 21
    assert await sealing(world) == {3: 14}


async def test_the_custodian_of_the_app_key_is_not_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await store(world, 3)

    async def asked(*_: Any) -> Any:
        raise AssertionError("the custodian was asked")

    with monkeypatch.context() as stopped:
        stopped.setattr(LocalAppKeys, "seal", asked)
        stopped.setattr(LocalAppKeys, "open", asked)
        before = await _blobs(world)
        done = await run(world, USER_DEK)
        after = await _blobs(world)
    assert (done.status, done.affected_count) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, 9)
    assert len(before) == len(after) == 3
    assert not {blob[HEADER_BYTES:] for blob in before} & {blob[HEADER_BYTES:] for blob in after}
    assert await read(world, names[0]) == (ADDRESS, SSN)


async def test_values_open_by_the_new_keys_alone(world: World) -> None:
    names = await store(world, 3)
    await run(world, USER_DEK)
    old = sa.update(USER_KEYS).where(USER_KEYS.c.version == 1)
    await change(world, old.values(state="destroyed", wrapped=None))
    assert await read(world, names[0]) == (ADDRESS, SSN)


async def test_a_value_that_was_changed_is_left_and_counted(world: World) -> None:
    names = await store(world, 4)
    broken = USERS.c.id == uuid.UUID(names[1].rpartition("/")[2])
    byte = sa.func.set_byte(USERS.c.address_encrypted, 60, 7)
    other = sa.func.set_byte(byte, 61, 9)
    await change(world, sa.update(USERS).where(broken).values(address_encrypted=other))
    done = await run(world, USER_DEK)
    assert done.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert (done.affected_count, done.skipped_count) == (11, 1)
    assert await sealing(world) == {1: 1, 2: 7}
    await refused(read(world, names[1]), "VALUE_UNOPENABLE")


async def test_a_turn_that_is_cut_off_leaves_keys_and_values_as_they_were(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await store(world, 4)
    planned = await plan(world, USER_DEK)
    await world.key_service().RunRotation(pb.RunRotationRequest(name=planned.name))
    working = asyncio.create_task(world.runner.look())
    advance, turns = world.runner._log_store.advance, []

    async def advance_and_cut(*arguments: Any) -> None:
        await advance(*arguments)
        turns.append(1)
        if len(turns) == 3:
            # As a process that is killed before its third turn counts.
            working.cancel()
            await asyncio.sleep(0)

    with monkeypatch.context() as cut:
        cut.setattr(world.runner._log_store, "advance", advance_and_cut)
        await asyncio.wait({working})
    assert await sealing(world) == {1: 4, 2: 4}
    assert (await get(world, planned.name)).affected_count == 6
    world.keys.users.forget(world.tenant)
    for name in names:
        assert await read(world, name) == (ADDRESS, SSN)
    await end_lease(world)
    await world.runner.look()
    done = await get(world, planned.name)
    assert (done.status, done.affected_count) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, 12)
    assert await sealing(world) == {2: 8}


async def test_a_rotation_that_stands_still_is_undone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await store(world, 3)
    planned = await plan(world, USER_DEK)
    await world.key_service().RunRotation(pb.RunRotationRequest(name=planned.name))
    make = world.keys.users.make

    def fail_once(*arguments: Any) -> Any:
        monkeypatch.setattr(
            world.keys.users, "make", lambda *given: make(*given)._replace(wrapped=bytes(120))
        )
        return make(*arguments)

    monkeypatch.setattr(world.keys.users, "make", fail_once)
    await world.runner.look()
    assert (await get(world, planned.name)).status == key_pb2.KEY_ROTATION_STATUS_FAILED
    assert await sealing(world) == {1: 4, 2: 2}
    undoing = await roll_back(world, planned.name)
    assert (undoing.planned_count, undoing.affected_count) == (3, 3)
    assert await sealing(world) == {1: 6}
    assert await read(world, names[0]) == (ADDRESS, SSN)


async def _blobs(world: World) -> list[bytes]:
    statement = sa.select(USERS.c.ssn_encrypted).where(USERS.c.tenant_id == world.tenant)
    async with world.transactions.connection(world.tenant) as connection:
        return [bytes(each) for each in (await connection.execute(statement)).scalars()]
