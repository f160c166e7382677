"""A tenant leaves four services as they are served; what is told agrees with their databases."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mesh.embedded.postgres import Access
from mesh.sql.store import Store
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2 import CreateUserRequest
from secmesh.crypto.v1.user_service_pb2_grpc import UserServiceStub
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.tenant_pb2 import (
    TENANT_STATUS_OFFBOARDED,
    TENANT_STATUS_OFFBOARDING,
    Tenant,
)
from services.tenancy.assembly import open_others
from tests.databases import crypto_database, security_database
from tests.ports import free_port
from tests.service.crypto_world import World as People
from tests.service.crypto_world import crypto_world
from tests.service.security_world import served
from tests.service.tenancy_world import World, settings_of, tenancy_world
from tests.service.test_crypto_tenant_removal import rows_of as crypto_rows
from tests.service.test_tenancy_offboarding import items_of
from tests.service.test_tenant_removal import LEAVING, STAYING, counted
from tests.service.test_tenant_swap import (
    INVENTORY,
    inventory,
    plant_inventory_messages,
    plant_security,
    rows_of,
)

_MOVING = {"iam_audit_logs", "audit_chains", "record_changes", "record_change_floors"}
"""What the security service itself writes about changes, some time after them."""
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def databases() -> Iterator[tuple[Access, Access]]:
    with ExitStack() as stack:
        yield (
            stack.enter_context(security_database()),
            stack.enter_context(crypto_database()),
        )


async def create(world: World, people: People, tenant: str) -> None:
    """Make a tenant here, and a person of it there."""
    given = Tenant(tenant_name=f"The {tenant}")
    await world.platform().CreateTenant(tenants.CreateTenantRequest(tenant=given, tenant_id=tenant))
    await world.provider(tenant)
    await world.account(tenant)
    users = UserServiceStub(people.channel(tenant))
    user = User(email=f"ann@{tenant}.example.com", ssn="078-05-1120")
    await users.CreateUser(CreateUserRequest(parent=f"tenants/{tenant}", user=user))


async def leave(world: World, *, plan: bool = False) -> pb.TenantOffboarding:
    request = pb.OffboardTenantRequest(
        name=f"tenants/{LEAVING}",
        confirm_tenant_id="" if plan else LEAVING,
        shred=not plan,
        validate_only=plan,
    )
    left: pb.TenantOffboarding = await world.platform(LEAVING).OffboardTenant(request)
    return left


def places(told: pb.TenantOffboarding) -> dict[str, pb.OffboardedStore]:
    return {each.store: each for each in told.stores}


@dataclass
class Everywhere:
    """Four services, each with a database of its own, and two tenants in all of them."""

    tenancy: World
    inventory: Store
    security: Access
    crypto: Access
    address: str
    """Of the crypto service, which the tenancy service does not know yet."""

    async def of(self, tenant: str) -> tuple[Any, ...]:
        """Give what the databases hold of a tenant, but what the services note by themselves."""
        rows = counted(self.security, tenant)
        return (
            await rows_of(self.inventory, tenant),
            {name: number for name, number in rows.items() if name not in _MOVING},
            crypto_rows(self.crypto, tenant),
            items_of(self.tenancy, tenant),
        )

    def find_crypto(self) -> None:
        """Let the tenancy service reach the crypto service from now on."""
        others = self.tenancy.parts.others
        assert isinstance(others, list)
        others[2] = open_others(settings_of(crypto_address=self.address))[2]


@asynccontextmanager
async def everywhere(databases: tuple[Access, Access], folder: Path) -> AsyncIterator[Everywhere]:
    keys = folder / "keys"
    with served(databases[0], folder) as security:
        plant_security(security)
        async with (
            inventory(folder) as (address, store),
            crypto_world(databases[1], keys) as people,
            tenancy_world(
                keys,
                with_others=True,
                inventory_address=address,
                security_address=security.address,
                crypto_address=f"127.0.0.1:{free_port()}",
            ) as world,
        ):
            async with store.transaction() as connection:
                for tenant in (LEAVING, STAYING):
                    for collection, message in plant_inventory_messages(tenant, INVENTORY):
                        await store.insert(connection, collection, [message])
            for tenant in (LEAVING, STAYING):
                await create(world, people, tenant)
            yield Everywhere(world, store, *databases, people.address)


async def test_a_tenant_leaves_all_four_and_another_stays(
    databases: tuple[Access, Access], tmp_path: Path
) -> None:
    async with everywhere(databases, tmp_path) as world:
        staying = await world.of(STAYING)
        plan = places(await leave(world.tenancy, plan=True))
        delete = tenants.DeleteTenantRequest(name=f"tenants/{LEAVING}")
        await world.tenancy.platform(LEAVING).DeleteTenant(delete)
        # One of them is down: the tenant leaves the others, and is not gone.
        told = await leave(world.tenancy)
        crypto = places(told)["crypto"]
        assert (crypto.state, crypto.note) == (pb.OFFBOARDED_STATE_UNKNOWN, "refused: UNAVAILABLE")
        assert not told.HasField("complete_time")
        inventory_left, security_left, crypto_left, _ = await world.of(LEAVING)
        assert not any(inventory_left.values())
        assert security_left == {"removed_tenants": 1}
        assert crypto_left["users"]
        status = (await world.tenancy.parts.tenants.get(LEAVING)).status
        assert status == TENANT_STATUS_OFFBOARDING
        world.find_crypto()
        told = await leave(world.tenancy)
        left = places(told)
        assert told.HasField("complete_time")
        assert left["inventory"].state == left["security"].state == pb.OFFBOARDED_STATE_KEPT
        for place in ("inventory", "security"):
            assert left[place].removed >= plan[place].remaining > 0
        crypto_left = (await world.of(LEAVING))[2]
        assert not crypto_left["users"]
        remainders = {each.place: each.number for each in left["crypto"].remainders}
        assert remainders["erasures"] == len(crypto_left["erasures"]) == 1
        status = (await world.tenancy.parts.tenants.get(LEAVING)).status
        assert status == TENANT_STATUS_OFFBOARDED
        assert await world.of(STAYING) == staying
