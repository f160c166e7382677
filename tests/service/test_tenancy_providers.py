"""Providers: unique by vendor and name, deleted only when empty, purged after thirty days."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from secmesh.tenancy.v1 import provider_pb2 as messages
from secmesh.tenancy.v1 import provider_service_pb2 as pb
from secmesh.tenancy.v1.account_service_pb2 import DeleteAccountRequest
from secmesh.tenancy.v1.tenant_service_pb2 import GetTenantQuotasRequest
from secmesh_client.refusal import CallRefused
from tests.service.tenancy_world import World, tenancy_world

DAYS = 24 * 3600
AWS, AZURE = messages.PROVIDER_TYPE_AWS, messages.PROVIDER_TYPE_AZURE
UNSAID = messages.PROVIDER_TYPE_UNSPECIFIED


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, max_providers=3) as opened:
        yield opened


def create(
    tenant: str, name: str, vendor: messages.ProviderType.ValueType = AWS, **more: str
) -> pb.CreateProviderRequest:
    given = messages.Provider(provider_type=vendor, provider_name=name)
    return pb.CreateProviderRequest(parent=f"tenants/{tenant}", provider=given, **more)


async def count(world: World, tenant: str) -> int:
    asked = GetTenantQuotasRequest(name=f"tenants/{tenant}/quotas")
    quotas = await world.tenants(tenant).GetTenantQuotas(asked)
    return int(quotas.providers)


async def test_a_provider_is_created_and_read(world: World) -> None:
    tenant = await world.tenant()
    stub = world.providers(tenant)
    made = await stub.CreateProvider(create(tenant, "Production", provider_id="prod"))
    assert made.name == f"tenants/{tenant}/providers/prod"
    assert (made.status, made.account_count) == (messages.PROVIDER_STATUS_ACTIVE, 0)
    assert await stub.GetProvider(pb.GetProviderRequest(name=made.name)) == made
    nameless = await stub.CreateProvider(create(tenant, "Other"))
    assert nameless.name.rpartition("/")[2]


async def test_ids_and_names_are_unique_within_a_tenant(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    stub = world.providers(tenant)
    await stub.CreateProvider(create(tenant, "Prod", provider_id="one"))
    with pytest.raises(CallRefused) as refused:
        await stub.CreateProvider(create(tenant, "Else", provider_id="one"))
    assert refused.value.reason == "RESOURCE_EXISTS"
    with pytest.raises(CallRefused) as refused:
        await stub.CreateProvider(create(tenant, "PROD"))
    assert refused.value.metadata["field"] == "provider.provider_name"
    # Of another vendor or another tenant's it is another name.
    await stub.CreateProvider(create(tenant, "Prod", AZURE))
    await world.providers(other).CreateProvider(create(other, "Prod", provider_id="one"))
    assert (await count(world, tenant), await count(world, other)) == (2, 1)


async def test_what_is_missing_or_bad_is_named(world: World) -> None:
    tenant = await world.tenant()
    stub, parent = world.providers(tenant), f"tenants/{tenant}"
    for given, field in [
        (messages.Provider(provider_name="x"), "provider.provider_type"),
        (messages.Provider(provider_type=AWS), "provider.provider_name"),
        (messages.Provider(provider_type=UNSAID, provider_name="x"), "provider.provider_type"),
    ]:
        with pytest.raises(CallRefused) as refused:
            await stub.CreateProvider(pb.CreateProviderRequest(parent=parent, provider=given))
        assert refused.value.reason == "FIELD_INVALID"
        assert field in str(refused.value)
    with pytest.raises(CallRefused) as refused:
        await stub.CreateProvider(create(tenant, "x", provider_id="a#b"))
    assert "provider_id" in str(refused.value)


async def test_no_more_are_made_than_the_quota_allows_however_many_try(world: World) -> None:
    tenant = await world.tenant()
    calls = [
        world.providers(tenant).CreateProvider(create(tenant, f"Cloud {each}")) for each in range(9)
    ]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, messages.Provider) for each in ended) == 3
    assert {each.reason for each in ended if isinstance(each, CallRefused)} == {"QUOTA_EXCEEDED"}
    assert await count(world, tenant) == 3


async def test_a_tenant_that_was_never_made_has_nothing(world: World) -> None:
    with pytest.raises(CallRefused) as refused:
        await world.providers("nobody").CreateProvider(create("nobody", "x"))
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
    listed = await world.providers("nobody").ListProviders(
        pb.ListProvidersRequest(parent="tenants/nobody")
    )
    assert not listed.providers


async def test_an_update_renames_and_what_is_immutable_stays(world: World) -> None:
    tenant = await world.tenant()
    stub = world.providers(tenant)
    made = await stub.CreateProvider(create(tenant, "Prod"))
    given = messages.Provider(name=made.name, provider_name="Production", description="Live")
    changed = await stub.UpdateProvider(
        pb.UpdateProviderRequest(
            provider=given, update_mask=FieldMask(paths=["provider_name", "description"])
        )
    )
    assert (changed.provider_name, changed.description) == ("Production", "Live")
    assert changed.etag != made.etag
    await stub.CreateProvider(create(tenant, "Prod"))
    with pytest.raises(CallRefused) as refused:
        await stub.UpdateProvider(
            pb.UpdateProviderRequest(
                provider=messages.Provider(name=made.name, provider_name="prod")
            )
        )
    assert refused.value.reason == "VALUE_TAKEN"
    moved = messages.Provider(name=made.name, provider_type=AZURE)
    with pytest.raises(CallRefused) as refused:
        await stub.UpdateProvider(pb.UpdateProviderRequest(provider=moved))
    assert "provider.provider_type: cannot change" in str(refused.value)
    cleared = await stub.UpdateProvider(
        pb.UpdateProviderRequest(
            provider=messages.Provider(name=made.name),
            update_mask=FieldMask(paths=["description"]),
        )
    )
    assert not cleared.HasField("description")


async def test_a_provider_with_accounts_stays(world: World) -> None:
    tenant = await world.tenant()
    provider = await world.provider(tenant)
    account = await world.account(tenant)
    stub = world.providers(tenant)
    delete = pb.DeleteProviderRequest(name=provider.name, etag=provider.etag)
    with pytest.raises(CallRefused) as refused:
        await stub.DeleteProvider(delete)
    assert (refused.value.reason, refused.value.metadata["referrer"]) == (
        "RESOURCE_REFERENCED",
        "accounts",
    )
    # Accounts that come and go do not change the provider's own version.
    await world.accounts(tenant).DeleteAccount(DeleteAccountRequest(name=account.name))
    deleted = await stub.DeleteProvider(delete)
    assert (deleted.status, deleted.account_count) == (messages.PROVIDER_STATUS_DELETED, 0)


async def test_a_deleted_provider_comes_back_with_its_name(world: World) -> None:
    tenant = await world.tenant()
    provider = await world.provider(tenant)
    stub = world.providers(tenant)
    await stub.DeleteProvider(pb.DeleteProviderRequest(name=provider.name))
    assert await count(world, tenant) == 0
    read = await stub.GetProvider(pb.GetProviderRequest(name=provider.name))
    assert read.purge_time.seconds - read.delete_time.seconds == 30 * DAYS
    request = pb.ListProvidersRequest(parent=f"tenants/{tenant}")
    assert not (await stub.ListProviders(request)).providers
    request.show_deleted = True
    assert (await stub.ListProviders(request)).providers == [read]
    for again in (
        stub.DeleteProvider(pb.DeleteProviderRequest(name=provider.name)),
        stub.UpdateProvider(
            pb.UpdateProviderRequest(
                provider=messages.Provider(name=provider.name, description="x")
            )
        ),
        world.account(tenant),
    ):
        with pytest.raises(CallRefused) as refused:
            await again
        assert refused.value.reason == "RESOURCE_DELETED"
    with pytest.raises(CallRefused) as refused:
        await stub.CreateProvider(create(tenant, "Cloud AWS"))
    assert refused.value.reason == "VALUE_TAKEN"
    restored = await stub.UndeleteProvider(pb.UndeleteProviderRequest(name=provider.name))
    assert (restored.status, restored.HasField("delete_time")) == (provider.status, False)
    assert await count(world, tenant) == 1
    await world.account(tenant)


async def test_after_thirty_days_a_provider_is_gone_and_its_id_and_name_are_free(
    world: World,
) -> None:
    tenant = await world.tenant()
    provider = await world.provider(tenant)
    stub = world.providers(tenant)
    await stub.DeleteProvider(pb.DeleteProviderRequest(name=provider.name))
    world.clock.turn(30 * DAYS - 1)
    await stub.GetProvider(pb.GetProviderRequest(name=provider.name))
    world.clock.turn(1)
    for call in (
        stub.GetProvider(pb.GetProviderRequest(name=provider.name)),
        stub.UndeleteProvider(pb.UndeleteProviderRequest(name=provider.name)),
    ):
        with pytest.raises(CallRefused) as refused:
            await call
        assert refused.value.reason == "RESOURCE_NOT_FOUND"
    listed = pb.ListProvidersRequest(parent=f"tenants/{tenant}", show_deleted=True)
    assert not (await stub.ListProviders(listed)).providers
    assert (await world.provider(tenant)).name == provider.name


async def test_an_undelete_takes_a_place_of_the_quota_again(world: World) -> None:
    tenant = await world.tenant()
    provider = await world.provider(tenant)
    stub = world.providers(tenant)
    await stub.DeleteProvider(pb.DeleteProviderRequest(name=provider.name))
    for number in range(3):
        await world.provider(tenant, f"more-{number}")
    with pytest.raises(CallRefused) as refused:
        await stub.UndeleteProvider(pb.UndeleteProviderRequest(name=provider.name))
    assert refused.value.reason == "QUOTA_EXCEEDED"


async def test_deleting_and_creating_again_is_done_once(world: World) -> None:
    tenant = await world.tenant()
    stub = world.providers(tenant)
    request = create(tenant, "Prod", request_id=str(uuid.uuid4()))
    first = await stub.CreateProvider(request)
    assert await stub.CreateProvider(request) == first
    delete = pb.DeleteProviderRequest(name=first.name, request_id=str(uuid.uuid4()))
    deleted = await stub.DeleteProvider(delete)
    assert await stub.DeleteProvider(delete) == deleted
    at_once = create(tenant, "Twice", request_id=str(uuid.uuid4()))
    one, two = await asyncio.gather(stub.CreateProvider(at_once), stub.CreateProvider(at_once))
    assert one == two
    assert await count(world, tenant) == 1
    # A day later it is another request.
    world.clock.turn(DAYS)
    with pytest.raises(CallRefused) as refused:
        await stub.CreateProvider(at_once)
    assert refused.value.reason == "VALUE_TAKEN"


async def test_lists_hold_one_vendor_and_tokens_one_tenant_and_question(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    stub, parent = world.providers(tenant), f"tenants/{tenant}"
    await stub.CreateProvider(create(tenant, "a", provider_id="a"))
    await stub.CreateProvider(create(tenant, "b", AZURE, provider_id="b"))
    await stub.CreateProvider(create(tenant, "c", provider_id="c"))
    found = await stub.ListProviders(pb.ListProvidersRequest(parent=parent, provider_type=AZURE))
    assert [each.provider_name for each in found.providers] == ["b"]
    first = await stub.ListProviders(pb.ListProvidersRequest(parent=parent, page_size=2))
    token = first.next_page_token
    rest = await stub.ListProviders(pb.ListProvidersRequest(parent=parent, page_token=token))
    assert [each.provider_name for each in rest.providers] == ["c"]
    tampered = ("B" if token[0] == "A" else "A") + token[1:]
    wrong = [
        (stub, pb.ListProvidersRequest(parent=parent, page_token=token, show_deleted=True)),
        (stub, pb.ListProvidersRequest(parent=parent, page_token=tampered)),
        (
            world.providers(other),
            pb.ListProvidersRequest(parent=f"tenants/{other}", page_token=token),
        ),
    ]
    for caller, request in wrong:
        with pytest.raises(CallRefused) as refused:
            await caller.ListProviders(request)
        assert refused.value.reason == "PAGE_TOKEN_INVALID"
