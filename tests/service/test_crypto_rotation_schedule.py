"""Rotations that begin by themselves: once over all processes, unless switched off."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.embedded.postgres import Access
from mesh.sealing.secret_file import create_secret_file
from mesh.telemetry.prometheus import enable_metrics, exposition
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from services.crypto.audit.entry import Operation
from services.crypto.custody.key_file import FileKey, KeyFile, write_key_file
from services.crypto.rotation.rotation import KeyType
from services.crypto.rotation.schedule import DUE, PRINCIPAL
from services.crypto.tables import KEY_ROTATION_LOG, ROTATION_SCHEDULE, ROTATION_WORK
from tests.databases import crypto_database
from tests.service.crypto_world import KMS_KEY, World, crypto_world
from tests.service.metric_samples import total
from tests.service.rotation_story import ADDRESS, SSN, change, get, plan, read, run, store
from tests.unit.fake_kms import FakeKms

PERIOD = timedelta(days=90)
OTHER_KEY = "two"


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path, kms=FakeKms(KMS_KEY, OTHER_KEY)) as made:
        # What another test's tenants left hangs from another KMS.
        await change(made, sa.delete(ROTATION_WORK))
        await change(made, sa.delete(ROTATION_SCHEDULE))
        yield made


@pytest.fixture
async def beside(world: World, tmp_path: Path) -> AsyncIterator[World]:
    """Another process on the same database, KMS, tenant and files."""
    async with another(world, tmp_path / "beside") as made:
        yield made


@asynccontextmanager
async def another(world: World, home: Path, kms_key_id: str = KMS_KEY) -> AsyncIterator[World]:
    create_secret_file(home / "app.keys", (world.home / "app.keys").read_text().splitlines(True))
    async with crypto_world(world.access, home, kms=world.kms, kms_key_id=kms_key_id) as made:
        made.tenant, made.clock.ahead = world.tenant, world.clock.ahead
        yield made


def add_version(world: World) -> None:
    """Give the custodian a second version, as an operator does."""
    path = world.home / "app.keys"
    write_key_file(path, {**KeyFile(path).keys(), "v2": FileKey(True, b"2" * 32)})


async def rotations(world: World) -> list[Any]:
    """Give what the log says, the newest first."""
    asked = pb.ListRotationsRequest(parent=world.parent)
    return list((await world.key_service().ListRotations(asked)).key_rotations)


async def scheduled(world: World) -> dict[str, str]:
    """Give by kind of key what an operator is told."""
    mine = ROTATION_SCHEDULE.c.tenant_id == world.tenant
    statement = sa.select(ROTATION_SCHEDULE.c.key_type, ROTATION_SCHEDULE.c.notice).where(mine)
    async with world.transactions.connection(world.tenant) as connection:
        return {row[0]: row[1] for row in await connection.execute(statement)}


def alerts(world: World) -> list[str]:
    return [each.details for each in world.audit.told if each.operation is Operation.RAISE_ALERT]


async def period(world: World, days: int) -> None:
    name = f"{world.parent}/configuration"
    wanted = config.Configuration(name=name, key_rotation_schedule_days=days)
    mask = FieldMask(paths=["key_rotation_schedule_days"])
    await world.config().UpdateConfiguration(
        config.UpdateConfigurationRequest(configuration=wanted, update_mask=mask)
    )


async def test_each_key_is_rotated_once_by_two_processes_and_not_again_by_a_third(
    world: World, beside: World, tmp_path: Path
) -> None:
    names = await store(world, 3)
    add_version(world)
    add_version(beside)
    world.kms.renewed.add(KMS_KEY)
    assert await world.rotation.schedule.look() == 0
    for each in (world, beside):
        each.clock.ahead = PERIOD + timedelta(hours=1)
    looks = await asyncio.gather(world.rotation.schedule.look(), beside.rotation.schedule.look())
    assert sum(looks) == 3
    await asyncio.gather(world.runner.look(), beside.runner.look())
    found = await rotations(world)
    assert {each.key_type for each in found} == {
        key_pb2.KEY_TYPE_TENANT_KEK,
        key_pb2.KEY_TYPE_USER_DEK,
        key_pb2.KEY_TYPE_APP_KEY,
    }
    for each in found:
        assert (each.status, each.initiated_by) == (
            key_pb2.KEY_ROTATION_STATUS_COMPLETED,
            PRINCIPAL,
        )
        assert each.affected_count >= each.planned_count > 0
    assert set(await scheduled(world)) == set(KeyType)
    assert alerts(world) == []
    told = [each for each in (*world.audit.told, *beside.audit.told) if each.principal == PRINCIPAL]
    assert len(told) == 6  # three starts, three ends
    async with another(world, tmp_path / "third") as third:
        third.clock.ahead = PERIOD + timedelta(days=80)
        assert await third.rotation.schedule.look() == 0
    assert await read(world, names[0]) == (ADDRESS, SSN)
    world.clock.ahead = 2 * PERIOD + timedelta(hours=2)
    assert await world.rotation.schedule.look() == 2  # v3 is not in the file


async def test_a_tenant_switches_it_off_and_says_how_often(world: World) -> None:
    await store(world, 1)
    await period(world, 0)
    world.clock.ahead = 10 * PERIOD
    assert await world.rotation.schedule.look() == 0
    assert await rotations(world) == alerts(world) == []
    await period(world, 3650)
    world.clock.ahead += timedelta(days=1)
    assert await world.rotation.schedule.look() == 0
    await period(world, 7)
    world.clock.ahead += timedelta(days=1)
    assert await world.rotation.schedule.look() == 2


async def test_what_an_operator_has_to_do_is_told_once_and_then_done(
    world: World, tmp_path: Path
) -> None:
    enable_metrics()
    await store(world, 2)
    world.clock.ahead = PERIOD + timedelta(hours=1)
    assert await world.rotation.schedule.look() == 2
    world.clock.ahead += timedelta(hours=2)
    assert await world.rotation.schedule.look() == 0
    notices = await scheduled(world)
    assert "version 2" in notices["app_key"]
    assert "name no other" in notices["kms_cmk"]
    assert notices["tenant_kek"] == notices["user_dek"] == ""
    assert sorted(each.partition(":")[0] for each in alerts(world)) == ["app_key", "kms_cmk"]
    assert {each.error_code for each in world.audit.told} - {""} == {DUE}
    shown = exposition().decode()
    assert total(shown, "secmesh_crypto_rotation_due", key_type="app_key") == 1
    assert total(shown, "secmesh_crypto_rotation_due", key_type="user_dek") == 0
    add_version(world)
    async with another(world, tmp_path / "moved", OTHER_KEY) as moved:
        moved.clock.ahead += timedelta(hours=2)
        assert await moved.rotation.schedule.look() == 2
        await moved.runner.look()
        done = await rotations(moved)
    kinds = {each.key_type for each in done if each.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED}
    assert kinds >= {key_pb2.KEY_TYPE_KMS_CMK, key_pb2.KEY_TYPE_APP_KEY}
    assert set((await scheduled(world)).values()) == {""}
    assert total(exposition().decode(), "secmesh_crypto_rotation_due") == 0


async def test_it_is_told_again_after_a_week(world: World) -> None:
    await store(world, 1)
    world.kms.renewed.add(KMS_KEY)
    world.clock.ahead = PERIOD + timedelta(hours=1)
    await world.rotation.schedule.look()
    world.clock.ahead += timedelta(days=6)
    await world.rotation.schedule.look()
    assert len(alerts(world)) == 1
    world.clock.ahead += timedelta(days=2)
    await world.rotation.schedule.look()
    assert len(alerts(world)) == 2


async def test_a_rotation_by_hand_counts_and_one_that_is_not_finished_is_left_alone(
    world: World,
) -> None:
    await store(world, 1)
    await run(world, key_pb2.KEY_TYPE_USER_DEK)
    standing = await plan(world, key_pb2.KEY_TYPE_TENANT_KEK)
    await world.key_service().RunRotation(pb.RunRotationRequest(name=standing.name))
    await world.key_service().PauseRotation(pb.PauseRotationRequest(name=standing.name))
    world.clock.ahead = timedelta(days=80)
    assert await world.rotation.schedule.look() == 0
    world.clock.ahead = PERIOD + timedelta(hours=1)
    assert await world.rotation.schedule.look() == 1
    newest = (await rotations(world))[0]
    assert (newest.key_type, newest.initiated_by) == (key_pb2.KEY_TYPE_USER_DEK, PRINCIPAL)
    assert (await get(world, standing.name)).status == key_pb2.KEY_ROTATION_STATUS_PAUSED


async def test_a_rotation_that_failed_waits_for_an_operator(world: World) -> None:
    await store(world, 1)
    failed = await plan(world, key_pb2.KEY_TYPE_TENANT_KEK)
    await world.key_service().RunRotation(pb.RunRotationRequest(name=failed.name))
    await change(world, sa.update(KEY_ROTATION_LOG).values(status="failed"))
    world.clock.ahead = PERIOD + timedelta(hours=1)
    await world.rotation.schedule.look()
    assert "failed" in (await scheduled(world))["tenant_kek"]
    assert len(await rotations(world)) == 2  # the users' keys
