"""Tenants: made by the platform, unique, deleted for thirty days, each within its quotas."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1 import tenant_pb2 as messages
from secmesh.tenancy.v1 import tenant_service_pb2 as pb
from secmesh_client.refusal import CallRefused
from tests.service.tenancy_world import START, World, tenancy_world

DAYS = 24 * 3600


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


def create(tenant: str, tenant_name: str, request_id: str = "") -> pb.CreateTenantRequest:
    given = messages.Tenant(tenant_name=tenant_name)
    return pb.CreateTenantRequest(tenant=given, tenant_id=tenant, request_id=request_id)


async def test_a_tenant_is_created_read_and_found_by_its_name(world: World) -> None:
    made = await world.platform().CreateTenant(create("acme", "Acme Corp"))
    assert made.name == "tenants/acme"
    assert made.status == messages.TENANT_STATUS_ACTIVE
    assert made.create_time == made.update_time == Timestamp(seconds=START // 1_000_000)
    assert made.etag
    read = await world.tenants("acme").GetTenant(pb.GetTenantRequest(name="tenants/acme"))
    assert read == made
    asked = pb.LookupTenantRequest(tenant_name="  aCME   cORP ")
    assert await world.platform().LookupTenant(asked) == made


async def test_only_the_platform_makes_tenants(world: World) -> None:
    with pytest.raises(CallRefused) as refused:
        await world.tenants("acme").CreateTenant(create("acme", "Acme"))
    assert refused.value.reason == "PERMISSION_MISSING"
    with pytest.raises(CallRefused) as refused:
        await world.tenants("acme").ListTenants(pb.ListTenantsRequest())
    assert refused.value.reason == "PERMISSION_MISSING"


async def test_what_is_said_of_a_new_tenant_beside_its_own_fields_counts_for_nothing(
    world: World,
) -> None:
    given = messages.Tenant(
        name="tenants/other",
        tenant_name="Acme",
        status=messages.TENANT_STATUS_OFFBOARDED,
        etag="v7",
    )
    request = pb.CreateTenantRequest(tenant=given, tenant_id="acme")
    made = await world.platform().CreateTenant(request)
    assert (made.name, made.status) == ("tenants/acme", messages.TENANT_STATUS_ACTIVE)


async def test_ids_and_names_are_unique_whatever_their_case(world: World) -> None:
    await world.platform().CreateTenant(create("acme", "Acme Corp"))
    with pytest.raises(CallRefused) as refused:
        await world.platform().CreateTenant(create("acme", "Other"))
    assert refused.value.reason == "RESOURCE_EXISTS"
    with pytest.raises(CallRefused) as refused:
        await world.platform().CreateTenant(create("acme-2", "ACME corp"))
    assert refused.value.reason == "VALUE_TAKEN"
    assert refused.value.metadata["field"] == "tenant.tenant_name"
    assert "acme" not in str(refused.value).lower()


async def test_of_many_who_take_one_name_at_once_one_gets_it(world: World) -> None:
    calls = [world.platform().CreateTenant(create(f"acme-{number}", "Acme")) for number in range(8)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    made = [each for each in ended if isinstance(each, messages.Tenant)]
    refused = [each for each in ended if isinstance(each, CallRefused)]
    assert len(made) == 1
    assert {each.reason for each in refused} == {"VALUE_TAKEN"}
    asked = pb.LookupTenantRequest(tenant_name="Acme")
    assert await world.platform().LookupTenant(asked) == made[0]


@pytest.mark.parametrize(
    ("tenant", "tenant_name", "field"),
    [
        ("Acme", "Acme", "tenant_id"),
        ("ab", "Acme", "tenant_id"),
        ("acme", "", "tenant.tenant_name"),
        ("acme", " Acme", "tenant.tenant_name"),
        ("acme", "Ac\nme", "tenant.tenant_name"),
        ("acme", "A" * 129, "tenant.tenant_name"),
    ],
)
async def test_bad_fields_are_named(
    world: World, tenant: str, tenant_name: str, field: str
) -> None:
    with pytest.raises(CallRefused) as refused:
        await world.platform().CreateTenant(create(tenant, tenant_name))
    assert refused.value.reason == "FIELD_INVALID"
    assert field in str(refused.value)


async def test_a_request_that_is_sent_again_is_done_once(world: World) -> None:
    request = create("acme", "Acme", str(uuid.uuid4()))
    first = await world.platform().CreateTenant(request)
    assert await world.platform().CreateTenant(request) == first
    request.tenant.tenant_name = "Other"
    with pytest.raises(CallRefused) as refused:
        await world.platform().CreateTenant(request)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_an_update_changes_what_its_mask_says(world: World) -> None:
    tenant = await world.tenant()
    stub, name = world.tenants(tenant), f"tenants/{tenant}"
    world.clock.turn(5)
    given = messages.Tenant(name=name, description="Rocket skates", tenant_name="Ignored")
    mask = FieldMask(paths=["description"])
    changed = await stub.UpdateTenant(pb.UpdateTenantRequest(tenant=given, update_mask=mask))
    assert (changed.description, changed.tenant_name) == ("Rocket skates", "Tenant No 1")
    assert changed.update_time.seconds == changed.create_time.seconds + 5
    # Without a mask what is set changes, and the old name is free for others.
    given = messages.Tenant(name=name, tenant_name="Acme", etag=changed.etag)
    renamed = await stub.UpdateTenant(pb.UpdateTenantRequest(tenant=given))
    assert (renamed.tenant_name, renamed.description) == ("Acme", "Rocket skates")
    await world.platform().CreateTenant(create("next", "tenant no 1"))
    with pytest.raises(CallRefused) as refused:
        await stub.UpdateTenant(pb.UpdateTenantRequest(tenant=given))
    assert refused.value.reason == "ETAG_MISMATCH"
    taken = messages.Tenant(name=name, tenant_name="Tenant No 1")
    with pytest.raises(CallRefused) as refused:
        await stub.UpdateTenant(pb.UpdateTenantRequest(tenant=taken))
    assert refused.value.reason == "VALUE_TAKEN"


@pytest.mark.parametrize("path", ["tenant_nam", "quotas.max_accounts", "*,description"])
async def test_a_mask_that_names_no_field_is_refused(world: World, path: str) -> None:
    tenant = await world.tenant()
    given = messages.Tenant(name=f"tenants/{tenant}", description="x")
    request = pb.UpdateTenantRequest(tenant=given, update_mask=FieldMask(paths=path.split(",")))
    with pytest.raises(CallRefused) as refused:
        await world.tenants(tenant).UpdateTenant(request)
    assert refused.value.reason == "MASK_INVALID"


async def test_a_field_that_must_be_there_cannot_be_emptied(world: World) -> None:
    tenant = await world.tenant()
    mask = FieldMask(paths=["tenant_name"])
    given = messages.Tenant(name=f"tenants/{tenant}")
    with pytest.raises(CallRefused) as refused:
        await world.tenants(tenant).UpdateTenant(
            pb.UpdateTenantRequest(tenant=given, update_mask=mask)
        )
    assert "tenant.tenant_name: must be set" in str(refused.value)


async def test_of_two_writers_who_read_the_same_one_is_told(world: World) -> None:
    tenant = await world.tenant()
    stub, name = world.tenants(tenant), f"tenants/{tenant}"
    read = await stub.GetTenant(pb.GetTenantRequest(name=name))
    updates = [
        pb.UpdateTenantRequest(
            tenant=messages.Tenant(name=name, description=f"{number}", etag=read.etag)
        )
        for number in range(6)
    ]
    ended = await asyncio.gather(*map(stub.UpdateTenant, updates), return_exceptions=True)
    assert sum(isinstance(each, messages.Tenant) for each in ended) == 1
    assert {each.reason for each in ended if isinstance(each, CallRefused)} == {"ETAG_MISMATCH"}


async def test_a_deleted_tenant_is_closed_and_comes_back(world: World) -> None:
    tenant = await world.tenant()
    name, stub = f"tenants/{tenant}", world.platform(tenant)
    await world.provider(tenant)
    deleted = await stub.DeleteTenant(pb.DeleteTenantRequest(name=name))
    assert deleted.status == messages.TENANT_STATUS_DELETED
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * DAYS
    with pytest.raises(CallRefused) as refused:
        await world.provider(tenant, "second")
    assert (refused.value.reason, refused.value.metadata["status"]) == (
        "TENANT_INACTIVE",
        "deleted",
    )
    with pytest.raises(CallRefused) as refused:
        await world.account(tenant)
    assert refused.value.reason == "TENANT_INACTIVE"
    listed = await stub.ListTenants(pb.ListTenantsRequest(status=deleted.status))
    assert [each.name for each in listed.tenants] == [name]
    restored = await stub.UndeleteTenant(pb.UndeleteTenantRequest(name=name, etag=deleted.etag))
    assert restored.status == messages.TENANT_STATUS_ACTIVE
    assert not restored.HasField("purge_time")
    await world.account(tenant)
    with pytest.raises(CallRefused) as refused:
        await stub.UndeleteTenant(pb.UndeleteTenantRequest(name=name))
    assert refused.value.reason == "RESOURCE_NOT_DELETED"


async def test_a_tenant_cannot_come_back_after_thirty_days(world: World) -> None:
    tenant = await world.tenant()
    stub, name = world.platform(tenant), f"tenants/{tenant}"
    await stub.DeleteTenant(pb.DeleteTenantRequest(name=name))
    world.clock.turn(30 * DAYS)
    with pytest.raises(CallRefused) as refused:
        await stub.UndeleteTenant(pb.UndeleteTenantRequest(name=name))
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    with pytest.raises(CallRefused) as refused:
        await world.platform().CreateTenant(create(tenant, "Another"))
    assert refused.value.reason == "RESOURCE_EXISTS"


async def test_tenants_are_listed_by_status_page_by_page(world: World) -> None:
    for _ in range(5):
        world.clock.turn(1)
        await world.tenant()
    names, token = [], ""
    while True:
        request = pb.ListTenantsRequest(page_size=2, page_token=token)
        page = await world.platform().ListTenants(request)
        assert len(page.tenants) <= 2
        names += [each.name for each in page.tenants]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"tenants/tenant-{number}" for number in range(1, 6)]
    first = await world.platform().ListTenants(pb.ListTenantsRequest(page_size=2))
    other = pb.ListTenantsRequest(
        status=messages.TENANT_STATUS_DELETED, page_token=first.next_page_token
    )
    with pytest.raises(CallRefused) as refused:
        await world.platform().ListTenants(other)
    assert refused.value.reason == "PAGE_TOKEN_INVALID"


async def test_quotas_are_told_and_set_by_the_platform(world: World) -> None:
    tenant = await world.tenant()
    name = f"tenants/{tenant}/quotas"
    asked = pb.GetTenantQuotasRequest(name=name)
    quotas = await world.tenants(tenant).GetTenantQuotas(asked)
    assert (quotas.name, quotas.max_providers, quotas.providers) == (name, 100, 0)
    given = messages.TenantQuotas(name=name, max_providers=1, max_accounts=0, providers=7)
    request = pb.UpdateTenantQuotasRequest(quotas=given)
    with pytest.raises(CallRefused) as refused:
        await world.tenants(tenant).UpdateTenantQuotas(request)
    assert refused.value.reason == "PERMISSION_MISSING"
    await world.platform(tenant).UpdateTenantQuotas(request)
    await world.provider(tenant)
    with pytest.raises(CallRefused) as refused:
        await world.provider(tenant, "second")
    assert refused.value.reason == "QUOTA_EXCEEDED"
    assert refused.value.metadata["quota"] == "providers"
    assert refused.value.metadata["limit"] == "1"
    with pytest.raises(CallRefused) as refused:
        await world.account(tenant)
    assert refused.value.metadata["limit"] == "0"
    quotas = await world.tenants(tenant).GetTenantQuotas(asked)
    assert (quotas.providers, quotas.max_schedules) == (1, 10_000)
