"""What somebody planted beside the service leads no call into another tenant."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.message import Message

from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1 import schedule_service_pb2 as schedules
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh_client.refusal import CallRefused
from services.tenancy.scheduling.scheduler import Scheduler
from services.tenancy.store.items import VERSION
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Key, Put, Store
from services.tenancy.store.tables import PK, SK, Table
from services.tenancy.store.values import Item
from tests.service import schedule_story
from tests.service.credential_story import Story, key_story
from tests.service.tenancy_stores import new_tenant
from tests.service.tenancy_world import World, tenancy_world

MARK = "planted-and-not-to-be-seen"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def refusal(call: Any) -> str:
    with pytest.raises(CallRefused) as refused:
        await call
    return refused.value.reason


async def planted(world: World, there: Key, here: Key, **said: str) -> None:
    """Copy an item to another place, with some attributes that say otherwise."""
    found = await world.parts.store.get(there)
    assert found is not None
    attributes: Item = {name: value for name, value in found.items() if name not in (PK, SK)}
    attributes.update(said)
    await world.parts.store.write(Put(here, attributes))


def kept(world: World, tenant: str) -> list[Item]:
    store: Any = world.parts.store
    items = [item for table in Table for item in store.items(table)]
    return [item for item in items if str(item[PK]).partition("#")[0] == tenant]


async def test_an_item_that_names_another_tenant_is_as_absent(
    tenancy_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    beta, acme = TenantScope(new_tenant()), TenantScope(new_tenant())
    told: Item = {"tenant_id": acme.tenant, "description": MARK, VERSION: 1}
    key = beta.account("a1")
    await tenancy_store.write(Put(key, told | beta.by_provider("aws", "ACTIVE", "a1")))
    own: Item = {"tenant_id": beta.tenant, VERSION: 1}
    await tenancy_store.write(Put(beta.account("a2"), own))
    assert await tenancy_store.get(key) is None
    first, second = await tenancy_store.get_many([key, beta.account("a2")])
    assert first is None
    assert second is not None
    assert second["tenant_id"] == beta.tenant
    page = await tenancy_store.query(beta.accounts())
    assert [item["sk"] for item in page.items] == ["A#a2"]
    assert not (await tenancy_store.query(beta.accounts_of_provider("aws"))).items
    assert any(beta.tenant in each.getMessage() for each in caplog.records)
    assert MARK not in repr([vars(each) for each in caplog.records])


async def test_no_call_goes_by_an_account_that_names_another_tenant(world: World) -> None:
    acme, beta = await key_story(world), await key_story(world)
    there, here = TenantScope(acme.tenant), TenantScope(beta.tenant)
    account = acme.account_id
    # What says acme, in beta's partition: an update of it would be one of acme's account.
    await planted(world, there.account(account), here.account(account))
    before = kept(world, acme.tenant)
    name = f"tenants/{beta.tenant}/accounts/{account}"
    stub = world.accounts(beta.tenant)
    calls: list[tuple[str, Message]] = [
        ("GetAccount", accounts.GetAccountRequest(name=name)),
        ("DeleteAccount", accounts.DeleteAccountRequest(name=name)),
        ("UndeleteAccount", accounts.UndeleteAccountRequest(name=name)),
        ("SuspendAccount", accounts.SuspendAccountRequest(name=name)),
        (
            "UpdateAccount",
            accounts.UpdateAccountRequest(account=Account(name=name, description="mine")),
        ),
    ]
    for method, request in calls:
        assert await refusal(getattr(stub, method)(request)) == "RESOURCE_NOT_FOUND", method
    listed = await stub.ListAccounts(
        accounts.ListAccountsRequest(parent=f"tenants/{beta.tenant}", show_deleted=True)
    )
    assert [each.name for each in listed.accounts] == [beta.account.name]
    assert kept(world, acme.tenant) == before


async def stolen(world: World, acme: Story, beta: Story) -> Story:
    """Give beta an account and a credential that lead to acme's secret, by their ids."""
    there, here = TenantScope(acme.tenant), TenantScope(beta.tenant)
    account, said = acme.account_id, {"tenant_id": beta.tenant}
    own = {"provider": f"tenants/{beta.tenant}/providers/aws", "status": "ACCOUNT_STATUS_ACTIVE"}
    await planted(world, there.account(account), here.account(account), **own, **said)
    await planted(world, there.credential(account), here.credential(account), **said)
    name = f"tenants/{beta.tenant}/accounts/{account}"
    taken = Account(name=name, cloud_account_id=acme.account.cloud_account_id)
    return Story(world, beta.tenant, taken)


async def test_no_call_uses_a_secret_whose_tags_name_another_tenant(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    acme, beta = await key_story(world), await key_story(world)
    key = acme.new_key()
    await acme.store(key)
    thief = await stolen(world, acme, beta)
    secret = await world.secrets.describe(acme.secret_name)
    name: dict[str, Any] = {"name": thief.name}
    calls: list[tuple[str, Message]] = [
        (
            "RetrieveCredential",
            credentials.RetrieveCredentialRequest(purpose="a look", **name),
        ),
        (
            "VendCredentials",
            credentials.VendCredentialsRequest(name=thief.account.name, purpose="a look"),
        ),
        (
            "RotateCredential",
            credentials.RotateCredentialRequest(aws_access_key=thief.new_key(), **name),
        ),
        ("RollbackCredential", credentials.RollbackCredentialRequest(version=1, **name)),
    ]
    with caplog.at_level(logging.INFO):
        for method, request in calls:
            reason = await refusal(getattr(thief.calls, method)(request))
            assert reason == "SECRET_STORE_REFUSED", (method, reason)
        # There is nothing of beta's to delete, and nothing to bring back.
        await thief.calls.DeleteCredential(credentials.DeleteCredentialRequest(**name))
        reason = await refusal(
            thief.calls.UndeleteCredential(credentials.UndeleteCredentialRequest(**name))
        )
    assert reason == "RESOURCE_NOT_FOUND"
    assert await world.secrets.describe(acme.secret_name) == secret
    asked = credentials.RetrieveCredentialRequest(name=acme.name, purpose="scan")
    found = await acme.calls.RetrieveCredential(asked)
    assert found.credentials["secret_access_key"] == key.secret_access_key
    told = repr([vars(each) for each in caplog.records])
    assert key.secret_access_key not in told
    assert key.access_key_id not in told


async def test_an_account_takes_no_secret_of_another_tenant_along(world: World) -> None:
    acme, beta = await key_story(world), await key_story(world)
    await acme.store(acme.new_key())
    thief = await stolen(world, acme, beta)
    guard = TenantScope(beta.tenant).account_guard("aws", thief.account.cloud_account_id)
    await world.parts.store.write(Put(guard, {"owner": thief.account_id}))
    gone = accounts.DeleteAccountRequest(name=thief.account.name)
    back = accounts.UndeleteAccountRequest(name=thief.account.name)
    # Deleted while acme's is there, brought back while it is deleted.
    await world.accounts(beta.tenant).DeleteAccount(gone)
    assert not (await world.secrets.describe(acme.secret_name)).deleted
    await acme.calls.DeleteCredential(credentials.DeleteCredentialRequest(name=acme.name))
    await refusal(world.accounts(beta.tenant).UndeleteAccount(back))
    assert (await world.secrets.describe(acme.secret_name)).deleted


async def test_no_schedule_runs_for_another_tenants_account(world: World) -> None:
    acme, account, theirs = await schedule_story.one(world, "rate(1 hour)")
    beta, _, ours = await schedule_story.one(world, "rate(1 hour)")
    identity = schedule_story.id_of(theirs)
    there, here = TenantScope(acme).schedule(identity), TenantScope(beta).schedule("planted")
    # It says acme, and stands in the partition of beta, among what is due.
    await planted(world, there, here, schedule_id="planted")
    # It is beta's own, and names an account of acme.
    own = TenantScope(beta).schedule("foreign")
    await planted(world, there, own, tenant_id=beta, schedule_id="foreign")
    world.clock.turn(2 * 3600)
    scheduler = Scheduler(world.parts.store, world.clock, Random(1))
    await scheduler.tick()
    store: Any = world.parts.store
    fired = {
        (str(item[PK]).partition("#")[0], item["schedule_id"])
        for item in store.items(Table.EXECUTIONS)
    }
    assert (beta, "planted") not in fired
    assert (acme, "planted") not in fired
    assert {(acme, identity), (beta, schedule_story.id_of(ours))} <= fired
    stub = schedule_story.stub(world, beta)
    for name in ("planted", "foreign"):
        run = schedules.TriggerScheduleRequest(name=f"tenants/{beta}/schedules/{name}")
        assert await refusal(stub.TriggerSchedule(run)) == "RESOURCE_NOT_FOUND"
    given = Schedule(account_id=account, schedule_name="Theirs", expression="@daily")
    made = schedules.CreateScheduleRequest(parent=f"tenants/{beta}", schedule=given)
    assert await refusal(stub.CreateSchedule(made)) == "RESOURCE_NOT_FOUND"
