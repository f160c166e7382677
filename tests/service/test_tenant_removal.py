"""Services remove all rows of one tenant, whatever happens meanwhile, and touch no other's."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from mesh.embedded.postgres import Access
from mesh.identity.keys import sign_token
from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import (
    TenantRemovalServiceStub as InventoryRemovalStub,
)
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, RemoveTenantResponse
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
        assert again == RemoveTenantResponse(done=True)


def platform_token(keys: Path) -> str:
    return sign_token(
        keys, subject="ann", tenant=OPERATOR, roles=["platform"], tenants=[LEAVING, STAYING]
    )


@pytest.fixture
def security(tmp_path: Path) -> Iterator[World]:
    with security_database() as access, served(access, tmp_path) as world:
        plant_security(world)
        yield world


def removal_of(world: World) -> Any:
    return world.stub_of(OPERATOR, SecurityRemovalStub, "platform", tenants=(LEAVING, STAYING))


def removed_whole(stub: Any) -> None:
    """Send the request until all is done."""
    end = time.monotonic() + PATIENCE
    while not stub.RemoveTenant(asked(LEAVING)).done:
        assert time.monotonic() < end


def test_the_security_service_removes_every_kind_its_log_and_its_feed(security: World) -> None:
    before = counted(security.access, STAYING)
    stub = removal_of(security)
    plan = by_collection(stub.RemoveTenant(asked(LEAVING, count=True)).remaining)
    assert set(KINDS) - {"iam_audit_logs"} <= set(plan)
    done = stub.RemoveTenant(asked(LEAVING))
    assert set(KINDS) - {"iam_audit_logs"} <= set(by_collection(done.removed))
    removed_whole(stub)
    assert counted(security.access, LEAVING) == {}
    after = counted(security.access, STAYING)
    still = {name: rows for name, rows in before.items() if name not in _MOVING}
    assert still.items() <= after.items()
    assert after["iam_audit_logs"] >= before.get("iam_audit_logs", 0)
    # The chain of who stays is whole, and a tenant that is gone has none.
    assert stub.RemoveTenant(asked(LEAVING, count=True)) == RemoveTenantResponse(done=True)


def test_a_removal_that_was_killed_is_gone_on_with(security: World, tmp_path: Path) -> None:
    kept = counted(security.access, STAYING)
    whole = sum(counted(security.access, LEAVING).values())
    stub = removal_of(security)

    def call() -> None:
        with pytest.raises(CallRefused):
            stub.RemoveTenant(asked(LEAVING), timeout=PATIENCE)

    caller = threading.Thread(target=call)
    caller.start()
    end = time.monotonic() + PATIENCE
    while sum(counted(security.access, LEAVING).values()) >= whole:
        assert time.monotonic() < end
    os.kill(security.pid, signal.SIGKILL)
    caller.join(PATIENCE)
    (tmp_path / "again").mkdir()
    with served(security.access, tmp_path / "again") as again:
        removed_whole(removal_of(again))
        assert counted(security.access, LEAVING) == {}
        after = counted(security.access, STAYING)
        still = {name: rows for name, rows in kept.items() if name not in _MOVING}
        assert still.items() <= after.items()


def test_who_may_not_and_what_is_not_confirmed(security: World) -> None:
    before = counted(security.access, LEAVING)
    still = {name: rows for name, rows in before.items() if name not in _MOVING}
    own = security.stub_of(LEAVING, SecurityRemovalStub, "admin")
    for stub, request, reason in (
        (own, asked(LEAVING), "PERMISSION_MISSING"),
        (removal_of(security), asked(LEAVING, STAYING), "FIELD_INVALID"),
        (removal_of(security), asked("gamma"), "RESOURCE_NOT_FOUND"),
    ):
        with pytest.raises(CallRefused) as refused:
            stub.RemoveTenant(request)
        assert refused.value.reason == reason
    assert still.items() <= counted(security.access, LEAVING).items()
