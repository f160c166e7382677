"""Services remove all rows of one tenant, whatever happens meanwhile, and touch no other's."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from mesh.embedded.postgres import Access
from mesh.identity.keys import sign_token
from mesh.server.tenant_removal import closed_tenant
from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import (
    TenantRemovalServiceStub as InventoryRemovalStub,
)
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, RemoveTenantResponse
from secmesh.security.v1 import team_pb2
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from secmesh.security.v1.tenant_removal_service_pb2_grpc import (
    TenantRemovalServiceStub as SecurityRemovalStub,
)
from secmesh_client import CallRefused
from secmesh_client.aio import connect
from tests.databases import open_sync_engine, security_database
from tests.service.security_world import KINDS, World, served
from tests.service.test_tenant_swap import (
    INVENTORY,
    inventory,
    plant_inventory_messages,
    plant_security,
    rows_of,
)

LEAVING, STAYING = "acme", "beta"
OPERATOR = "platform"
PATIENCE = 120
"""Seconds that something is waited for at most."""
_MOVING = {"iam_audit_logs", "audit_chains", "record_changes", "record_change_floors"}
"""What the service itself writes about changes, some time after them."""
pytestmark = pytest.mark.timeout(600)


def asked(tenant: str, confirmed: str = "", *, count: bool = False) -> RemoveTenantRequest:
    return RemoveTenantRequest(
        name=f"tenants/{tenant}", confirm_tenant_id=confirmed or tenant, validate_only=count
    )


def by_collection(rows: Any) -> dict[str, int]:
    return {each.collection: each.rows for each in rows}


def counted(access: Access, tenant: str) -> dict[str, int]:
    """Count a tenant's rows as the database has them, in every table with a tenant."""
    tables = (
        "SELECT table_name FROM information_schema.columns JOIN pg_class ON relname = table_name "
        "WHERE column_name = 'tenant_id' AND table_schema = current_schema() "
        "AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    url = open_sync_engine(access.owner).url.set(drivername="postgresql")
    found = {}
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        for (name,) in connection.execute(tables).fetchall():
            statement = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s")
            row = connection.execute(statement.format(sql.Identifier(name)), [tenant]).fetchone()
            if row is not None and row[0]:
                found[name] = row[0]
    return found


async def test_the_inventory_removes_a_tenant_and_leaves_the_other(tmp_path: Path) -> None:
    async with inventory(tmp_path) as (address, store):
        async with store.transaction() as connection:
            for tenant in (LEAVING, STAYING):
                for collection, message in plant_inventory_messages(tenant, INVENTORY):
                    await store.insert(connection, collection, [message])
        before = {each: await rows_of(store, each) for each in (LEAVING, STAYING)}
        stub: Any = InventoryRemovalStub(connect(address, token=platform_token(tmp_path / "keys")))
        plan = await stub.RemoveTenant(asked(LEAVING, count=True))
        planned = by_collection(plan.remaining)
        assert not plan.done
        assert not plan.removed
        assert {name: len(rows) for name, rows in before[LEAVING].items() if rows}.items() <= (
            planned.items()
        )
        assert await rows_of(store, LEAVING) == before[LEAVING]
        done = await stub.RemoveTenant(asked(LEAVING))
        assert done.done
        # Runs that were going on were cancelled first, which is a change the more.
        assert by_collection(done.removed).keys() == planned.keys()
        assert not any((await rows_of(store, LEAVING)).values())
        assert await rows_of(store, STAYING) == before[STAYING]
        again = await stub.RemoveTenant(asked(LEAVING))
        assert again == RemoveTenantResponse(done=True, remainders=[closed_tenant()])


def platform_token(keys: Path) -> str:
    return sign_token(
        keys, subject="ann", tenant=OPERATOR, roles=["platform"], tenants=[LEAVING, STAYING]
    )


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("security")
    with security_database() as access, served(access, home) as world:
        yield world


def new_tenant() -> str:
    return f"leaving-{uuid4().hex[:12]}"


def removal_of(world: World, *tenants: str) -> Any:
    return world.stub_of(OPERATOR, SecurityRemovalStub, "platform", tenants=tenants)


def removed_whole(stub: Any, tenant: str) -> None:
    """Send the request until all is done."""
    end = time.monotonic() + PATIENCE
    while not stub.RemoveTenant(asked(tenant)).done:
        assert time.monotonic() < end


def team(tenant: str, name: str) -> CreateRecordRequest:
    body = team_pb2.Team(name=name, team_type=team_pb2.TEAM_TYPE_SECURITY)
    return CreateRecordRequest(parent=f"tenants/{tenant}/teams", record=Record(team=body))


def still(rows: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in rows.items() if name not in _MOVING}


def test_the_security_service_removes_every_kind_its_log_and_its_feed(security: World) -> None:
    plant_security(security)
    before = counted(security.access, STAYING)
    stub = removal_of(security, LEAVING, STAYING)
    plan = by_collection(stub.RemoveTenant(asked(LEAVING, count=True)).remaining)
    assert set(KINDS) - {"iam_audit_logs"} <= set(plan)
    done = stub.RemoveTenant(asked(LEAVING))
    assert set(KINDS) - {"iam_audit_logs"} <= set(by_collection(done.removed))
    removed_whole(stub, LEAVING)
    assert counted(security.access, LEAVING) == {"removed_tenants": 1}
    after = counted(security.access, STAYING)
    assert still(before).items() <= after.items()
    assert after["iam_audit_logs"] >= before.get("iam_audit_logs", 0)
    # The chain of who stays is whole, and a tenant that is gone has none.
    told = stub.RemoveTenant(asked(LEAVING, count=True))
    assert told == RemoveTenantResponse(done=True, remainders=[closed_tenant()])


def test_a_removal_that_was_killed_is_gone_on_with(security: World, tmp_path: Path) -> None:
    leaving, staying = new_tenant(), new_tenant()
    for tenant in (leaving, staying):
        security.write_of(tenant, [team(tenant, f"team {each}") for each in range(20)])
    kept = still(counted(security.access, staying))
    with served(security.access, tmp_path) as killed:
        stub = removal_of(killed, leaving)

        def call() -> None:
            with pytest.raises(CallRefused):
                stub.RemoveTenant(asked(leaving), timeout=PATIENCE)

        caller = threading.Thread(target=call)
        caller.start()
        end = time.monotonic() + PATIENCE
        # The first step is that nobody writes in the tenant any more.
        while "removed_tenants" not in counted(security.access, leaving):
            assert time.monotonic() < end
        os.kill(killed.pid, signal.SIGKILL)
        caller.join(PATIENCE)
    removed_whole(removal_of(security, leaving), leaving)
    assert counted(security.access, leaving) == {"removed_tenants": 1}
    assert kept.items() <= counted(security.access, staying).items()


def test_who_may_not_and_what_is_not_confirmed(security: World) -> None:
    tenant, other = new_tenant(), new_tenant()
    security.write_of(tenant, [team(tenant, "blue")])
    before = still(counted(security.access, tenant))
    own = security.stub_of(tenant, SecurityRemovalStub, "admin")
    operator = removal_of(security, tenant, other)
    for stub, request, reason in (
        (own, asked(tenant), "PERMISSION_MISSING"),
        (operator, asked(tenant, other), "FIELD_INVALID"),
        (operator, asked("gamma"), "RESOURCE_NOT_FOUND"),
    ):
        with pytest.raises(CallRefused) as refused:
            stub.RemoveTenant(request)
        assert refused.value.reason == reason
    assert before.items() <= counted(security.access, tenant).items()
    assert "removed_tenants" not in counted(security.access, tenant)
