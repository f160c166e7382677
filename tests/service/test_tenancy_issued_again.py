"""Service credentials whose requests come twice, and how many a tenant may have."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1 import token_service_pb2 as pb
from secmesh.tenancy.v1.service_credential_pb2 import ServiceCredential
from secmesh.tenancy.v1.tenant_pb2 import TenantQuotas
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client.aio import connect
from secmesh_client.refusal import CallRefused
from services.tenancy.gate import SERVICE_CREDENTIALS
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Remove, Update
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


def tokens(world: World, tenant: str) -> Any:
    return TokenServiceStub(world.channel(tenant))


def asked(tenant: str, credential: str = "", **more: Any) -> pb.CreateServiceCredentialRequest:
    return pb.CreateServiceCredentialRequest(
        parent=f"tenants/{tenant}",
        service_credential=ServiceCredential(permissions=["inventory.syncs.*"]),
        service_credential_id=credential,
        **more,
    )


async def issue(world: World, client_id: str, secret: str) -> Any:
    async with connect(world.address) as channel:
        request = pb.IssueTokenRequest(client_id=client_id, client_secret=secret)
        return await TokenServiceStub(channel).IssueToken(request)


async def reason_of(pending: Any) -> str:
    with pytest.raises(CallRefused) as refused:
        await pending
    return refused.value.reason


async def limited(world: World, tenant: str, number: int) -> None:
    quotas = TenantQuotas(name=f"tenants/{tenant}/quotas", max_service_credentials=number)
    await world.platform(tenant).UpdateTenantQuotas(
        tenants.UpdateTenantQuotasRequest(quotas=quotas)
    )


async def counted(world: World, tenant: str) -> int:
    return (await world.parts.tenants.quotas(tenant)).service_credentials


@pytest.mark.parametrize("credential", ["", "scans"])
async def test_a_creation_sent_again_makes_no_second_and_shows_no_secret(
    world: World, credential: str
) -> None:
    tenant = await world.tenant()
    stub, request = tokens(world, tenant), asked(tenant, credential, request_id=str(uuid.uuid4()))
    first = await stub.CreateServiceCredential(request)
    again = await stub.CreateServiceCredential(request)
    assert first.client_secret
    assert (again.service_credential, again.client_secret) == (first.service_credential, "")
    assert await counted(world, tenant) == 1
    client = first.service_credential.client_id
    await issue(world, client, first.client_secret)
    # Who never got the secret gets another.
    name = first.service_credential.name
    rotated = await stub.RotateServiceCredential(pb.RotateServiceCredentialRequest(name=name))
    await issue(world, client, rotated.client_secret)


async def test_one_request_that_comes_many_times_at_once_makes_one(world: World) -> None:
    tenant = await world.tenant()
    stub, request = tokens(world, tenant), asked(tenant, request_id=str(uuid.uuid4()))
    answers = await asyncio.gather(*(stub.CreateServiceCredential(request) for _ in range(8)))
    assert len({each.service_credential.name for each in answers}) == 1
    assert len([each for each in answers if each.client_secret]) == 1
    assert await counted(world, tenant) == 1


async def test_a_rotation_sent_again_leaves_the_secret_that_it_gave(world: World) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    made = (await stub.CreateServiceCredential(asked(tenant))).service_credential
    request = pb.RotateServiceCredentialRequest(
        name=made.name, etag=made.etag, request_id=str(uuid.uuid4())
    )
    first = await stub.RotateServiceCredential(request)
    again = await stub.RotateServiceCredential(request)
    assert (again.service_credential, again.client_secret) == (first.service_credential, "")
    await issue(world, made.client_id, first.client_secret)


async def test_an_id_of_another_request_is_refused_and_changes_nothing(world: World) -> None:
    tenant = await world.tenant()
    stub, request_id = tokens(world, tenant), str(uuid.uuid4())
    made = await stub.CreateServiceCredential(asked(tenant, "one", request_id=request_id))
    other = stub.CreateServiceCredential(asked(tenant, "two", request_id=request_id))
    assert await reason_of(other) == "REQUEST_ID_REUSED"
    name = made.service_credential.name
    rotation = pb.RotateServiceCredentialRequest(name=name, request_id=request_id)
    assert await reason_of(stub.RotateServiceCredential(rotation)) == "REQUEST_ID_REUSED"
    await issue(world, made.service_credential.client_id, made.client_secret)
    assert await counted(world, tenant) == 1


async def test_the_quota_holds_however_many_ask_at_once(world: World) -> None:
    tenant = await world.tenant()
    await limited(world, tenant, 3)
    stub = tokens(world, tenant)

    async def create() -> str:
        try:
            made = await stub.CreateServiceCredential(asked(tenant))
        except CallRefused as refused:
            return refused.reason
        return str(made.service_credential.name)

    told = await asyncio.gather(*(create() for _ in range(12)))
    assert told.count("QUOTA_EXCEEDED") == 9
    made = [each for each in told if each != "QUOTA_EXCEEDED"]
    assert len(set(made)) == await counted(world, tenant) == 3
    # One that is revoked has its place until it is removed.
    await stub.RevokeServiceCredential(pb.RevokeServiceCredentialRequest(name=made[0]))
    assert await reason_of(stub.CreateServiceCredential(asked(tenant))) == "QUOTA_EXCEEDED"
    await stub.DeleteServiceCredential(pb.DeleteServiceCredentialRequest(name=made[0]))
    assert await counted(world, tenant) == 2
    await stub.CreateServiceCredential(asked(tenant))


async def test_removed_at_once_by_many_it_gives_one_place_back(world: World) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    names = [
        (await stub.CreateServiceCredential(asked(tenant))).service_credential.name
        for _ in range(2)
    ]

    async def remove() -> str:
        request = pb.DeleteServiceCredentialRequest(name=names[0])
        try:
            await stub.DeleteServiceCredential(request)
        except CallRefused as refused:
            return refused.reason
        return ""

    told = await asyncio.gather(*(remove() for _ in range(6)))
    assert told.count("") == 1
    assert set(told) <= {"", "RESOURCE_NOT_FOUND", "ETAG_MISMATCH"}
    assert await counted(world, tenant) == 1


async def test_what_a_tenant_had_before_there_was_a_quota_counts(world: World) -> None:
    tenant, parts = await world.tenant(), world.parts
    stub, scope = tokens(world, tenant), TenantScope(tenant)
    names = [
        (await stub.CreateServiceCredential(asked(tenant))).service_credential.name
        for _ in range(3)
    ]
    older = [Remove(SERVICE_CREDENTIALS), Remove("max_service_credentials")]
    await parts.store.write(Update(scope.quota(), older))
    parts.gate.forget(tenant)
    assert (await parts.tenants.quotas(tenant)).max_service_credentials == 100
    # Nothing is given back of what was never counted.
    await stub.DeleteServiceCredential(pb.DeleteServiceCredentialRequest(name=names[0]))
    assert await counted(world, tenant) == 0
    await stub.CreateServiceCredential(asked(tenant))
    assert await counted(world, tenant) == 3
    await limited(world, tenant, 3)
    assert await reason_of(stub.CreateServiceCredential(asked(tenant))) == "QUOTA_EXCEEDED"
    await stub.DeleteServiceCredential(pb.DeleteServiceCredentialRequest(name=names[1]))
    assert await counted(world, tenant) == 2


async def test_a_credential_of_a_closed_tenant_can_be_removed(world: World) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    made = (await stub.CreateServiceCredential(asked(tenant))).service_credential
    await world.platform(tenant).DeleteTenant(tenants.DeleteTenantRequest(name=f"tenants/{tenant}"))
    assert await reason_of(stub.CreateServiceCredential(asked(tenant))) == "TENANT_INACTIVE"
    await stub.DeleteServiceCredential(pb.DeleteServiceCredentialRequest(name=made.name))
    assert await counted(world, tenant) == 0
