"""Service credentials and the tokens they get, through a served tenancy service."""

import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest

from secmesh.tenancy.v1 import token_service_pb2 as pb
from secmesh.tenancy.v1.service_credential_pb2 import (
    SERVICE_CREDENTIAL_STATE_ACTIVE,
    SERVICE_CREDENTIAL_STATE_EXPIRED,
    SERVICE_CREDENTIAL_STATE_REVOKED,
    ServiceCredential,
)
from secmesh.tenancy.v1.tenant_service_pb2 import DeleteTenantRequest
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client.aio import connect
from secmesh_client.refusal import CallRefused
from services.tenancy.issuing.client_secret import new_client_secret
from services.tenancy.retention import timestamp
from tests.service.tenancy_world import World, tenancy_world

DAY = 24 * 3600


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


def tokens(world: World, tenant: str, **who: Any) -> Any:
    return TokenServiceStub(world.channel(tenant, **who))


def create(
    tenant: str, credential: str = "scans", **more: Any
) -> pb.CreateServiceCredentialRequest:
    given = {"permissions": ["inventory.syncs.*"], **more}
    return pb.CreateServiceCredentialRequest(
        parent=f"tenants/{tenant}",
        service_credential=ServiceCredential(**given),
        service_credential_id=credential,
    )


async def issue(world: World, issued: pb.IssuedServiceCredential, **more: Any) -> Any:
    """Ask for a token as anybody may who has the secret: without one."""
    request = pb.IssueTokenRequest(
        client_id=issued.service_credential.client_id,
        **{"client_secret": issued.client_secret, **more},
    )
    async with connect(world.address) as channel:
        return await TokenServiceStub(channel).IssueToken(request)


async def reason_of(pending: Any) -> str:
    with pytest.raises(CallRefused) as refused:
        await pending
    return refused.value.reason


async def claims_of(world: World, token: str) -> dict[str, Any]:
    """Verify a token as who has the published keys, and give what it says."""
    async with connect(world.address) as channel:
        keys = await TokenServiceStub(channel).GetKeySet(pb.GetKeySetRequest())
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "at+jwt"
    (found,) = (each for each in keys.keys if each.kid == header["kid"])
    jwk = jwt.PyJWK({each.name: value for each, value in found.ListFields()})
    claims: dict[str, Any] = jwt.decode(
        token,
        jwk,
        algorithms=["ES256"],
        # The world's clock stands still, years from now.
        options={
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "verify_aud": False,
        },
    )
    return claims


async def test_a_credential_gets_tokens_that_say_what_it_may(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    stub = tokens(world, tenant, tenants=[other])
    issued = await stub.CreateServiceCredential(
        create(
            tenant,
            roles=["viewer"],
            methods=["secmesh.inventory.v1.SyncService/*"],
            tenants=[other],
        )
    )
    made = issued.service_credential
    assert made.name == f"tenants/{tenant}/serviceCredentials/scans"
    assert (made.client_id, made.created_by) == (f"{tenant}.scans", "ann")
    assert made.state == SERVICE_CREDENTIAL_STATE_ACTIVE
    answer = await issue(world, issued)
    assert (answer.token_type, answer.expires_in) == ("Bearer", 300)
    claims = await claims_of(world, answer.access_token)
    assert {key: claims[key] for key in ("iss", "aud", "sub", "client_id", "tenant")} == {
        "iss": "secmesh-tenancy",
        "aud": "secmesh",
        "sub": f"service:{tenant}.scans",
        "client_id": f"{tenant}.scans",
        "tenant": tenant,
    }
    assert (claims["roles"], claims["permissions"]) == (["viewer"], ["inventory.syncs.*"])
    assert claims["tenants"] == [other]
    assert claims["methods"] == ["secmesh.inventory.v1.SyncService/*"]
    assert claims["exp"] - claims["iat"] == 300
    again = await claims_of(world, (await issue(world, issued)).access_token)
    assert again["jti"] != claims["jti"]


async def test_the_secret_is_kept_nowhere_and_shown_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    with caplog.at_level(logging.DEBUG):
        issued = await stub.CreateServiceCredential(create(tenant))
        await issue(world, issued)
        name = issued.service_credential.name
        got = await stub.GetServiceCredential(pb.GetServiceCredentialRequest(name=name))
        listed = await stub.ListServiceCredentials(
            pb.ListServiceCredentialsRequest(parent=f"tenants/{tenant}")
        )
    assert got == issued.service_credential
    assert list(listed.service_credentials) == [got]
    assert issued.client_secret not in caplog.text
    held = [await world.parts.store.query(world.parts.issuing.credentials.listed(tenant))]  # type: ignore[union-attr]  # issuing is open
    assert issued.client_secret not in repr(held)


async def test_wrong_secrets_unknown_clients_and_revoked_ones_are_told_the_same(
    world: World,
) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    issued = await stub.CreateServiceCredential(create(tenant))
    for wrong in (new_client_secret(), "sms_typing", issued.client_secret[:-1] + "x"):
        assert await reason_of(issue(world, issued, client_secret=wrong)) == (
            "CLIENT_CREDENTIALS_INVALID"
        )
    strange = pb.IssuedServiceCredential(
        service_credential=ServiceCredential(client_id="nobody.nothing"),
        client_secret=new_client_secret(),
    )
    assert await reason_of(issue(world, strange)) == "CLIENT_CREDENTIALS_INVALID"
    for client in ("x", "a#b.c~d", "Ünï.x", f"{tenant}.", ".scans"):
        strange.service_credential.client_id = client
        assert await reason_of(issue(world, strange)) == "CLIENT_CREDENTIALS_INVALID", client
    name = issued.service_credential.name
    revoked = await stub.RevokeServiceCredential(pb.RevokeServiceCredentialRequest(name=name))
    assert revoked.state == SERVICE_CREDENTIAL_STATE_REVOKED
    assert (
        await stub.RevokeServiceCredential(pb.RevokeServiceCredentialRequest(name=name)) == revoked
    )
    assert await reason_of(issue(world, issued)) == "CLIENT_CREDENTIALS_INVALID"
    rotate = pb.RotateServiceCredentialRequest(name=name)
    assert await reason_of(stub.RotateServiceCredential(rotate)) == "SERVICE_CREDENTIAL_REVOKED"


async def test_guesses_are_limited_and_shut_nobody_out_who_knows_the_secret(world: World) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    known = await stub.CreateServiceCredential(create(tenant, "known"))
    idle = await stub.CreateServiceCredential(create(tenant, "idle"))
    await issue(world, known)
    for issued in (known, idle):
        reasons = [
            await reason_of(issue(world, issued, client_secret=new_client_secret()))
            for _ in range(25)
        ]
        assert reasons.count("CLIENT_CREDENTIALS_INVALID") == 20
        assert reasons.count("CLIENT_ATTEMPTS_EXCEEDED") == 5
    await issue(world, known)
    assert await reason_of(issue(world, idle)) == "CLIENT_ATTEMPTS_EXCEEDED"
    world.clock.turn(60)
    await issue(world, idle)


async def test_an_expired_credential_gets_no_token_and_the_last_ends_with_it(world: World) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    ends = timestamp(world.clock.now() + 100 * 1_000_000)
    issued = await stub.CreateServiceCredential(create(tenant, expire_time=ends))
    answer = await issue(world, issued)
    assert answer.expires_in == 100
    world.clock.turn(100)
    assert await reason_of(issue(world, issued)) == "CLIENT_CREDENTIALS_EXPIRED"
    wrong = new_client_secret()
    assert (
        await reason_of(issue(world, issued, client_secret=wrong)) == "CLIENT_CREDENTIALS_INVALID"
    )
    name = issued.service_credential.name
    got = await stub.GetServiceCredential(pb.GetServiceCredentialRequest(name=name))
    assert got.state == SERVICE_CREDENTIAL_STATE_EXPIRED
    for days in (-1, 732):
        late = timestamp(world.clock.now() + days * DAY * 1_000_000)
        refused = stub.CreateServiceCredential(create(tenant, "late", expire_time=late))
        assert await reason_of(refused) == "FIELD_INVALID"


async def test_a_token_is_narrowed_and_never_widened(world: World) -> None:
    tenant, other, third = [await world.tenant() for _ in range(3)]
    stub = tokens(world, tenant, tenants=[other])
    issued = await stub.CreateServiceCredential(create(tenant, tenants=[other]))
    answer = await issue(
        world, issued, scope="inventory.syncs.get", tenants=[tenant], audience="inventory"
    )
    claims = await claims_of(world, answer.access_token)
    assert (claims["roles"], claims["permissions"]) == ([], ["inventory.syncs.get"])
    assert (claims["tenants"], claims["aud"]) == ([tenant], "secmesh/inventory")
    for scope in ("security.findings.get", "inventory.*.get", "inventory.syncs.get *.*.*"):
        assert await reason_of(issue(world, issued, scope=scope)) == "SCOPE_EXCEEDED", scope
    assert await reason_of(issue(world, issued, tenants=[third])) == "SCOPE_EXCEEDED"
    assert await reason_of(issue(world, issued, scope="everything")) == "FIELD_INVALID"
    assert await reason_of(issue(world, issued, audience="billing")) == "AUDIENCE_UNKNOWN"


async def test_nobody_lends_what_he_has_not(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    stub = tokens(world, tenant)
    for more in (
        {"roles": ["platform"]},
        {"permissions": ["platform.tenants.delete"]},
        {"permissions": ["*.*.*"]},
        {"tenants": [other]},
        {"tenants": ["*"]},
    ):
        refused = stub.CreateServiceCredential(create(tenant, "lent", **more))
        assert await reason_of(refused) == "SCOPE_EXCEEDED", more
    assert await reason_of(stub.CreateServiceCredential(create(tenant, roles=["king"]))) == (
        "FIELD_INVALID"
    )
    assert await reason_of(stub.CreateServiceCredential(create(tenant, permissions=[]))) == (
        "FIELD_INVALID"
    )


async def test_the_platform_gives_a_credential_for_all_tenants(world: World) -> None:
    home, other = await world.tenant(), await world.tenant()
    stub = tokens(world, home, roles=["admin", "platform"])
    issued = await stub.CreateServiceCredential(create(home, tenants=["*"]))
    named = await claims_of(world, (await issue(world, issued, tenants=[other])).access_token)
    assert named["tenants"] == [other]
    unnamed = await claims_of(world, (await issue(world, issued)).access_token)
    assert "tenants" not in unnamed  # all there are is never in a token


async def test_another_secret_takes_the_place_of_one_with_an_overlap(world: World) -> None:
    tenant = await world.tenant()
    stub = tokens(world, tenant)
    first = await stub.CreateServiceCredential(create(tenant))
    name = first.service_credential.name
    stale = pb.RotateServiceCredentialRequest(name=name, etag="v7")
    assert await reason_of(stub.RotateServiceCredential(stale)) == "ETAG_MISMATCH"
    second = await stub.RotateServiceCredential(
        pb.RotateServiceCredentialRequest(
            name=name, overlap_seconds=60, etag=first.service_credential.etag
        )
    )
    assert second.client_secret != first.client_secret
    for issued in (first, second):
        await issue(world, issued)
    world.clock.turn(60)
    assert await reason_of(issue(world, first)) == "CLIENT_CREDENTIALS_INVALID"
    third = await stub.RotateServiceCredential(pb.RotateServiceCredentialRequest(name=name))
    assert await reason_of(issue(world, second)) == "CLIENT_CREDENTIALS_INVALID"
    await issue(world, third)
    await stub.DeleteServiceCredential(pb.DeleteServiceCredentialRequest(name=name))
    assert await reason_of(issue(world, third)) == "CLIENT_CREDENTIALS_INVALID"
    assert (
        await reason_of(stub.GetServiceCredential(pb.GetServiceCredentialRequest(name=name)))
        == "RESOURCE_NOT_FOUND"
    )


async def test_another_tenants_credentials_do_not_exist(world: World) -> None:
    tenant, other = await world.tenant(), await world.tenant()
    issued = await tokens(world, tenant).CreateServiceCredential(create(tenant))
    name = issued.service_credential.name
    stranger = tokens(world, other)
    for pending in (
        stranger.GetServiceCredential(pb.GetServiceCredentialRequest(name=name)),
        stranger.RevokeServiceCredential(pb.RevokeServiceCredentialRequest(name=name)),
        stranger.RotateServiceCredential(pb.RotateServiceCredentialRequest(name=name)),
        stranger.DeleteServiceCredential(pb.DeleteServiceCredentialRequest(name=name)),
        stranger.CreateServiceCredential(create(tenant, "mine")),
    ):
        assert await reason_of(pending) == "RESOURCE_NOT_FOUND"
    assert await reason_of(tokens(world, tenant).CreateServiceCredential(create(tenant))) == (
        "RESOURCE_EXISTS"
    )


async def test_the_tokens_of_a_tenant_that_is_closed_end(world: World) -> None:
    tenant = await world.tenant()
    issued = await tokens(world, tenant).CreateServiceCredential(create(tenant))
    await issue(world, issued)
    deleting = DeleteTenantRequest(name=f"tenants/{tenant}", request_id=str(uuid.uuid4()))
    await world.platform(tenant).DeleteTenant(deleting)
    assert await reason_of(issue(world, issued)) == "TENANT_INACTIVE"


async def test_an_issue_costs_one_call_of_the_store(world: World) -> None:
    tenant = await world.tenant()
    issued = await tokens(world, tenant).CreateServiceCredential(create(tenant))
    await issue(world, issued)
    before = len(world.recorder.calls)
    await issue(world, issued)
    assert len(world.recorder.calls) - before == 1


async def test_keys_are_the_platforms_to_rotate_and_revoke(world: World) -> None:
    tenant = await world.tenant()
    issued = await tokens(world, tenant).CreateServiceCredential(create(tenant))
    admin, platform = tokens(world, tenant), tokens(world, tenant, roles=["platform"])
    assert await reason_of(admin.RotateSigningKey(pb.RotateSigningKeyRequest())) == (
        "PERMISSION_MISSING"
    )
    token = (await issue(world, issued)).access_token
    kid = jwt.get_unverified_header(token)["kid"]
    rotated = await platform.RotateSigningKey(pb.RotateSigningKeyRequest())
    assert rotated.signing_keys[0].kid == kid
    assert len(rotated.signing_keys) == 2
    left = await platform.RevokeSigningKey(pb.RevokeSigningKeyRequest(kid=kid))
    assert [each.kid for each in left.signing_keys] == [rotated.signing_keys[1].kid]
    listed = await platform.ListSigningKeys(pb.ListSigningKeysRequest())
    assert listed == left
    again = platform.RevokeSigningKey(pb.RevokeSigningKeyRequest(kid=kid))
    assert await reason_of(again) == "SIGNING_KEY_UNKNOWN"


async def test_without_secrets_manager_nothing_is_signed(world: World) -> None:
    tenant = await world.tenant()
    issued = await tokens(world, tenant).CreateServiceCredential(create(tenant))
    world.secrets.down = True
    with pytest.raises(CallRefused) as refused:
        await issue(world, issued)
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    world.secrets.down = False
    await issue(world, issued)
