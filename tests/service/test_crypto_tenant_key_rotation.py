"""Rotation of a tenant's key: counted, run, paused, killed, rolled back, closed."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from services.crypto.audit.entry import Operation
from services.crypto.custody.kms import KmsKeyState
from services.crypto.keys.hierarchy import Wrapping
from services.crypto.keys.states import KeyState
from services.crypto.rotation.runner import RotationRunner
from services.crypto.tables import KEY_ROTATION_LOG, ROTATION_WORK, TENANT_KEYS, USER_KEYS
from tests.databases import crypto_database
from tests.service.crypto_world import KMS_KEY, PACE, World, crypto_world
from tests.service.person_story import refused

ADDRESS = "1 Main Street, Springfield"


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


async def store(world: World, count: int) -> list[str]:
    """Store persons with a sealed value each; give their names."""
    purpose = config.Purpose(fields=["address"])
    await world.config().CreatePurpose(
        config.CreatePurposeRequest(parent=world.parent, purpose=purpose, purpose_id="post")
    )
    made = await world.users().BatchCreateUsers(
        users.BatchCreateUsersRequest(
            parent=world.parent, users=[users.NewUser(user=User(address=ADDRESS))] * count
        )
    )
    return [each.name for each in made.users]


async def read(world: World, name: str) -> str:
    asked = users.GetUserRequest(name=name, unmask=["address"], purpose="post")
    user = await world.users().GetUser(asked)
    return str(user.address)


async def plan(world: World) -> Any:
    asked = pb.PlanRotationRequest(parent=world.parent, key_type=key_pb2.KEY_TYPE_TENANT_KEK)
    return await world.key_service().PlanRotation(asked)


async def run(world: World) -> Any:
    """Rotate, and give the rotation as it ended."""
    keys, planned = world.key_service(), await plan(world)
    await keys.RunRotation(pb.RunRotationRequest(name=planned.name))
    await world.runner.look()
    return await keys.GetRotation(pb.GetRotationRequest(name=planned.name))


async def wrapping(world: World) -> dict[int, int]:
    """Count the users' keys by the version that wraps them."""
    table = USER_KEYS.c
    statement = sa.select(table.tenant_key_version, sa.func.count())
    statement = statement.where(table.tenant_id == world.tenant).group_by(table.tenant_key_version)
    async with world.transactions.connection(world.tenant) as connection:
        return {version: count for version, count in await connection.execute(statement)}  # noqa: C416 - rows are no pairs to mypy


async def states(world: World) -> dict[int, KeyState]:
    table = TENANT_KEYS.c
    statement = sa.select(table.version, table.state).where(table.tenant_id == world.tenant)
    async with world.transactions.connection(world.tenant) as connection:
        return {row.version: KeyState(row.state) for row in await connection.execute(statement)}


async def change(world: World, statement: sa.Update | sa.Delete) -> None:
    async with world.transactions.transaction(world.tenant) as connection:
        await connection.execute(statement)


async def end_lease(world: World) -> None:
    """Let the lease of a process that is gone end, and the time of a rollback as well."""
    mine = ROTATION_WORK.c.tenant_id == world.tenant
    await change(world, sa.update(ROTATION_WORK).where(mine).values(due_at=sa.func.now()))


@asynccontextmanager
async def beside(access: Access, home: Path, world: World) -> AsyncIterator[World]:
    """Give another process on the same database, KMS and tenant."""
    async with crypto_world(access, home, kms=world.kms) as other:
        other.tenant = world.tenant
        yield other


async def test_a_run_writes_as_many_rows_as_the_plan_counted(world: World) -> None:
    names = await store(world, 12)
    planned = await plan(world)
    assert planned.status == key_pb2.KEY_ROTATION_STATUS_PLANNED
    assert (planned.planned_count, planned.affected_count) == (12, 0)
    assert await wrapping(world) == {1: 12}
    assert await states(world) == {1: KeyState.ACTIVE}
    done = await run(world)
    assert done.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert (done.old_version, done.new_version) == (1, 2)
    assert (done.planned_count, done.affected_count, done.skipped_count) == (12, 12, 0)
    assert await wrapping(world) == {2: 12}
    assert await states(world) == {1: KeyState.DECRYPT_ONLY, 2: KeyState.ACTIVE}
    assert await read(world, names[0]) == ADDRESS
    told = [each.operation for each in world.audit.told].count(Operation.ROTATE)
    assert told == 4  # two plans, a start, an end


async def test_values_are_read_through_the_new_key_alone(
    access: Access, world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = await store(world, 3)
    await run(world)
    old = sa.update(TENANT_KEYS).where(TENANT_KEYS.c.version == 1)
    await change(world, old.values(state=KeyState.DISABLED.value))
    async with beside(access, tmp_path_factory.mktemp("other"), world) as other:
        assert await read(other, names[0]) == ADDRESS


async def test_a_rollback_wraps_everything_by_the_old_version_again(world: World) -> None:
    names = await store(world, 7)
    done = await run(world)
    keys = world.key_service()
    undoing = await keys.RollBackRotation(pb.RollBackRotationRequest(name=done.name))
    assert (undoing.planned_count, undoing.rolls_back) == (7, done.name)
    await world.runner.look()
    undoing = await keys.GetRotation(pb.GetRotationRequest(name=undoing.name))
    assert undoing.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert undoing.affected_count == 7
    done = await keys.GetRotation(pb.GetRotationRequest(name=done.name))
    assert done.status == key_pb2.KEY_ROTATION_STATUS_ROLLED_BACK
    assert await wrapping(world) == {1: 7}
    assert await states(world) == {1: KeyState.ACTIVE, 2: KeyState.DECRYPT_ONLY}
    assert await read(world, names[6]) == ADDRESS
    again = await plan(world)
    assert (again.old_version, again.new_version) == (1, 3)
    listed = await keys.ListRotations(pb.ListRotationsRequest(parent=world.parent, page_size=2))
    assert [each.name for each in listed.key_rotations] == [again.name, undoing.name]
    assert listed.next_page_token


async def test_a_rotation_that_was_left_half_done_is_ended_by_another_process(
    access: Access,
    world: World,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = await store(world, 14)
    planned = await plan(world)
    await world.key_service().RunRotation(pb.RunRotationRequest(name=planned.name))
    working = asyncio.create_task(world.runner.look())
    advanced = asyncio.Event()
    advance = world.runner._log_store.advance

    async def advance_and_tell(*arguments: Any) -> None:
        await advance(*arguments)
        if advanced.is_set():
            # As a process that is killed within its second turn.
            working.cancel()
            await asyncio.sleep(0)
        advanced.set()

    monkeypatch.setattr(world.runner._log_store, "advance", advance_and_tell)
    await asyncio.wait({working})
    assert await wrapping(world) == {1: 9, 2: 5}
    async with beside(access, tmp_path_factory.mktemp("other"), world) as other:
        assert await other.runner.look() == 0
        await end_lease(world)
        assert await other.runner.look() == 1
        done = await other.key_service().GetRotation(pb.GetRotationRequest(name=planned.name))
        assert done.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
        assert done.affected_count == 14
        assert await wrapping(world) == {2: 14}
        assert await read(other, names[13]) == ADDRESS


async def test_a_rotation_stands_still_until_it_is_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(world, 12)
    planned, keys = await plan(world), world.key_service()
    await keys.RunRotation(pb.RunRotationRequest(name=planned.name))
    advance = world.runner._log_store.advance
    pausing: list[asyncio.Future[Any]] = []

    async def advance_and_pause(*arguments: Any) -> None:
        await advance(*arguments)
        if not pausing:
            asked = pb.PauseRotationRequest(name=planned.name)
            pausing.append(asyncio.ensure_future(keys.PauseRotation(asked)))
            await asyncio.sleep(0)

    monkeypatch.setattr(world.runner._log_store, "advance", advance_and_pause)
    await world.runner.look()
    paused = await pausing[0]
    monkeypatch.undo()
    assert paused.status == key_pb2.KEY_ROTATION_STATUS_PAUSED
    assert await world.runner.look() == 0
    await refused(
        keys.RunRotation(pb.RunRotationRequest(name=(await plan(world)).name)),
        "ROTATION_CONFLICT",
    )
    await keys.ResumeRotation(pb.ResumeRotationRequest(name=planned.name))
    await world.runner.look()
    done = await keys.GetRotation(pb.GetRotationRequest(name=planned.name))
    assert (done.status, done.affected_count) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, 12)


async def test_two_processes_write_each_row_once(
    access: Access, world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await store(world, 20)
    planned = await plan(world)
    async with beside(access, tmp_path_factory.mktemp("other"), world) as other:
        await world.key_service().RunRotation(pb.RunRotationRequest(name=planned.name))
        looked = await asyncio.gather(world.runner.look(), other.runner.look())
    assert sum(looked) == 1
    done = await world.key_service().GetRotation(pb.GetRotationRequest(name=planned.name))
    assert (done.status, done.affected_count) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, 20)


async def test_the_old_version_is_destroyed_when_nothing_needs_it_and_not_before(
    world: World,
) -> None:
    names = await store(world, 6)
    done = await run(world)
    assert await world.runner.look() == 0
    # As a process does that still remembers the old version.
    late = USER_KEYS.c.user_id == uuid.UUID(names[0].rpartition("/")[2])
    row = await world.keys.users._store.active_user_keys(world.tenant, [names[0][-36:]])
    parent = await world.keys.tenants.version(world.tenant, 2)
    old = await world.keys.tenants.version(world.tenant, 1)
    wraps = world.keys.users.wrapping(world.tenant)
    secret = wraps.opened(parent, row[0])
    assert secret is not None
    wrapped = wraps.wrap(old, row[0], secret)
    await change(
        world, sa.update(USER_KEYS).where(late).values(tenant_key_version=1, wrapped=wrapped)
    )
    over = KEY_ROTATION_LOG.c.rollback_until
    await change(world, sa.update(KEY_ROTATION_LOG).values({over: sa.func.now()}))
    keys = world.key_service()
    await refused(
        keys.RollBackRotation(pb.RollBackRotationRequest(name=done.name)),
        "ROLLBACK_WINDOW_CLOSED",
    )
    await end_lease(world)
    await world.runner.look()
    assert await wrapping(world) == {2: 6}
    assert await states(world) == {1: KeyState.DESTROYED, 2: KeyState.ACTIVE}
    assert await read(world, names[0]) == ADDRESS
    await end_lease(world)
    assert await world.runner.look() == 0


async def test_a_wrapped_key_that_was_changed_is_left_and_counted(world: World) -> None:
    names = await store(world, 8)
    broken = USER_KEYS.c.user_id == uuid.UUID(names[3].rpartition("/")[2])
    await change(world, sa.update(USER_KEYS).where(broken).values(wrapped=bytes(120)))
    done = await run(world)
    assert done.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert (done.affected_count, done.skipped_count) == (7, 1)
    await end_lease(world)
    await world.runner.look()
    assert await wrapping(world) == {1: 1, 2: 7}
    assert (await states(world))[1] is KeyState.DECRYPT_ONLY


async def test_what_does_not_open_by_the_new_version_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(world, 4)
    planned, keys = await plan(world), world.key_service()
    await keys.RunRotation(pb.RunRotationRequest(name=planned.name))
    monkeypatch.setattr(Wrapping, "wrap", lambda *_: bytes(120))
    await world.runner.look()
    monkeypatch.undo()
    failed = await keys.GetRotation(pb.GetRotationRequest(name=planned.name))
    assert failed.status == key_pb2.KEY_ROTATION_STATUS_FAILED
    assert "does not open" in failed.error
    assert await wrapping(world) == {1: 4}
    await keys.RunRotation(pb.RunRotationRequest(name=planned.name))
    await world.runner.look()
    done = await keys.GetRotation(pb.GetRotationRequest(name=planned.name))
    assert (done.status, done.affected_count) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, 4)


async def test_a_kms_that_refuses_delays_a_rotation_and_ends_it_not(world: World) -> None:
    await store(world, 4)
    planned, keys = await plan(world), world.key_service()
    await keys.RunRotation(pb.RunRotationRequest(name=planned.name))
    world.kms.set_state(KMS_KEY, KmsKeyState.DISABLED)
    await world.runner.look()
    waiting = await keys.GetRotation(pb.GetRotationRequest(name=planned.name))
    assert waiting.status == key_pb2.KEY_ROTATION_STATUS_RUNNING
    assert "disabled" in waiting.error
    world.kms.set_state(KMS_KEY, KmsKeyState.ENABLED)
    await end_lease(world)
    await world.runner.look()
    done = await keys.GetRotation(pb.GetRotationRequest(name=planned.name))
    assert (done.status, done.error) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, "")


async def test_calls_that_do_not_fit_are_refused(world: World) -> None:
    keys = world.key_service()
    await refused(plan(world), "RESOURCE_NOT_FOUND")
    await store(world, 1)
    first, second = await plan(world), await plan(world)
    await refused(
        keys.PauseRotation(pb.PauseRotationRequest(name=first.name)), "ROTATION_STATUS_UNFIT"
    )
    await refused(
        keys.RollBackRotation(pb.RollBackRotationRequest(name=first.name)),
        "ROTATION_STATUS_UNFIT",
    )
    await keys.RunRotation(pb.RunRotationRequest(name=first.name))
    await world.runner.look()
    await refused(keys.RunRotation(pb.RunRotationRequest(name=second.name)), "ROTATION_OUTDATED")
    unknown = f"{world.parent}/key_rotations/{new_uuid()}"
    await refused(keys.GetRotation(pb.GetRotationRequest(name=unknown)), "RESOURCE_NOT_FOUND")
    auditor = world.key_service(permissions=["crypto.key_rotations.get"])
    await refused(
        auditor.RollBackRotation(pb.RollBackRotationRequest(name=first.name)), "PERMISSION_MISSING"
    )
    other = world.key_service(f"other-{uuid.uuid4().hex[:8]}")
    await refused(other.GetRotation(pb.GetRotationRequest(name=first.name)), "RESOURCE_NOT_FOUND")


async def test_a_process_does_by_itself_what_is_due(world: World) -> None:
    await store(world, 2)
    planned, keys = await plan(world), world.key_service()
    await keys.RunRotation(pb.RunRotationRequest(name=planned.name))
    assert isinstance(world.runner, RotationRunner)
    assert world.runner.every == PACE.every
    world.runner.start()
    async with asyncio.timeout(60):
        asked = pb.GetRotationRequest(name=planned.name)
        while (await keys.GetRotation(asked)).status != key_pb2.KEY_ROTATION_STATUS_COMPLETED:
            await asyncio.sleep(0.01)
    await world.runner.close()
