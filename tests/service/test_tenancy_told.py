"""What is refused tells what to do about it, whoever reads it at night."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from secmesh.tenancy.v1 import account_pb2, account_service_pb2, provider_pb2
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.schedule_service_pb2 import CreateScheduleRequest, UpdateScheduleRequest
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.tenant_pb2 import TenantQuotas
from secmesh.tenancy.v1.tenant_service_pb2 import LookupTenantRequest, UpdateTenantQuotasRequest
from secmesh_client.refusal import CallRefused
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as world:
        yield world


async def refusal(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await call
    return refused.value


async def test_the_status_of_an_account_is_told_with_the_way_out(world: World) -> None:
    tenant = await world.tenant()
    await world.provider(tenant)
    account = (await world.account(tenant)).name
    vend = credentials.VendCredentialsRequest(name=account, purpose="scan")

    async def told() -> str:
        found = await refusal(world.credentials(tenant).VendCredentials(vend))
        assert found.reason == "ACCOUNT_STATUS_UNFIT"
        return found.message.removeprefix(account)

    assert await told() == " is pending; verify it first"
    calls = world.accounts(tenant)
    await calls.SuspendAccount(account_service_pb2.SuspendAccountRequest(name=account))
    assert await told() == " is suspended; resume it first"
    await calls.DeleteAccount(account_service_pb2.DeleteAccountRequest(name=account))
    assert await told() == " is deleted; undelete it first"


async def test_what_was_looked_for_and_is_not_there_is_named(world: World) -> None:
    tenant = await world.tenant()
    request = account_service_pb2.LookupAccountRequest(
        parent=f"tenants/{tenant}",
        provider_type=provider_pb2.PROVIDER_TYPE_AWS,
        cloud_account_id="210987654321",
    )
    found = await refusal(world.accounts(tenant).LookupAccount(request))
    assert "no account 210987654321" in found.message
    asked = LookupTenantRequest(tenant_name="Nobody")
    nobody = await refusal(world.platform().LookupTenant(asked))
    assert (nobody.reason, nobody.message) == ("RESOURCE_NOT_FOUND", "no tenant is called so")


async def test_all_that_is_missing_is_told_at_once(world: World) -> None:
    tenant = await world.tenant()
    parent = f"tenants/{tenant}"
    empty = CreateProviderRequest(parent=parent, provider=provider_pb2.Provider())
    found = await refusal(world.providers(tenant).CreateProvider(empty))
    for field in ("provider.provider_type", "provider.provider_name"):
        assert f"{field}: must be set" in found.message
    enum = account_service_pb2.LookupAccountRequest(parent=parent, cloud_account_id="1")
    found = await refusal(world.accounts(tenant).LookupAccount(enum))
    assert found.message == "provider_type: must be set"


@pytest.mark.parametrize("name", [" ", "two\nlines", "\x1b[31mred", " led"])
async def test_names_of_schedules_are_one_line_that_people_can_read(
    world: World, name: str
) -> None:
    tenant = await world.tenant()
    schedule = Schedule(account_id="a", schedule_name=name, expression="@daily")
    request = CreateScheduleRequest(parent=f"tenants/{tenant}", schedule=schedule)
    stub: Any = ScheduleServiceStub(world.channel(tenant))
    found = await refusal(stub.CreateSchedule(request))
    assert (found.reason, "schedule.schedule_name" in found.message) == ("FIELD_INVALID", True)


async def test_purposes_forge_no_lines_of_the_access_log(world: World) -> None:
    tenant = await world.tenant()
    name = f"tenants/{tenant}/accounts/a"
    calls = world.credentials(tenant)
    vend = credentials.VendCredentialsRequest(name=name, purpose="scan\nother")
    retrieve = credentials.RetrieveCredentialRequest(name=f"{name}/credential", purpose="\x1b[2J")
    for call in (calls.VendCredentials(vend), calls.RetrieveCredential(retrieve)):
        found = await refusal(call)
        assert (found.reason, "purpose" in found.message) == ("FIELD_INVALID", True)


async def test_collections_are_those_of_the_inventory(world: World) -> None:
    tenant = await world.tenant()
    await world.provider(tenant)
    account = (await world.account(tenant)).name.rpartition("/")[2]
    stub: Any = ScheduleServiceStub(world.channel(tenant))
    schedule = Schedule(account_id=account, schedule_name="n", expression="@daily")
    request = CreateScheduleRequest(parent=f"tenants/{tenant}", schedule=schedule)
    request.schedule.collections.extend(["s3_buckets", "s3_bucket"])
    found = await refusal(stub.CreateSchedule(request))
    assert "schedule.collections[1]: 's3_bucket' is no collection" in found.message
    request.schedule.collections.pop()
    made = await stub.CreateSchedule(request)
    change = UpdateScheduleRequest(schedule=Schedule(name=made.name, collections=["verdicts"]))
    assert (await refusal(stub.UpdateSchedule(change))).reason == "FIELD_INVALID"
    change.schedule.collections[:] = ["iam_users"]
    assert list((await stub.UpdateSchedule(change)).collections) == ["iam_users"]


async def test_a_quota_is_told_with_what_gives_more(world: World) -> None:
    tenant = await world.tenant()
    quotas = TenantQuotas(name=f"tenants/{tenant}/quotas", max_providers=0)
    update = UpdateTenantQuotasRequest(
        quotas=quotas, update_mask=FieldMask(paths=["max_providers"])
    )
    await world.platform(tenant).UpdateTenantQuotas(update)
    with pytest.raises(CallRefused) as refused:
        await world.provider(tenant)
    assert refused.value.reason == "QUOTA_EXCEEDED"
    told = f"tenants/{tenant} may have 0 providers and has as many; UpdateTenantQuotas gives more"
    assert refused.value.message == told


def test_each_status_that_stops_a_call_has_its_way_out() -> None:
    from services.tenancy.account_status import ENTERED, word_of
    from services.tenancy.errors import AccountStatusUnfit

    for status in account_pb2.AccountStatus.values():
        if status and status not in ENTERED:
            assert "; " in AccountStatusUnfit("x", word_of(status)).message
