"""Erasures that are cut off, held up and overtaken: each ends, once, with one certificate."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import erasure_pb2 as pb
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as keys
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from services.crypto.audit.anchors import ERASURES as CERTIFICATES
from services.crypto.audit.anchors import AnchorFailed, erasure_name
from services.crypto.audit.entry import Operation
from services.crypto.erasure.gate_store import shut_gate
from services.crypto.rotation.user_key_store import UserKeyStore
from services.crypto.tables import ERASURE_WORK, ERASURES, ROTATION_WORK, USER_KEYS, USERS
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.erasure_story import erase, id_of, rows_of
from tests.service.person_story import create, refused


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        async with made.transactions.transaction() as connection:
            # Other tests' tenants hang from another KMS, and their certificates lie elsewhere.
            await connection.execute(sa.delete(ERASURE_WORK))
            await connection.execute(sa.delete(ROTATION_WORK))
        yield made


async def due_now(world: World) -> None:
    """Let the lease of a process that is gone end."""
    async with world.transactions.transaction() as connection:
        await connection.execute(sa.update(ERASURE_WORK).values(due_at=sa.func.now()))


async def of_user(world: World, name: str) -> pb.Erasure:
    asked = pb.ListErasuresRequest(parent=world.parent, user_id=id_of(name))
    (found,) = (await world.users().ListErasures(asked)).erasures
    done: pb.Erasure = found
    return done


def told(world: World) -> list[str]:
    """Give what the audit was told of erasures that were done."""
    return [each.details for each in world.audit.told if each.operation is Operation.ERASE]


@pytest.mark.parametrize("step", ["_destroyed", "_certified"])
async def test_a_process_goes_on_from_where_another_was_cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    made = await create(world)

    async def killed(*_: Any) -> Any:
        raise RuntimeError("as if the process ended here")

    with monkeypatch.context() as cut:
        cut.setattr(f"services.crypto.erasure.erasing.Erasing.{step}", killed)
        asked = pb.EraseUserRequest(name=made.name, confirm_user_id=id_of(made.name))
        await refused(world.users().EraseUser(asked), "INTERNAL")
    begun = await of_user(world, made.name)
    ordered = step == "_destroyed"
    assert begun.state == (pb.ERASURE_STATE_ORDERED if ordered else pb.ERASURE_STATE_ERASED)
    assert begun.certificate == ""
    assert await world.erasures.look() == 0
    await due_now(world)
    assert await world.erasures.look() == 1
    done = await of_user(world, made.name)
    assert (done.state, done.name) == (pb.ERASURE_STATE_CERTIFIED, begun.name)
    assert await world.registry.place.names(CERTIFICATES) == [
        erasure_name(world.tenant, id_of(done.name))
    ]
    assert told(world) == [f"erasure {id_of(done.name)}"]
    named = users.GetUserRequest(name=made.name)
    await refused(world.users().GetUser(named), "RESOURCE_NOT_FOUND")
    await due_now(world)
    assert await world.erasures.look() == 0
    assert await of_user(world, made.name) == done


async def test_a_second_place_that_is_away_holds_up_the_certificate_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create(world)

    async def away(*_: Any) -> Any:
        raise AnchorFailed("the folder is away")

    with monkeypatch.context() as cut:
        cut.setattr(type(world.registry.place), "put", away)
        done = await erase(world, made.name)
    assert (done.state, done.certificate) == (pb.ERASURE_STATE_ERASED, "")
    assert done.HasField("cache_expire_time")
    (row,) = await rows_of(world, ERASURES)
    await due_now(world)
    await world.erasures.look()
    done = await of_user(world, made.name)
    assert done.state == pb.ERASURE_STATE_CERTIFIED
    # The one that was signed the first time.
    assert done.certificate == row.certificate != ""


async def test_a_certificate_that_was_kept_before_is_the_one(world: World) -> None:
    made = await create(world)
    done = await erase(world, made.name)
    async with world.transactions.transaction(world.tenant) as connection:
        # As in a database restored from a backup made between the two steps.
        forgotten = sa.update(ERASURES).values(certificate="", state="erased")
        await connection.execute(forgotten.where(ERASURES.c.tenant_id == world.tenant))
        due = {"tenant_id": world.tenant, "due_at": sa.func.now()}
        work = sa.insert(ERASURE_WORK).values(erasure_id=uuid.UUID(id_of(done.name)), **due)
        await connection.execute(work)
    await world.erasures.look()
    assert (await of_user(world, made.name)).certificate == done.certificate


async def test_nothing_is_erased_that_the_audit_does_not_hold(world: World) -> None:
    made = await create(world)
    world.audit.broken = True
    await refused(erase(world, made.name), "DEPENDENCY_UNAVAILABLE")
    world.audit.broken = False
    assert (await of_user(world, made.name)).state == pb.ERASURE_STATE_ORDERED
    assert (await world.users().GetUser(users.GetUserRequest(name=made.name))).email
    # Whoever asks meanwhile makes no second one of it.
    done = await erase(world, made.name)
    assert done.state == pb.ERASURE_STATE_CERTIFIED
    assert len(await rows_of(world, ERASURES)) == 1


async def test_a_rotation_of_users_keys_gives_no_new_key_to_who_is_erased(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, left = [await create(world, address=f"{n} Main Street") for n in range(2)]
    service = world.key_service()
    asked = keys.PlanRotationRequest(parent=world.parent, key_type=key_pb2.KEY_TYPE_USER_DEK)
    planned = await service.PlanRotation(asked)
    await service.RunRotation(keys.RunRotationRequest(name=planned.name))
    due, read, go_on = UserKeyStore.due, asyncio.Event(), asyncio.Event()

    async def held_up(*arguments: Any) -> Any:
        found = await due(*arguments)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(UserKeyStore, "due", held_up)
    rotating = asyncio.create_task(world.runner.look())
    await asyncio.wait_for(read.wait(), 60)
    # The turn knows of the person's key already: the erasure waits for its end.
    erasing = asyncio.create_task(erase(world, gone.name))
    assert not (await asyncio.wait({erasing}, timeout=0.3))[0]
    go_on.set()
    done = await erasing
    await rotating
    assert list(done.key_versions) == [1, 2]
    rotation = await service.GetRotation(keys.GetRotationRequest(name=planned.name))
    assert rotation.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    undone = keys.RollBackRotationRequest(name=planned.name)
    await service.RollBackRotation(undone)
    await world.runner.look()
    rows = await rows_of(world, USER_KEYS)
    states = [(row.version, row.state) for row in rows if str(row.user_id) == id_of(gone.name)]
    assert states == [(1, "destroyed"), (2, "destroyed")]
    states = [(row.version, row.state) for row in rows if str(row.user_id) == id_of(left.name)]
    assert states == [(1, "active"), (2, "decrypt_only")]


async def test_a_person_who_is_being_stored_is_stored_or_refused_and_never_both(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create(world, address="1 Main Street")
    user_id = id_of(made.name)
    sealing = world.keys.users.ensure
    went_on, shut = asyncio.Event(), asyncio.Event()

    async def held_up(tenant: str, wanted: Any) -> Any:
        found = await sealing(tenant, wanted)
        went_on.set()
        await shut.wait()
        return found

    async with world.transactions.transaction(world.tenant) as connection:
        gone = sa.delete(USERS).where(USERS.c.id == uuid.UUID(user_id))
        await connection.execute(gone)
    monkeypatch.setattr(world.keys.users, "ensure", held_up)
    # Its key was given out before; the row is written after.
    creating = asyncio.create_task(create(world, user_id, address="2 Main Street"))
    await asyncio.wait_for(went_on.wait(), 60)
    done = await erase(world, made.name)
    shut.set()
    await refused(creating, "USER_ERASED")
    assert list(done.key_versions) == [1]
    assert {row.state for row in await rows_of(world, USER_KEYS)} == {"destroyed"}


async def test_keys_are_made_before_or_after_an_erasure_never_during(world: World) -> None:
    async with world.transactions.transaction(world.tenant) as connection:
        await shut_gate(connection, world.tenant)
        creating = asyncio.create_task(create(world, address="1 Main Street"))
        done, _ = await asyncio.wait({creating}, timeout=0.2)
        assert not done
    assert isinstance(await creating, User)
