"""A tenant that was removed stays away: whoever writes meanwhile, and after a restore as well."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.client import CallRefused
from mesh.errors import TenantInactive
from mesh.identity.keys import sign_token
from mesh.records.tenant_removal import RowsRemoval
from mesh.server.tenant_removal import closed_tenant
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.removed_tenants import NAME
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from mesh.sql.tenant_closing import TenantClosing
from mesh.sql.tenant_removal import TenantRemoval
from secmesh.inventory.v1.backup_service_pb2 import RestoreBackupRequest
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import TenantRemovalServiceStub
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.records.v1.watch_pb2 import WatchRecordsRequest
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest
from secmesh.security.v1.tenant_removal_service_pb2_grpc import (
    TenantRemovalServiceStub as SecurityRemovalStub,
)
from services.inventory.__main__ import open_store
from services.inventory.settings import InventorySettings
from tests.service.collect_world import CATALOGUE
from tests.service.seeded_world import owned, seeded, settle
from tests.service.store_world import Kept, fill, kept, user
from tests.service.test_store_backups import backup

WRITERS = 12
"""Of each of two processes that write."""
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(database, tmp_path) as made:
        await fill(made)
        yield made


def asked(tenant: str = "acme") -> RemoveTenantRequest:
    return RemoveTenantRequest(name=f"tenants/{tenant}", confirm_tenant_id=tenant)


async def removed(world: Kept) -> Any:
    token = sign_token(
        world.home / "keys", subject="ann", tenant="platform", roles=["platform"], tenants=["acme"]
    )
    async with world.channel(token) as channel:
        stub: Any = TenantRemovalServiceStub(channel)
        answer = await stub.RemoveTenant(asked())
    assert answer.done
    return answer


async def rows_left(world: Kept, tenant: str) -> dict[str, int]:
    found = {}
    async with world.store.whole() as connection:
        for table in world.store.tables.metadata.sorted_tables:
            counted = sa.select(sa.func.count()).where(table.c.tenant_id == tenant)
            if rows := await connection.scalar(counted):
                found[table.name] = rows
    return found


async def listed(world: Kept, tenant: str = "acme") -> int:
    token = sign_token(world.home / "keys", subject="ann", tenant=tenant, roles=["admin"])
    async with world.channel(token) as channel:
        stub: Any = RecordServiceStub(channel)
        request = ListRecordsRequest(parent=f"tenants/{tenant}/iam_users")
        return len((await stub.ListRecords(request)).records)


async def reason_of_listing(world: Kept) -> str:
    try:
        await listed(world)
    except CallRefused as refused:
        return refused.reason
    return ""


async def test_many_who_write_while_a_tenant_is_removed_leave_nothing(
    world: Kept, database: str
) -> None:
    settings = InventorySettings(home=world.home, database_url=database)
    second = await open_store(settings, CATALOGUE)
    began = asyncio.Event()

    async def write(store: Store, number: int) -> None:
        for each in range(100_000):
            with acting_for("acme"):
                async with store.transaction() as connection:
                    made = user(f"w{number}-{each}", 100)
                    await store.insert(connection, "iam_users", [made])
                    # Others begin and end while this one is under way.
                    await asyncio.sleep(0)
            began.set()

    stores = [world.store, second] * WRITERS
    writers = [asyncio.create_task(write(*each)) for each in zip(stores, range(99), strict=False)]
    try:
        await began.wait()
        await removed(world)
        ended = await asyncio.gather(*writers, return_exceptions=True)
        assert {type(each) for each in ended} == {TenantInactive}
        assert await rows_left(world, "acme") == {NAME: 1}
        assert await listed(world, "beta") == 1
    finally:
        for each in writers:
            each.cancel()
        await second.engine.dispose()


async def test_a_writer_that_is_slow_is_waited_for(world: Kept) -> None:
    removal = world.store.removed
    assert removal is not None
    closing = TenantClosing(removal, lambda _tenant: world.store.upkeep())
    wrote, goes_on = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        with acting_for("acme"):
            async with world.store.transaction() as connection:
                await world.store.insert(connection, "iam_users", [user("slow", 100)])
                wrote.set()
                await goes_on.wait()

    if world.store.database == "sqlite":
        pytest.skip("one writer at a time: whoever closes a tenant has its turn")
    writer = asyncio.create_task(write())
    await wrote.wait()
    await closing.close("acme")
    assert not await closing.settle("acme", 0)
    goes_on.set()
    await writer
    assert await closing.settle("acme", 60)
    with acting_for("acme"), pytest.raises(TenantInactive):
        async with world.store.transaction():
            pass


async def test_a_watch_of_a_tenant_that_is_removed_ends_in_band(world: Kept) -> None:
    token = sign_token(world.home / "keys", subject="ann", tenant="acme", roles=["admin"])
    async with world.channel(token) as channel:
        stub: Any = RecordServiceStub(channel)
        events = aiter(stub.WatchRecords(WatchRecordsRequest(parent="tenants/acme/-")))
        assert (await anext(events)).WhichOneof("event") == "bookmark"
        removal = asyncio.create_task(removed(world))
        *_, last = [each async for each in events]
        await removal
    assert last.ended.message == "tenants/acme is offboarded"


async def test_a_restore_of_before_is_followed_by_another_removal(world: Kept) -> None:
    made = await backup(world)
    told = await removed(world)
    assert closed_tenant() in told.remainders
    assert await reason_of_listing(world) == "TENANT_INACTIVE"
    other = await listed(world, "beta")
    # Who restores is of another tenant: nothing is asked by one that left.
    request = RestoreBackupRequest(name=made.name)
    *_, ended = await world.ask("RestoreBackup", request, tenant="platform", roles=["platform"])
    assert ended.ended.code == 0
    assert set(await rows_left(world, "acme")) >= {"iam_users", "syncs"}
    again = await removed(world)
    assert {each.collection for each in again.removed} >= {"iam_users", "syncs"}
    assert await rows_left(world, "acme") == {NAME: 1}
    assert await reason_of_listing(world) == "TENANT_INACTIVE"
    assert await listed(world, "beta") == other


async def test_only_counting_closes_no_tenant(world: Kept) -> None:
    assert world.store.removed is not None
    removal = RowsRemoval(TenantRemoval(world.store), BackupFolder(world.home / "none"))
    counted = asked()
    counted.validate_only = True
    assert (await removal.answer(counted)).remaining
    assert NAME not in await rows_left(world, "acme")
    assert await listed(world)


def test_backups_of_the_security_service_bring_nobody_back(tmp_path: Path) -> None:
    with seeded(tmp_path, "acme", "beta", records=20) as world:
        settle(world.access)
        archive = tmp_path / "acme.zip"
        assert world.run("backup", "--tenant", "acme", str(archive)).returncode == 0
        made = world.run("backup").stdout.split()[0]
        stub = world.world.stub_of("platform", SecurityRemovalStub, "platform", tenants=("acme",))

        def leave() -> Any:
            while not (answer := stub.RemoveTenant(asked())).done:
                pass
            return answer

        leave()
        refused = world.run("restore", "--tenant", "acme", str(archive))
        assert refused.returncode == 1
        assert "its id is never used again" in refused.stderr
        assert world.run("restore", made).returncode == 0
        counted = "SELECT count(*) FROM {} WHERE tenant_id = 'acme'"
        with owned(world.access) as connection:
            assert connection.execute(counted.format("users")).fetchone() != (0,)
            assert connection.execute(counted.format(NAME)).fetchone() == (0,)
        assert leave().removed
        with owned(world.access) as connection:
            assert connection.execute(counted.format("users")).fetchone() == (0,)
            assert connection.execute(counted.format(NAME)).fetchone() == (1,)
        with pytest.raises(CallRefused) as answer:
            world.world.records_of("acme").ListRecords(
                ListRecordsRequest(parent="tenants/acme/users")
            )
        assert answer.value.reason == "TENANT_INACTIVE"
