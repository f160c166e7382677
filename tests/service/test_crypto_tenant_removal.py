"""The crypto service shreds one tenant: persons erased, keys destroyed, proofs kept."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from mesh.identity.keys import sign_token
from mesh.sql.tenancy import of_removed_tenants
from secmesh.crypto.v1.erasure_pb2 import ListErasuresRequest
from secmesh.crypto.v1.tenant_removal_service_pb2_grpc import TenantRemovalServiceStub
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2 import CreateUserRequest, GetUserRequest
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest
from secmesh_client.aio import connect
from secmesh_client.refusal import CallRefused
from services.crypto.erasure.tenant_removal_store import TenantRemovalStore
from services.crypto.tables import METADATA, TENANT_KEYS, USERS
from tests.databases import crypto_database, open_sync_engine
from tests.service.crypto_world import World, crypto_world

OPERATOR = "platform"


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


def asked(tenant: str, *, count: bool = False) -> RemoveTenantRequest:
    return RemoveTenantRequest(
        name=f"tenants/{tenant}", confirm_tenant_id=tenant, validate_only=count
    )


def rows_of(access: Access, tenant: str) -> dict[str, list[Any]]:
    """Give all rows of a tenant but those of logs that others' writes reach late."""
    engine, found = open_sync_engine(access.owner), {}
    with engine.connect() as connection:
        for table in METADATA.sorted_tables:
            statement = sa.select(table).where(table.c.tenant_id == tenant)
            found[table.name] = sorted(map(repr, connection.execute(statement)))
    engine.dispose()
    return found


async def people_of(world: World, tenant: str, number: int = 3) -> list[str]:
    names = []
    for each in range(number):
        user = User(email=f"p{each}@{tenant}.example.com", ssn="078-05-1120")
        request = CreateUserRequest(parent=f"tenants/{tenant}", user=user)
        names.append((await world.users(tenant).CreateUser(request)).name)
    return names


def removal(world: World, *tenants: str) -> Any:
    token = sign_token(
        world.home, subject="ann", tenant=OPERATOR, roles=["platform"], tenants=tenants
    )
    channel = connect(world.address, token=token)
    world._channels.append(channel)
    return TenantRemovalServiceStub(channel)


async def test_a_tenant_is_shredded_and_another_stays(access: Access, tmp_path: Path) -> None:
    async with crypto_world(access, tmp_path) as world:
        tenant, other = world.tenant, f"{world.tenant}-other"
        persons = await people_of(world, tenant)
        staying = await people_of(world, other)
        before = rows_of(access, other)
        stub = removal(world, tenant, other)
        plan = await stub.RemoveTenant(asked(tenant, count=True))
        remaining = {each.collection: each.rows for each in plan.remaining}
        assert remaining["users"] == len(persons)
        assert remaining["tenant_keys"] == 1
        assert not plan.done
        assert not plan.removed
        done = await stub.RemoveTenant(asked(tenant))
        assert done.done
        assert {each.collection: each.rows for each in done.removed}.items() >= remaining.items()
        kept = {each.place: each for each in done.remainders}
        assert kept["erasures"].number == len(persons)
        assert kept["backups"].HasField("until")
        rows = rows_of(access, tenant)
        assert not rows["users"]
        assert len(rows["erasures"]) == len(persons)
        engine = open_sync_engine(access.owner)
        with engine.connect() as connection:
            wrapped = sa.select(TENANT_KEYS.c.wrapped).where(TENANT_KEYS.c.tenant_id == tenant)
            assert set(connection.scalars(wrapped)) == {None}
        engine.dispose()
        certificates = await world.users(tenant).ListErasures(
            ListErasuresRequest(parent=f"tenants/{tenant}")
        )
        assert all(each.certificate for each in certificates.erasures)
        # Nothing more is sealed for it, and nothing else is answered about it.
        for call in (
            people_of(world, tenant, 1),
            world.users(tenant).GetUser(GetUserRequest(name=persons[0])),
        ):
            with pytest.raises(CallRefused) as refused:
                await call
            assert refused.value.reason == "TENANT_INACTIVE"
            assert refused.value.metadata["status"] == "offboarded"
        assert rows["removed_tenants"]
        assert kept["removed_tenants"].number == 1
        assert rows_of(access, other) == before
        for name in staying:
            assert (await world.users(other).GetUser(GetUserRequest(name=name))).name == name
        again = await stub.RemoveTenant(asked(tenant))
        assert again.done
        assert not again.removed


async def test_a_tenant_of_whom_there_was_no_key_gets_none(access: Access, tmp_path: Path) -> None:
    async with crypto_world(access, tmp_path) as world:
        plan = await removal(world, world.tenant).RemoveTenant(asked(world.tenant, count=True))
        assert plan.done
        assert not plan.remainders
        done = await removal(world, world.tenant).RemoveTenant(asked(world.tenant))
        assert done.done
        assert [each.place for each in done.remainders] == ["removed_tenants"]
        with pytest.raises(CallRefused) as refused:
            await people_of(world, world.tenant, 1)
        assert refused.value.reason == "TENANT_INACTIVE"
        assert not rows_of(access, world.tenant)["tenant_keys"]


async def test_many_who_write_while_a_tenant_is_removed_leave_nothing(
    access: Access, tmp_path: Path
) -> None:
    async with crypto_world(access, tmp_path) as world:
        await people_of(world, world.tenant, 1)
        made = 0

        async def write(number: int) -> str:
            nonlocal made
            for each in range(10_000):
                user = User(email=f"w{number}-{each}@example.com", ssn="078-05-1120")
                request = CreateUserRequest(parent=world.parent, user=user)
                try:
                    await world.users().CreateUser(request)
                except CallRefused as refused:
                    return refused.reason
                made += 1
            return ""

        writers = [asyncio.create_task(write(each)) for each in range(8)]
        while made < len(writers):
            await asyncio.sleep(0)
        done = await removal(world, world.tenant).RemoveTenant(asked(world.tenant))
        # Erased one by one, they may be too many for one call.
        while not done.done:
            done = await removal(world, world.tenant).RemoveTenant(asked(world.tenant))
        assert set(await asyncio.gather(*writers)) == {"TENANT_INACTIVE"}
        rows = rows_of(access, world.tenant)
        assert not rows["users"]
        # Who was stored and then refused to be read was erased, too.
        assert len(rows["erasures"]) >= made + 1


async def test_what_broke_off_is_gone_on_with(access: Access, tmp_path: Path) -> None:
    async with crypto_world(access, tmp_path) as world:
        persons = await people_of(world, world.tenant, 6)
        stub = removal(world, world.tenant)
        # What cannot be told of is not done.
        world.audit.broken = True
        with pytest.raises(CallRefused) as refused:
            await stub.RemoveTenant(asked(world.tenant))
        assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
        with of_removed_tenants():
            async with world.transactions.connection(world.tenant) as connection:
                left = await TenantRemovalStore().persons(connection, world.tenant, 100)
                rows = await connection.scalar(
                    sa.select(sa.func.count()).where(USERS.c.tenant_id == world.tenant)
                )
        assert len(left) == rows == len(persons)
        world.audit.broken = False
        assert (await stub.RemoveTenant(asked(world.tenant))).done


async def test_who_may_not(access: Access, tmp_path: Path) -> None:
    async with crypto_world(access, tmp_path) as world:
        own = TenantRemovalServiceStub(world.channel())
        request = RemoveTenantRequest(name=world.parent, confirm_tenant_id="another")
        for stub, wanted, reason in (
            (own, asked(world.tenant), "PERMISSION_MISSING"),
            (removal(world, world.tenant), request, "FIELD_INVALID"),
            (removal(world, world.tenant), asked("strangers"), "RESOURCE_NOT_FOUND"),
        ):
            with pytest.raises(CallRefused) as refused:
                await stub.RemoveTenant(wanted)
            assert refused.value.reason == reason
