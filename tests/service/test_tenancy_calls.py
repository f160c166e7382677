"""What RPCs of tenants, providers and accounts cost: calls of DynamoDB, and never a scan."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mesh.errors import DependencyUnavailable
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import provider_service_pb2 as providers
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh_client.refusal import CallRefused
from services.tenancy.store.port import Conflict
from services.tenancy.store.recorder import StoreCall
from tests.service.tenancy_world import World, role_account, tenancy_world

MOST_CALLS = 2
"""Of DynamoDB, in an ordinary RPC (1.3 ms of CPU by boto3)."""
WITH_SECRETS = 1
"""More, where the credential of an account is looked for."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def calls_of(world: World, call: Awaitable[Any]) -> list[StoreCall]:
    """Make a call; give the calls of the store that it took."""
    before = len(world.recorder.calls)
    await call
    return world.recorder.calls[before:]


async def test_an_ordinary_call_takes_two_calls_of_the_store_at_most(world: World) -> None:
    tenant = await world.tenant()
    parent = f"tenants/{tenant}"
    provider = await world.provider(tenant)
    account = await world.account(tenant, 1)
    made_by, clouds, own = world.accounts(tenant), world.providers(tenant), world.tenants(tenant)
    again = {"name": account.name}
    ordinary: list[Callable[[], Awaitable[Any]]] = [
        lambda: own.GetTenant(tenants.GetTenantRequest(name=parent)),
        lambda: own.UpdateTenant(
            tenants.UpdateTenantRequest(tenant=Tenant(name=parent, description="x"))
        ),
        lambda: own.GetTenantQuotas(tenants.GetTenantQuotasRequest(name=f"{parent}/quotas")),
        lambda: world.platform().LookupTenant(
            tenants.LookupTenantRequest(tenant_name="Tenant No 1")
        ),
        lambda: world.platform().ListTenants(tenants.ListTenantsRequest()),
        lambda: clouds.GetProvider(providers.GetProviderRequest(name=provider.name)),
        lambda: clouds.ListProviders(providers.ListProvidersRequest(parent=parent)),
        lambda: world.provider(tenant, "second"),
        lambda: clouds.DeleteProvider(
            providers.DeleteProviderRequest(name=f"{parent}/providers/second")
        ),
        lambda: made_by.CreateAccount(
            accounts.CreateAccountRequest(parent=parent, account=role_account(tenant, 2))
        ),
        lambda: made_by.GetAccount(accounts.GetAccountRequest(**again)),
        lambda: made_by.ListAccounts(accounts.ListAccountsRequest(parent=parent)),
        lambda: made_by.ListAccounts(
            accounts.ListAccountsRequest(parent=parent, provider=provider.name)
        ),
        lambda: made_by.LookupAccount(
            accounts.LookupAccountRequest(
                parent=parent,
                provider_type=PROVIDER_TYPE_AWS,
                cloud_account_id=account.cloud_account_id,
            )
        ),
        lambda: made_by.UpdateAccount(
            accounts.UpdateAccountRequest(account=Account(name=account.name, description="x"))
        ),
        lambda: made_by.SuspendAccount(accounts.SuspendAccountRequest(**again)),
        lambda: made_by.ResumeAccount(accounts.ResumeAccountRequest(**again)),
    ]
    for call in ordinary:
        taken = await calls_of(world, call())
        assert 1 <= len(taken) <= MOST_CALLS, [each.operation for each in taken]
    with_secrets: list[Callable[[], Awaitable[Any]]] = [
        lambda: made_by.DeleteAccount(accounts.DeleteAccountRequest(**again)),
        lambda: made_by.UndeleteAccount(accounts.UndeleteAccountRequest(**again)),
    ]
    for call in with_secrets:
        taken = await calls_of(world, call())
        assert 1 <= len(taken) <= MOST_CALLS + WITH_SECRETS, [each.operation for each in taken]
    assert "Scan" not in {each.operation for each in world.recorder.calls}


async def test_every_access_stays_in_the_partitions_of_its_tenant(world: World) -> None:
    """As IAM asks by dynamodb:LeadingKeys; what is of all tenants is the platform's."""
    tenant = await world.tenant()
    await world.provider(tenant)
    account = await world.account(tenant)
    stub = world.accounts(tenant)
    began = len(world.recorder.calls)
    await stub.DeleteAccount(accounts.DeleteAccountRequest(name=account.name))
    await stub.UndeleteAccount(accounts.UndeleteAccountRequest(name=account.name))
    await stub.ListAccounts(accounts.ListAccountsRequest(parent=f"tenants/{tenant}"))
    keys = {access.leading_key for call in world.recorder.calls[began:] for access in call.accesses}
    assert {key.partition("#")[0] for key in keys} == {tenant}


async def test_a_store_that_fails_now_and_then_counts_right_in_the_end(world: World) -> None:
    """Whatever was refused, lost or done without an answer: quotas are the accounts there are."""
    tenant = await world.tenant()
    await world.provider(tenant)
    parent, chance = f"tenants/{tenant}", Random(7)
    faults = world.faults
    faults.throttled = faults.unsent = faults.unanswered = faults.conflicting = 0.08
    made: list[str] = []
    for number in range(1, 40):
        given = role_account(tenant, number)
        nameless = world.parts.named(tenant, "", given)
        with contextlib.suppress(DependencyUnavailable, Conflict):
            account = await world.parts.accounts.create(tenant, given, nameless)
            made.append(account.name.rpartition("/")[2])
        with contextlib.suppress(DependencyUnavailable, Conflict):
            if made and chance.random() < 0.4:
                gone = made.pop(chance.randrange(len(made)))
                await world.parts.accounts.delete(tenant, gone, "", nameless)
    faults.throttled = faults.unsent = faults.unanswered = faults.conflicting = 0.0
    quotas = await world.tenants(tenant).GetTenantQuotas(
        tenants.GetTenantQuotasRequest(name=f"{parent}/quotas")
    )
    listed = await world.accounts(tenant).ListAccounts(accounts.ListAccountsRequest(parent=parent))
    provider = await world.providers(tenant).GetProvider(
        providers.GetProviderRequest(name=f"{parent}/providers/aws")
    )
    assert quotas.accounts == len(listed.accounts) == provider.account_count > 0


async def test_a_throttled_store_is_told_as_unavailable(world: World) -> None:
    tenant = await world.tenant()
    world.faults.throttled = 1.0
    with pytest.raises(CallRefused) as refused:
        await world.tenants(tenant).CreateTenant(tenants.CreateTenantRequest())
    assert refused.value.reason == "PERMISSION_MISSING"
    with pytest.raises(CallRefused) as refused:
        await world.platform().CreateTenant(
            tenants.CreateTenantRequest(tenant=Tenant(tenant_name="x"), tenant_id="other")
        )
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert refused.value.metadata["dependency"] == "store"
