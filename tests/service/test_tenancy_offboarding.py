"""Tenants that leave: nothing of them stays here, and what stays elsewhere is told."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from mesh.errors import DependencyUnavailable
from mesh.identity.keys import sign_token
from secmesh.rpc.v1.tenant_removal_pb2 import (
    RemoveTenantRequest,
    RemoveTenantResponse,
    TenantRemainder,
    TenantRows,
)
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import schedule_pb2, schedule_service_pb2
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.tenant_pb2 import (
    TENANT_STATUS_OFFBOARDED,
    TENANT_STATUS_OFFBOARDING,
    Tenant,
)
from secmesh_client.refusal import CallRefused
from services.tenancy.assembly import open_others
from services.tenancy.offboarding import Offboarding
from services.tenancy.other_stores import OtherStore, RemovingStore, Unasked
from services.tenancy.retention import RETENTION_DAYS
from services.tenancy.scan_results import published
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item
from tests.service.tenancy_world import OPERATOR, World, settings_of, tenancy_world
from tests.service.test_tenant_swap import INVENTORY, inventory, plant_inventory_messages

MONTHS = 70 * 24 * 3600
DOWN = CallRefused(status_pb2.Status(code=14), grpc.StatusCode.UNAVAILABLE)


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
        name=f"tenants/{tenant}", confirm_tenant_id=confirmed or tenant, shred=True
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
    tombstone, told_of = sorted(left.pop(Table.TENANTS), key=lambda item: str(item["pk"]))
    assert not any(left.values())
    assert told_of["pk"] == f"{tenant}#offboarding"
    assert "tenant_name" not in tombstone
    assert items_of(world, other) == before
    for table in (Table.ACCOUNTS, Table.EXECUTIONS, Table.SCAN_RESULTS, Table.SCHEDULES):
        each = told[f"tenancy.{table.value}"]
        assert (each.state, each.removed > 0) == (pb.OFFBOARDED_STATE_REMOVED, True), table
    assert told["secrets"].state == pb.OFFBOARDED_STATE_LEAVING
    assert told["secrets"].remaining == 2
    again = await offboard(world, tenant)
    # What was removed is told of all calls together.
    assert again == told
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
        await world.parts.offboarding.offboard(tenant, tenant, shred=True)
    secrets.broken = False
    with pytest.raises(CallRefused) as refused:
        await world.accounts(tenant).SuspendAccount(
            accounts.SuspendAccountRequest(name=f"tenants/{tenant}/accounts/x")
        )
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    faults = world.faults
    faults.unsent = faults.unanswered = faults.throttled = 0.05
    for _ in range(2000):
        try:
            await world.parts.offboarding.offboard(tenant, tenant, shred=True)
        except DependencyUnavailable:
            continue
        break
    faults.unsent = faults.unanswered = faults.throttled = 0.0
    assert [len(each) for each in items_of(world, tenant).values()] == [2, 0, 0, 0, 0, 0]


@dataclass
class Told:
    """Another service as it answers: refusals, then so many rows in each answer."""

    store: str
    refusals: int = 0
    rows: list[int] = field(default_factory=list)
    counted: int = 0

    async def RemoveTenant(self, request: RemoveTenantRequest) -> RemoveTenantResponse:  # noqa: N802 - the contract's name
        if self.refusals:
            self.refusals -= 1
            raise DOWN
        if request.validate_only:
            self.counted += 1
            remaining = [TenantRows(collection="syncs", rows=sum(self.rows))]
            return RemoveTenantResponse(remaining=remaining)
        assert request.confirm_tenant_id == request.name.removeprefix("tenants/")
        rows = self.rows.pop(0) if self.rows else 0
        left = [TenantRows(collection="syncs", rows=sum(self.rows))] if self.rows else []
        return RemoveTenantResponse(
            removed=[TenantRows(collection="syncs", rows=rows)],
            remaining=left,
            remainders=[TenantRemainder(place="backups", number=2, note="delete them")],
            done=not left,
        )


def with_others(world: World, *others: Told) -> Offboarding:
    opened: list[OtherStore] = [
        RemovingStore(each.store, grpc.aio.insecure_channel("127.0.0.1:1"), lambda _, me=each: me)  # type: ignore[misc]  # the default binds it
        for each in others
    ]
    return replace(world.parts, others=opened).offboarding


async def test_a_service_that_is_down_is_gone_on_with(world: World) -> None:
    tenant = await filled(world)
    await delete(world, tenant)
    inventory, security = Told("inventory", rows=[7, 5]), Told("security", refusals=1, rows=[3])
    offboarding = with_others(world, inventory, security)
    told = await offboarding.offboard(tenant, tenant, shred=True)
    assert not told.HasField("complete_time")
    places = {each.store: each for each in told.stores}
    assert (places["inventory"].removed, places["inventory"].remaining) == (12, 0)
    assert places["inventory"].state == pb.OFFBOARDED_STATE_KEPT
    assert places["inventory"].remainders[0].number == 2
    assert places["security"].state == pb.OFFBOARDED_STATE_UNKNOWN
    assert places["security"].note == "refused: UNAVAILABLE"
    # It leaves until it is gone everywhere, and nothing of it can be had meanwhile.
    assert (await world.parts.tenants.get(tenant)).status == TENANT_STATUS_OFFBOARDING
    with pytest.raises(CallRefused) as refused:
        await world.provider(tenant)
    assert refused.value.reason == "TENANT_INACTIVE"
    world.clock.turn(60)
    told = await offboarding.offboard(tenant, tenant)
    places = {each.store: each for each in told.stores}
    assert told.HasField("complete_time")
    assert told.shred
    assert (places["inventory"].removed, places["security"].removed) == (12, 3)
    assert (await world.parts.tenants.get(tenant)).status == TENANT_STATUS_OFFBOARDED
    # What a restored backup brings back is removed by the same call.
    inventory.rows = [4]
    told = await offboarding.offboard(tenant, tenant)
    places = {each.store: each for each in told.stores}
    assert places["inventory"].removed == 16
    assert await offboarding.told(tenant) == told


async def test_a_plan_counts_and_changes_nothing(world: World) -> None:
    tenant = await filled(world)
    before = items_of(world, tenant)
    inventory = Told("inventory", rows=[7])
    plan = await with_others(world, inventory).plan(tenant)
    assert items_of(world, tenant) == before
    assert (inventory.counted, inventory.rows) == (1, [7])
    places = {each.store: each for each in plan.stores}
    assert places["inventory"].remaining == 7
    assert places["secrets"].remaining == 2
    assert not any(each.removed for each in plan.stores)
    await delete(world, tenant)
    told = await offboard(world, tenant)
    for table in (Table.ACCOUNTS, Table.SCHEDULES, Table.EXECUTIONS, Table.SCAN_RESULTS):
        name = f"tenancy.{table.value}"
        assert (places[name].remaining, told[name].remaining) == (told[name].removed, 0), name
    request = pb.OffboardTenantRequest(name="tenants/strangers", validate_only=True)
    with pytest.raises(CallRefused) as refused:
        await world.platform("strangers").OffboardTenant(request)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_a_tenant_that_can_be_undeleted_is_left_unless_it_is_to_be_shredded(
    world: World,
) -> None:
    tenant = await filled(world)
    await delete(world, tenant)
    request = pb.OffboardTenantRequest(name=f"tenants/{tenant}", confirm_tenant_id=tenant)
    with pytest.raises(CallRefused) as refused:
        await world.platform(tenant).OffboardTenant(request)
    assert refused.value.reason == "TENANT_RESTORABLE"
    asked = pb.GetTenantOffboardingRequest(name=f"tenants/{tenant}/offboarding")
    with pytest.raises(CallRefused) as refused:
        await world.platform(tenant).GetTenantOffboarding(asked)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    await world.platform(tenant).UndeleteTenant(
        tenants.UndeleteTenantRequest(name=f"tenants/{tenant}")
    )
    await delete(world, tenant)
    world.clock.turn(RETENTION_DAYS * 24 * 3600 + 1)
    told = await world.platform(tenant).OffboardTenant(request)
    assert (told.requested_by, told.shred) == ("ann", False)
    assert told.HasField("complete_time")
    assert await world.platform(tenant).GetTenantOffboarding(asked) == told
    with pytest.raises(CallRefused) as refused:
        await world.tenants(tenant).GetTenantOffboarding(asked)
    assert refused.value.reason == "PERMISSION_MISSING"


async def test_services_that_nobody_named_are_told_as_unknown(world: World) -> None:
    others = open_others(settings_of())
    assert {type(each) for each in others} == {Unasked}
    parts = replace(world.parts, others=others)
    tenant = await world.tenant()
    await delete(world, tenant)
    answer = await parts.offboarding.offboard(tenant, tenant, shred=True)
    told = {each.store: each for each in answer.stores if "." not in each.store}
    assert set(told) == {"secrets", "inventory", "crypto", "security"}
    assert told["secrets"].state == pb.OFFBOARDED_STATE_REMOVED
    for store in ("inventory", "crypto", "security"):
        assert told[store].state == pb.OFFBOARDED_STATE_UNASKED
        assert told[store].note
    assert answer.HasField("complete_time")


async def test_services_are_asked_by_a_token_of_ones_own_where_there_is_one(tmp_path: Path) -> None:
    async with inventory(tmp_path) as (address, store):
        async with store.transaction() as connection:
            for collection, message in plant_inventory_messages("acme", INVENTORY):
                await store.insert(connection, collection, [message])
        token = sign_token(
            tmp_path / "keys",
            subject="tenancy",
            tenant=OPERATOR,
            permissions=["platform.tenants.remove"],
            tenants=["acme"],
        )
        (tmp_path / "token").write_text(token)
        settings = settings_of(inventory_address=address, removal_token_file=tmp_path / "token")
        # Nobody calls: there is no other token.
        other, *_ = open_others(settings)
        told = await other.leave("acme")
        # That it was removed is kept, so that it cannot come back.
        assert (told.state, told.remaining) == (pb.OFFBOARDED_STATE_KEPT, 0)
        assert [each.place for each in told.remainders] == ["removed_tenants"]
        assert told.removed > 10
        strange = await other.leave("beta")
        assert (strange.state, strange.note) == (
            pb.OFFBOARDED_STATE_UNKNOWN,
            "refused: RESOURCE_NOT_FOUND",
        )
        await other.close()
