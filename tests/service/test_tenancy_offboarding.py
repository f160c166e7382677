"""Tenants that leave: nothing of them stays here, and what stays elsewhere is told."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mesh.embedded.postgres import Access
from mesh.errors import DependencyUnavailable
from mesh.identity.keys import sign_token
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2 import CreateUserRequest
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import schedule_pb2, schedule_service_pb2
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_OFFBOARDED, Tenant
from secmesh_client.aio import connect
from secmesh_client.refusal import CallRefused
from services.tenancy.assembly import open_others
from services.tenancy.other_stores import CryptoStore, InventoryStore, Unasked
from services.tenancy.scan_results import published
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item
from tests.databases import crypto_database
from tests.service.crypto_world import crypto_world
from tests.service.tenancy_world import OPERATOR, World, settings_of, tenancy_world
from tests.service.test_tenant_swap import INVENTORY, inventory, plant_inventory_messages

MONTHS = 70 * 24 * 3600


@dataclass
class RememberedSecrets:
    """Keeps what was deleted; refuses it while it is broken."""

    deleted: list[tuple[str, str]] = field(default_factory=list)
    broken: bool = False

    async def delete(self, tenant: str, account: str) -> None:
        if self.broken:
            raise DependencyUnavailable("secrets")
        self.deleted.append((tenant, account))

    async def follow(self, tenant: str, account: str) -> None:
        raise AssertionError(f"{tenant} {account} comes or goes by itself")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, secrets=RememberedSecrets()) as opened:
        yield opened


async def filled(world: World) -> str:
    """Make a tenant with something of everything, and what outlived its schedule."""
    tenant = await world.tenant()
    await world.provider(tenant)
    channel = world.channel(tenant)
    stub: Any = ScheduleServiceStub(channel)
    for number in (1, 2):
        account = (await world.account(tenant, number)).name.rpartition("/")[2]
        made = await stub.CreateSchedule(
            schedule_service_pb2.CreateScheduleRequest(
                parent=f"tenants/{tenant}",
                schedule=schedule_pb2.Schedule(
                    account_id=account, schedule_name="Nightly", expression="@daily"
                ),
            )
        )
        await stub.TriggerSchedule(schedule_service_pb2.TriggerScheduleRequest(name=made.name))
        result = ScanResult(account_id=account)
        _, put = published(result, tenant, f"execution{number}", world.clock.now())
        await world.parts.store.write(put)
    return tenant


def items_of(world: World, tenant: str) -> dict[Table, list[Item]]:
    """Give all that stands in a tenant's partitions or leads to it, by table."""
    store = world.parts.store
    assert isinstance(store, MemoryStore)
    return {
        table: [
            item
            for item in store.items(table)
            if str(item["pk"]).partition("#")[0] == tenant or item.get("owner") == tenant
        ]
        for table in Table
    }


async def offboard(world: World, tenant: str, confirmed: str = "") -> dict[str, pb.OffboardedStore]:
    request = pb.OffboardTenantRequest(
        name=f"tenants/{tenant}", confirm_tenant_id=confirmed or tenant
    )
    answer = await world.platform(tenant).OffboardTenant(request)
    return {each.store: each for each in answer.stores}


async def delete(world: World, tenant: str) -> None:
    request = tenants.DeleteTenantRequest(name=f"tenants/{tenant}")
    await world.platform(tenant).DeleteTenant(request)


async def test_nothing_of_a_tenant_stays_but_that_its_id_was_used(world: World) -> None:
    tenant, other = await filled(world), await filled(world)
    before = items_of(world, other)
    assert all(items_of(world, tenant).values())
    world.clock.turn(MONTHS)
    await delete(world, tenant)
    told = await offboard(world, tenant)
    left = items_of(world, tenant)
    (tombstone,) = left.pop(Table.TENANTS)
    assert not any(left.values())
    assert "tenant_name" not in tombstone
    assert items_of(world, other) == before
    for table in (Table.ACCOUNTS, Table.EXECUTIONS, Table.SCAN_RESULTS, Table.SCHEDULES):
        each = told[f"tenancy.{table.value}"]
        assert (each.state, each.removed > 0) == (pb.OFFBOARDED_STATE_REMOVED, True), table
    assert told["secrets"].state == pb.OFFBOARDED_STATE_LEAVING
    assert told["secrets"].remaining == 2
    again = await offboard(world, tenant)
    assert not any(each.removed for each in again.values())
    read = await world.platform(tenant).GetTenant(
        tenants.GetTenantRequest(name=f"tenants/{tenant}")
    )
    assert read.status == TENANT_STATUS_OFFBOARDED


async def test_the_id_is_never_used_again_and_the_name_is_free(world: World) -> None:
    tenant = await filled(world)
    await delete(world, tenant)
    await offboard(world, tenant)
    given = Tenant(tenant_name="Tenant No 1")
    with pytest.raises(CallRefused) as refused:
        await world.platform().CreateTenant(
            tenants.CreateTenantRequest(tenant=given, tenant_id=tenant)
        )
    assert refused.value.reason == "TENANT_OFFBOARDED"
    await world.platform().CreateTenant(
        tenants.CreateTenantRequest(tenant=given, tenant_id="another")
    )
    with pytest.raises(CallRefused) as refused:
        await world.platform(tenant).UndeleteTenant(
            tenants.UndeleteTenantRequest(name=f"tenants/{tenant}")
        )
    assert refused.value.metadata["status"] == "offboarded"
    with pytest.raises(CallRefused) as refused:
        await world.provider(tenant)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_a_tenant_that_is_served_stays_and_so_does_one_that_is_not_confirmed(
    world: World,
) -> None:
    tenant = await filled(world)
    before = items_of(world, tenant)
    with pytest.raises(CallRefused) as refused:
        await offboard(world, tenant)
    assert refused.value.reason == "TENANT_NOT_DELETED"
    with pytest.raises(CallRefused) as refused:
        await offboard(world, tenant, "another")
    assert "confirm_tenant_id" in str(refused.value)
    assert items_of(world, tenant) == before
    request = pb.OffboardTenantRequest(name=f"tenants/{tenant}", confirm_tenant_id=tenant)
    with pytest.raises(CallRefused) as refused:
        await world.tenants(tenant).OffboardTenant(request)
    assert refused.value.reason == "PERMISSION_MISSING"


async def test_what_broke_off_is_gone_on_with(world: World) -> None:
    tenant = await filled(world)
    await delete(world, tenant)
    secrets = world.parts.secrets
    assert isinstance(secrets, RememberedSecrets)
    secrets.broken = True
    with pytest.raises(DependencyUnavailable):
        await world.parts.offboarding.offboard(tenant, tenant)
    secrets.broken = False
    with pytest.raises(CallRefused) as refused:
        await world.accounts(tenant).SuspendAccount(
            accounts.SuspendAccountRequest(name=f"tenants/{tenant}/accounts/x")
        )
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    faults = world.faults
    faults.unsent = faults.unanswered = faults.throttled = 0.05
    for _ in range(200):
        try:
            await world.parts.offboarding.offboard(tenant, tenant)
        except DependencyUnavailable:
            continue
        break
    faults.unsent = faults.unanswered = faults.throttled = 0.0
    assert [len(each) for each in items_of(world, tenant).values()] == [1, 0, 0, 0, 0, 0]


async def test_the_inventory_removes_accounts_and_tells_of_plans(tmp_path: Path) -> None:
    async with inventory(tmp_path) as (address, store):
        async with store.transaction() as connection:
            for tenant in ("acme", "beta"):
                for collection, message in plant_inventory_messages(tenant, INVENTORY):
                    await store.insert(connection, collection, [message])
        token = sign_token(
            tmp_path / "keys",
            subject="ann",
            tenant=OPERATOR,
            roles=["admin"],
            tenants=["acme"],
        )
        other = InventoryStore(connect(address, token=token))
        told = await other.leave("acme")
        assert told.removed > 10
        assert told.state == pb.OFFBOARDED_STATE_REMAINS
        assert 0 < told.remaining < told.removed
        # Of a tenant that the caller does not act for nothing is known.
        strange = await other.leave("beta")
        assert (strange.state, strange.removed) == (pb.OFFBOARDED_STATE_UNKNOWN, 0)
        assert strange.note == "refused: RESOURCE_NOT_FOUND"
        await other.close()


@pytest.fixture(scope="module")
def access() -> Any:
    with crypto_database() as made:
        yield made


async def test_the_crypto_service_shuts_what_is_sealed(access: Access, tmp_path: Path) -> None:
    async with crypto_world(access, tmp_path) as people:
        other = CryptoStore(people.channel())
        assert (await other.leave(people.tenant)).state == pb.OFFBOARDED_STATE_REMOVED
        user = User(email="ann@example.com", ssn="078-05-1120")
        made = await people.users().CreateUser(CreateUserRequest(parent=people.parent, user=user))
        assert (await other.leave(people.tenant)).state == pb.OFFBOARDED_STATE_SHUT
        user.email = "bob@example.com"
        with pytest.raises(CallRefused) as refused:
            await people.users().CreateUser(CreateUserRequest(parent=people.parent, user=user))
        assert refused.value.reason == "KEY_DISABLED"
        assert made.name


async def test_services_that_nobody_named_are_told_as_unknown(world: World) -> None:
    others = open_others(settings_of())
    assert {type(each) for each in others} == {Unasked}
    parts = replace(world.parts, others=others)
    tenant = await world.tenant()
    await delete(world, tenant)
    answer = await parts.offboarding.offboard(tenant, tenant)
    told = {each.store: each for each in answer.stores if "." not in each.store}
    assert set(told) == {"secrets", "inventory", "crypto", "security"}
    assert told["secrets"].state == pb.OFFBOARDED_STATE_REMOVED
    for store in ("inventory", "crypto", "security"):
        assert told[store].state == pb.OFFBOARDED_STATE_UNKNOWN
        assert told[store].note
