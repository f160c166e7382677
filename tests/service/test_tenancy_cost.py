"""CostService as it is called."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.account_service_pb2 import (
    GetAccountRequest,
    ListAccountsRequest,
    UpdateAccountRequest,
)
from secmesh.tenancy.v1.cost_service_pb2 import CostEstimate, EstimateCostRequest
from secmesh.tenancy.v1.cost_service_pb2_grpc import CostServiceStub
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest, ListProvidersRequest
from secmesh.tenancy.v1.tenant_service_pb2 import (
    GetTenantQuotasRequest,
    GetTenantRequest,
    ListTenantsRequest,
)
from secmesh_client import CallRefused
from services.tenancy.cost.budgets import CALLS_PER_RPC
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as made:
        yield made


async def estimate(world: World, by: str, request: EstimateCostRequest) -> CostEstimate:
    made: CostEstimate = await CostServiceStub(world.channel(by)).EstimateCost(request)
    return made


async def test_a_tenant_as_it_is(world: World) -> None:
    tenant = await world.tenant()
    await world.provider(tenant)
    for number in (1, 2, 3):
        await world.account(tenant, number)
    before = len(world.recorder.calls)
    found = await estimate(world, tenant, EstimateCostRequest(name=f"tenants/{tenant}"))
    assert len(world.recorder.calls) - before == 1
    writes = next(each for each in found.lines if each.item == "dynamodb.writes")
    assert writes.quantity == 3 * 30 * 22
    assert found.monthly_micro_usd == sum(
        each.monthly_micro_usd for each in found.lines if not each.shared
    )
    assert found.shared_monthly_micro_usd > found.monthly_micro_usd
    assert (found.price_region, found.price_date) == ("us-east-1", "2026-11-21")


async def test_a_tenant_as_it_might_be(world: World) -> None:
    tenant = await world.tenant()
    asked = EstimateCostRequest(
        name=f"tenants/{tenant}", accounts=100_000, secrets=5_000, runs_per_day=0
    )
    found = await estimate(world, tenant, asked)
    items = {each.item: each.monthly_micro_usd for each in found.lines if not each.shared}
    assert items["secretsmanager.secrets"] == 2_000_000_000
    assert "dynamodb.writes" not in items


async def test_another_tenant_is_not_found(world: World) -> None:
    mine, other = await world.tenant(), await world.tenant()
    for name in (f"tenants/{other}", "tenants/no-such-tenant"):
        with pytest.raises(CallRefused) as refused:
            await estimate(world, mine, EstimateCostRequest(name=name, accounts=1))
        assert refused.value.code is grpc.StatusCode.NOT_FOUND
        assert refused.value.reason == "RESOURCE_NOT_FOUND"
        assert name in refused.value.message


@pytest.mark.parametrize(
    ("field", "value"), [("accounts", -1), ("secrets", -1), ("runs_per_day", 289), ("shards", 0)]
)
async def test_what_cannot_be_is_refused(world: World, field: str, value: float) -> None:
    tenant = await world.tenant()
    request = EstimateCostRequest(name=f"tenants/{tenant}")
    setattr(request, field, value)
    with pytest.raises(CallRefused) as refused:
        await estimate(world, tenant, request)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.message.startswith(f"{field}: ")


async def test_ordinary_calls_need_two_calls_of_aws_at_most(world: World) -> None:
    """Each asked for twice: what is remembered for seconds, as limits are, is remembered then."""
    tenant = await world.tenant()
    await world.provider(tenant)
    account = await world.account(tenant)
    parent = f"tenants/{tenant}"
    platform, own = world.platform(tenant), world.tenants(tenant)
    clouds, accounts = world.providers(tenant), world.accounts(tenant)
    number = iter(range(100, 200))

    def new_provider() -> object:
        name = f"p{next(number)}"
        given = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name=name)
        request = CreateProviderRequest(parent=parent, provider=given, provider_id=name)
        return clouds.CreateProvider(request)

    def renamed() -> object:
        given = Account(name=account.name, account_name=f"Account {next(number)}")
        return accounts.UpdateAccount(UpdateAccountRequest(account=given))

    calls: dict[str, Callable[[], Any]] = {
        "GetTenant": lambda: own.GetTenant(GetTenantRequest(name=parent)),
        "ListTenants": lambda: platform.ListTenants(ListTenantsRequest()),
        "GetTenantQuotas": lambda: own.GetTenantQuotas(
            GetTenantQuotasRequest(name=f"{parent}/quotas")
        ),
        "CreateProvider": new_provider,
        "ListProviders": lambda: clouds.ListProviders(ListProvidersRequest(parent=parent)),
        "GetAccount": lambda: accounts.GetAccount(GetAccountRequest(name=account.name)),
        "ListAccounts": lambda: accounts.ListAccounts(ListAccountsRequest(parent=parent)),
        "UpdateAccount": renamed,
        "CreateAccount": lambda: world.account(tenant, next(number)),
    }
    needed = {}
    for name, call in calls.items():
        await call()
        before = len(world.recorder.calls)
        await call()
        needed[name] = len(world.recorder.calls) - before
    assert {name: count for name, count in needed.items() if count > CALLS_PER_RPC} == {}
    assert min(needed.values()) == 1
