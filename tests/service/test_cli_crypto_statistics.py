"""`secmesh crypto stats` and `check`: the queries of who looks after people's data."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mesh.embedded.postgres import OWNER, SUPERUSER, Access
from mesh.sql.engine import open_engine
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import statistics_service_pb2 as pb
from secmesh_client import CallRefused
from services.crypto.audit.append_store import AppendStore
from services.crypto.audit.entry import Operation
from services.crypto.audit.seal_store import SealStore
from services.crypto.audit.segment_store import SegmentStore
from services.crypto.audit.writer import AuditWriter, now
from services.crypto.custody.kms import KmsKeyState
from tests.databases import crypto_database
from tests.service.crypto_audit_store import ORIGIN, SUBJECTS, WRITER, told
from tests.service.crypto_command import Command
from tests.service.crypto_world import KMS_KEY, World, crypto_world
from tests.service.rotation_story import run, store

PLATFORM: dict[str, Any] = {"roles": ["platform"]}


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


@pytest.fixture
async def writer(access: Access) -> AsyncIterator[AuditWriter]:
    engine = open_engine(access.application)
    made = AuditWriter(AppendStore(engine), SUBJECTS, WRITER, ORIGIN, now)
    made.start()
    yield made
    await made.close()
    await engine.dispose()


@pytest.fixture
def secmesh(world: World) -> Command:
    return Command(world.address, world.home, world.tenant)


async def test_sealed_values_rotations_and_keys_are_counted(world: World, secmesh: Command) -> None:
    await store(world, 3)
    await run(world, key_pb2.KEY_TYPE_USER_DEK)
    shown = await secmesh.json("crypto", "stats")
    assert shown["name"] == f"{world.parent}/statistics"
    sealed = {(each["tier"], each["field"]): each for each in shown["encryption"]}
    assert set(sealed) == {(2, "address"), (3, "ssn")}
    assert {each["valueCount"] for each in sealed.values()} == {"3"}
    assert sealed[3, "ssn"]["newestKeyVersion"] == 2
    assert sealed[3, "ssn"]["newestAppKeyVersion"] == 1
    assert "newestAppKeyVersion" not in sealed[2, "address"]
    (rotation,) = shown["rotations"]
    assert rotation["keyType"] == "KEY_TYPE_USER_DEK"
    assert rotation["status"] == "KEY_ROTATION_STATUS_COMPLETED"
    assert rotation["rotationCount"] == "1"
    counted = {(each["keyType"], each["state"]): each["versionCount"] for each in shown["keys"]}
    assert counted == {
        ("KEY_TYPE_TENANT_KEK", "KEY_STATE_ACTIVE"): "1",
        ("KEY_TYPE_USER_DEK", "KEY_STATE_ACTIVE"): "3",
        ("KEY_TYPE_USER_DEK", "KEY_STATE_DECRYPT_ONLY"): "3",
        ("KEY_TYPE_APP_KEY", "KEY_STATE_ACTIVE"): "1",
    }


async def test_active_keys_older_than_the_schedule_are_overdue(
    world: World, access: Access, secmesh: Command
) -> None:
    await store(world, 2)
    superuser = access.owner.replace(f"{OWNER}@", f"{SUPERUSER}@")
    with psycopg.connect(superuser) as connection:
        connection.execute(
            "UPDATE user_keys SET created_at = now() - interval '91 days' WHERE tenant_id = %s",
            (world.tenant,),
        )
    shown = await secmesh.json("crypto", "stats")
    due = {each["keyType"]: each.get("overdueCount") for each in shown["keys"]}
    assert due == {"KEY_TYPE_TENANT_KEK": None, "KEY_TYPE_USER_DEK": "2", "KEY_TYPE_APP_KEY": None}


async def test_operations_failures_and_principals_are_counted_from_the_audit(
    world: World, writer: AuditWriter, secmesh: Command
) -> None:
    tenant = world.tenant
    failed = {"success": False, "error_code": "VALUE_UNOPENABLE"}
    await writer.record([told(tenant, duration_us=2000), told(tenant, duration_us=4000)])
    await writer.record([told(tenant, principal="bob", **failed) for _ in range(3)])
    await writer.record([told(tenant, principal="bob", operation=Operation.READ)])
    await writer.record([told("stranger", principal="eve", **failed)])
    shown = await secmesh.json("crypto", "stats", "--days", "1")
    by_operation = {each["operation"]: each for each in shown["operations"]}
    assert set(by_operation) == {"AUDIT_OPERATION_DECRYPT", "AUDIT_OPERATION_READ"}
    opened = by_operation["AUDIT_OPERATION_DECRYPT"]
    assert (opened["entryCount"], opened["failureCount"], opened["userCount"]) == ("5", "3", "1")
    assert opened["averageDuration"] == "0.001200s"
    (failure,) = shown["failures"]
    assert (failure["principal"], failure["errorCode"]) == ("bob", "VALUE_UNOPENABLE")
    assert failure["entryCount"] == "3"
    assert [each["principal"] for each in shown["principals"]] == ["bob", "ann"]
    assert [each["decryptCount"] for each in shown["principals"]] == ["3", "2"]
    assert world.audit.told[-1].operation is Operation.READ_AUDIT


async def test_what_is_older_than_the_days_is_left_out(
    world: World, access: Access, secmesh: Command
) -> None:
    engine, owner = open_engine(access.application), open_engine(access.owner)

    def earlier() -> int:
        return now() - int(timedelta(days=2) / timedelta(microseconds=1))

    async with SealStore(owner).turn(patient=True) as connection:
        assert connection is not None
        # Tables begin with the part of the month in which they are made.
        await SegmentStore().make_parts(connection, datetime.now(UTC) - timedelta(days=2))
    writer = AuditWriter(AppendStore(engine), SUBJECTS, WRITER, ORIGIN, earlier)
    writer.start()
    await writer.record([told(world.tenant)])
    await writer.close()
    await engine.dispose()
    await owner.dispose()
    assert "operations" not in await secmesh.json("crypto", "stats", "--days", "1")
    assert "operations" in await secmesh.json("crypto", "stats", "--days", "3")


async def test_as_text_each_list_is_a_table_of_its_own(world: World, secmesh: Command) -> None:
    await store(world, 1)
    shown = (await secmesh.run("crypto", "stats")).stdout
    assert all(title in shown for title in ("encryption", "keys", "overdue_count", "user-dek"))
    assert "failures" not in shown


async def test_the_database_and_its_use_are_shown_to_the_platform_alone(
    access: Access, world: World, secmesh: Command
) -> None:
    await store(world, 1)
    shown = await secmesh.json("crypto", "stats", "--database", **PLATFORM)
    tables = {each["table"] for each in shown["tables"]}
    assert tables >= {"users", "encryption_audit", "encryption_metadata"}
    assert not any(each.startswith("encryption_audit_2") for each in tables)
    indexes = {each["index"] for each in shown["indexes"]}
    assert indexes >= {"idx_users_email", "idx_encryption_audit_user_time"}
    assert sum(int(each["connectionCount"]) for each in shown["connections"]) >= 1
    checked = await secmesh.json("crypto", "check", **PLATFORM)
    assert all(each["passed"] for each in checked)
    subjects = {each["subject"] for each in checked}
    assert subjects >= {"tables", "extensions", "triggers", "configuration", "KMS key", "app key"}
    for refused in ("check", "stats --database"):
        done = await secmesh.run("crypto", *refused.split())
        assert done.exit_code == 1
        assert "PERMISSION_DENIED" in done.stderr


async def test_a_custodian_that_does_not_serve_fails_the_check(
    world: World, secmesh: Command
) -> None:
    world.kms.set_state(KMS_KEY, KmsKeyState.DISABLED)
    (world.home / "app.keys").unlink()
    done = await secmesh.run("crypto", "check", **PLATFORM)
    assert done.exit_code == 1
    assert "disabled" in done.stdout
    assert "tables" in done.stdout


async def test_days_that_are_none_and_tenants_that_are_others_are_refused(world: World) -> None:
    for name, days in ((f"{world.parent}/statistics", 367), (f"{world.parent}/statistic", 1)):
        with pytest.raises(CallRefused) as refused:
            await world.statistics().GetStatistics(pb.GetStatisticsRequest(name=name, days=days))
        assert refused.value.code.name == "INVALID_ARGUMENT"
    other = pb.GetStatisticsRequest(name="tenants/stranger/statistics")
    with pytest.raises(CallRefused) as hidden:
        await world.statistics().GetStatistics(other)
    assert hidden.value.code.name == "NOT_FOUND"
    asked = pb.GetStatisticsRequest(name=f"{world.parent}/statistics")
    with pytest.raises(CallRefused) as denied:
        await world.statistics(permissions=["crypto.users.get"]).GetStatistics(asked)
    assert denied.value.code.name == "PERMISSION_DENIED"
