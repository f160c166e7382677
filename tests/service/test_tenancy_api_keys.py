"""ApiKeyService on the exact store: made once, found by hash, ended for good."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.identifiers import new_uuid
from mesh.identity.api_key import ApiKey as KeyText
from mesh.identity.keys import sign_token
from secmesh.tenancy.v1 import api_key_service_pb2 as pb
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.api_key_pb2 import (
    API_KEY_STATE_ACTIVE,
    API_KEY_STATE_EXPIRED,
    API_KEY_STATE_REVOKED,
    ApiKey,
)
from secmesh.tenancy.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from secmesh.tenancy.v1.tenant_offboarding_pb2 import OffboardTenantRequest
from secmesh.tenancy.v1.tenant_pb2 import TenantQuotas
from secmesh_client.aio import connect
from secmesh_client.refusal import CallRefused
from services.tenancy.api_keys import USE_SECONDS
from services.tenancy.cost import budgets
from services.tenancy.retention import RETENTION_DAYS
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.port import Put
from tests.service.tenancy_world import START, World, tenancy_world

DAY = 24 * 3600
GOOD, UNKNOWN = pb.API_KEY_VERDICT_GOOD, pb.API_KEY_VERDICT_UNKNOWN
EXPIRED, REVOKED = pb.API_KEY_VERDICT_EXPIRED, pb.API_KEY_VERDICT_REVOKED
INACTIVE = pb.API_KEY_VERDICT_TENANT_INACTIVE


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


def at(seconds: float) -> Timestamp:
    """Give a moment so long after the world began."""
    return Timestamp(seconds=START // 1_000_000 + int(seconds))


def wanted(**values: Any) -> ApiKey:
    given: dict[str, Any] = {"roles": ["viewer"], "expire_time": at(DAY)} | values
    return ApiKey(**given)


async def make(
    world: World, tenant: str, request_id: str = "", **values: Any
) -> pb.CreateApiKeyResponse:
    request = pb.CreateApiKeyRequest(
        parent=f"tenants/{tenant}", api_key=wanted(**values), request_id=request_id
    )
    made: pb.CreateApiKeyResponse = await world.api_keys(tenant).CreateApiKey(request)
    return made


async def resolve(world: World, text: str) -> pb.ResolveApiKeyResponse:
    """Ask as a gateway does."""
    key = KeyText.parse(text)
    request = pb.ResolveApiKeyRequest(key_id=key.id, secret_sha256=key.digest())
    answer: pb.ResolveApiKeyResponse = await world.edge().ResolveApiKey(request)
    return answer


async def verdict(world: World, text: str) -> Any:
    return (await resolve(world, text)).verdict


async def revoke(world: World, name: str, **values: Any) -> ApiKey:
    request = pb.RevokeApiKeyRequest(name=name, **values)
    told: ApiKey = await world.api_keys(name.split("/")[1]).RevokeApiKey(request)
    return told


async def refusal(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await call
    return refused.value


async def test_a_key_is_shown_once_and_found_by_what_was_shown(world: World) -> None:
    tenant = await world.tenant()
    answer = await make(world, tenant, display_name="ci pipeline", permissions=["tenancy.*.get"])
    made, key = answer.api_key, KeyText.parse(answer.key_text)
    assert made.name == f"tenants/{tenant}/apiKeys/{key.id}"
    assert (made.creator, made.display_name, made.state) == (
        "ann",
        "ci pipeline",
        API_KEY_STATE_ACTIVE,
    )
    stub = world.api_keys(tenant)
    assert await stub.GetApiKey(pb.GetApiKeyRequest(name=made.name)) == made
    found = await resolve(world, answer.key_text)
    assert found.verdict == GOOD
    assert (found.api_key.name, list(found.api_key.roles), list(found.api_key.permissions)) == (
        made.name,
        ["viewer"],
        ["tenancy.*.get"],
    )
    scope = TenantScope(tenant)
    items = [
        await world.parts.store.get(scope.api_key(key.id)),
        await world.parts.store.get(scope.quota()),
    ]
    assert key.secret not in str(items)
    assert key.digest() not in str(items)


async def test_another_secret_or_id_is_unknown(world: World) -> None:
    tenant = await world.tenant()
    key = KeyText.parse((await make(world, tenant)).key_text)
    other = KeyText.generate()
    for text in (other.text(), KeyText(key.id, other.secret).text()):
        assert await verdict(world, text) == UNKNOWN
    assert await verdict(world, KeyText(other.id, key.secret).text()) == UNKNOWN


async def test_a_revoked_key_is_good_for_nothing_and_listed_for_a_month(world: World) -> None:
    tenant = await world.tenant()
    answer, kept = await make(world, tenant), await make(world, tenant)
    name = answer.api_key.name
    ended = await revoke(world, name)
    assert (ended.state, ended.revoke_time) == (API_KEY_STATE_REVOKED, at(0))
    assert ended.purge_time == at(RETENTION_DAYS * DAY)
    assert await verdict(world, answer.key_text) == REVOKED
    assert await verdict(world, kept.key_text) == GOOD
    assert (await revoke(world, name)).etag == ended.etag
    stub = world.api_keys(tenant)
    parent = f"tenants/{tenant}"
    listed = await stub.ListApiKeys(pb.ListApiKeysRequest(parent=parent))
    assert [each.name for each in listed.api_keys] == [kept.api_key.name]
    both = await stub.ListApiKeys(pb.ListApiKeysRequest(parent=parent, show_revoked=True))
    assert {each.name for each in both.api_keys} == {name, kept.api_key.name}
    changing = pb.UpdateApiKeyRequest(api_key=ApiKey(name=name, display_name="x"))
    assert (await refusal(stub.UpdateApiKey(changing))).reason == "API_KEY_REVOKED"
    world.clock.turn(RETENTION_DAYS * DAY)
    assert await verdict(world, answer.key_text) == UNKNOWN
    gone = await refusal(stub.GetApiKey(pb.GetApiKeyRequest(name=name)))
    assert gone.reason == "RESOURCE_NOT_FOUND"


async def test_an_expired_key_is_good_again_once_it_is_prolonged(world: World) -> None:
    tenant = await world.tenant()
    answer = await make(world, tenant, expire_time=at(60))
    world.clock.turn(60)
    assert await verdict(world, answer.key_text) == EXPIRED
    stub = world.api_keys(tenant)
    name = answer.api_key.name
    told = await stub.GetApiKey(pb.GetApiKeyRequest(name=name))
    assert told.state == API_KEY_STATE_EXPIRED
    longer = ApiKey(name=name, expire_time=at(120), display_name="kept")
    changed = await stub.UpdateApiKey(pb.UpdateApiKeyRequest(api_key=longer))
    assert (changed.state, changed.display_name) == (API_KEY_STATE_ACTIVE, "kept")
    assert await verdict(world, answer.key_text) == GOOD


async def test_what_a_key_may_do_never_changes(world: World) -> None:
    tenant = await world.tenant()
    name = (await make(world, tenant)).api_key.name
    more = ApiKey(name=name, roles=["admin"])
    mask = FieldMask(paths=["roles"])
    request = pb.UpdateApiKeyRequest(api_key=more, update_mask=mask)
    refused = await refusal(world.api_keys(tenant).UpdateApiKey(request))
    assert refused.reason == "FIELD_INVALID"


@pytest.mark.parametrize(
    "values",
    [
        {"roles": []},
        {"roles": ["nobody"]},
        {"roles": ["viewer", "viewer"]},
        {"permissions": ["tenancy"]},
        {"expire_time": at(0)},
        {"expire_time": at(367 * DAY)},
        {"display_name": "two\nlines"},
    ],
)
async def test_keys_that_cannot_be(world: World, values: dict[str, Any]) -> None:
    tenant = await world.tenant()
    assert (await refusal(make(world, tenant, **values))).reason == "FIELD_INVALID"
    quotas = await world.parts.tenants.quotas(tenant)
    assert quotas.api_keys == 0


async def test_nobody_gives_a_key_more_than_they_have(world: World) -> None:
    tenant = await world.tenant()
    maker = world.api_keys(
        tenant, roles=["viewer"], permissions=["tenancy.api_keys.create", "tenancy.accounts.*"]
    )
    parent = f"tenants/{tenant}"
    for values in (
        {"roles": ["admin"]},
        {"roles": ["operator"]},
        {"permissions": ["tenancy.*.create"]},
        {"permissions": ["platform.tenants.list"]},
    ):
        given = wanted(**values)
        request = pb.CreateApiKeyRequest(parent=parent, api_key=given)
        assert (await refusal(maker.CreateApiKey(request))).reason == "SCOPE_EXCEEDED"
    given = wanted(roles=["viewer"], permissions=["tenancy.accounts.create"])
    assert (await maker.CreateApiKey(pb.CreateApiKeyRequest(parent=parent, api_key=given))).key_text


async def test_who_is_limited_to_methods_gives_no_key_more(world: World) -> None:
    tenant = await world.tenant()
    own, every = "secmesh.tenancy.v1.ApiKeyService/CreateApiKey", "secmesh.tenancy.v1.*"
    token = sign_token(world.home, subject="m", tenant=tenant, roles=["admin"], methods=[own])
    async with connect(world.address, token=token) as channel:
        maker = ApiKeyServiceStub(channel)
        for methods in ([], ["secmesh.tenancy.v1.ApiKeyService/*"], [every]):
            given = wanted(methods=methods)
            request = pb.CreateApiKeyRequest(parent=f"tenants/{tenant}", api_key=given)
            refused = await refusal(maker.CreateApiKey(request))
            assert refused.reason == ("FIELD_INVALID" if every in methods else "SCOPE_EXCEEDED")
        request = pb.CreateApiKeyRequest(parent=f"tenants/{tenant}", api_key=wanted(methods=[own]))
        answer = await maker.CreateApiKey(request)
    assert list((await resolve(world, answer.key_text)).api_key.methods) == [own]


async def test_only_who_may_resolves_keys_and_no_tenant_sees_anothers(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    answer = await make(world, tenant)
    key = KeyText.parse(answer.key_text)
    asking = pb.ResolveApiKeyRequest(key_id=key.id, secret_sha256=key.digest())
    for who in (tenant, other):
        refused = await refusal(world.api_keys(who).ResolveApiKey(asking))
        assert refused.reason == "PERMISSION_MISSING"
    strange = world.api_keys(other)
    name = answer.api_key.name
    own = f"tenants/{other}/apiKeys/{key.id}"
    for call in (
        strange.GetApiKey(pb.GetApiKeyRequest(name=name)),
        strange.RevokeApiKey(pb.RevokeApiKeyRequest(name=name)),
        strange.UpdateApiKey(pb.UpdateApiKeyRequest(api_key=ApiKey(name=name, display_name="x"))),
        strange.ListApiKeys(pb.ListApiKeysRequest(parent=f"tenants/{tenant}")),
        strange.GetApiKey(pb.GetApiKeyRequest(name=own)),
        strange.RevokeApiKey(pb.RevokeApiKeyRequest(name=own)),
    ):
        assert (await refusal(call)).reason == "RESOURCE_NOT_FOUND"
    assert await verdict(world, answer.key_text) == GOOD


async def test_keys_stop_with_their_tenant_and_come_back_with_it(world: World) -> None:
    tenant = await world.tenant()
    answer = await make(world, tenant)
    platform, name = world.platform(tenant), f"tenants/{tenant}"
    await platform.DeleteTenant(tenants.DeleteTenantRequest(name=name))
    assert await verdict(world, answer.key_text) == INACTIVE
    assert (await refusal(make(world, tenant))).reason == "TENANT_INACTIVE"
    await platform.UndeleteTenant(tenants.UndeleteTenantRequest(name=name))
    assert await verdict(world, answer.key_text) == GOOD
    await platform.DeleteTenant(tenants.DeleteTenantRequest(name=name))
    await platform.OffboardTenant(
        OffboardTenantRequest(name=name, confirm_tenant_id=tenant, shred=True)
    )
    assert await verdict(world, answer.key_text) == UNKNOWN
    key = KeyText.parse(answer.key_text)
    hashed = world.parts.api_keys._hash.of(key.id, key.digest())
    store = world.parts.store
    assert await store.get(PlatformScope().api_key_lookup(hashed)) is None
    assert await store.get(TenantScope(tenant).api_key(key.id)) is None


async def test_a_request_sent_again_makes_no_second_key(world: World) -> None:
    tenant, request_id = await world.tenant(), new_uuid()
    first = await make(world, tenant, request_id)
    again = await make(world, tenant, request_id)
    assert (again.api_key, again.key_text) == (first.api_key, "")
    refused = await refusal(make(world, tenant, request_id, display_name="another"))
    assert refused.reason == "REQUEST_ID_REUSED"
    assert (await world.parts.tenants.quotas(tenant)).api_keys == 1


async def test_the_quota_holds_however_many_ask_at_once(world: World) -> None:
    tenant = await world.tenant()
    quotas = TenantQuotas(name=f"tenants/{tenant}/quotas", max_api_keys=3)
    await world.platform(tenant).UpdateTenantQuotas(
        tenants.UpdateTenantQuotasRequest(quotas=quotas)
    )
    made = await asyncio.gather(*(make(world, tenant) for _ in range(12)), return_exceptions=True)
    keys = [each for each in made if isinstance(each, pb.CreateApiKeyResponse)]
    reasons = {each.reason for each in made if isinstance(each, CallRefused)}
    assert (len(keys), reasons) == (3, {"QUOTA_EXCEEDED"})
    await revoke(world, keys[0].api_key.name)
    assert (await make(world, tenant)).key_text


async def test_a_tenant_older_than_the_quota_has_the_default(world: World) -> None:
    tenant = await world.tenant()
    scope, store = TenantScope(tenant), world.parts.store
    item = dict(await store.get(scope.quota()) or {})
    older = {name: item[name] for name in item if name not in ("pk", "sk", "max_api_keys")}
    await store.write(Put(scope.quota(), older))
    world.parts.gate.forget(tenant)
    assert (await make(world, tenant)).key_text
    quotas = await world.parts.tenants.quotas(tenant)
    assert (quotas.max_api_keys, quotas.api_keys) == (100, 1)


async def test_use_is_written_down_once_an_hour(world: World) -> None:
    tenant = await world.tenant()
    answer = await make(world, tenant)
    stub, name = world.api_keys(tenant), answer.api_key.name
    assert not answer.api_key.HasField("last_use_time")
    world.recorder.calls.clear()
    for _ in range(5):
        assert await verdict(world, answer.key_text) == GOOD
        world.clock.turn(60)
    written = [call for call in world.recorder.calls if call.write_units]
    assert len(written) == 1
    told = await stub.GetApiKey(pb.GetApiKeyRequest(name=name))
    assert (told.last_use_time, told.etag) == (at(0), answer.api_key.etag)
    world.clock.turn(USE_SECONDS)
    assert await verdict(world, answer.key_text) == GOOD
    told = await stub.GetApiKey(pb.GetApiKeyRequest(name=name))
    assert told.last_use_time == at(5 * 60 + USE_SECONDS)


async def test_calls_and_units_are_those_of_the_budget(world: World) -> None:
    tenant = await world.tenant()
    world.recorder.calls.clear()
    answer = await make(world, tenant)
    assert len(world.recorder.calls) <= budgets.CALLS_PER_RPC
    assert sum(each.write_units for each in world.recorder.calls) <= budgets.KEY_WRITE_UNITS
    await verdict(world, answer.key_text)
    world.recorder.calls.clear()
    assert await verdict(world, answer.key_text) == GOOD
    assert len(world.recorder.calls) <= budgets.CALLS_PER_RPC
    assert sum(each.read_units for each in world.recorder.calls) <= budgets.KEY_READ_UNITS
    assert not any(each.write_units for each in world.recorder.calls)
    world.recorder.calls.clear()
    await revoke(world, answer.api_key.name)
    assert len(world.recorder.calls) <= budgets.CALLS_PER_RPC
    await world.api_keys(tenant).ListApiKeys(pb.ListApiKeysRequest(parent=f"tenants/{tenant}"))
    assert "Scan" not in {each.operation for each in world.recorder.calls}


async def test_pages_and_etags(world: World) -> None:
    tenant = await world.tenant()
    made = [(await make(world, tenant)).api_key for _ in range(3)]
    stub, parent = world.api_keys(tenant), f"tenants/{tenant}"
    first = await stub.ListApiKeys(pb.ListApiKeysRequest(parent=parent, page_size=2))
    rest = await stub.ListApiKeys(
        pb.ListApiKeysRequest(parent=parent, page_size=2, page_token=first.next_page_token)
    )
    listed = [each.name for each in (*first.api_keys, *rest.api_keys)]
    assert listed == sorted(each.name for each in made)
    stale = made[0].etag
    renamed = ApiKey(name=made[0].name, display_name="b", etag=stale)
    await stub.UpdateApiKey(pb.UpdateApiKeyRequest(api_key=renamed))
    again = await refusal(stub.UpdateApiKey(pb.UpdateApiKeyRequest(api_key=renamed)))
    assert again.reason == "ETAG_MISMATCH"
    refused = await refusal(revoke(world, made[0].name, etag=stale))
    assert refused.reason == "ETAG_MISMATCH"
