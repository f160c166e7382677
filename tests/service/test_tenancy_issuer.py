"""Services believe the mesh's issuer beside another, and get tokens for their credentials."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest

from mesh.errors import TokenInvalid
from mesh.identity.jwks import JwksInvalid
from mesh.identity.keys import KEY_FILE, create_signing_key, public_key_id, sign_token
from mesh.server.trust import verifier_of
from secmesh.tenancy.v1 import token_service_pb2 as pb
from secmesh.tenancy.v1.service_credential_pb2 import ServiceCredential as Credential
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client import CallRefused, aio
from secmesh_client.aio import ServiceCredential, connect
from services.inventory.settings import InventorySettings
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path / "tenancy") as opened:
        # Others judge tokens by the real time.
        opened.clock.moment = time.time_ns() // 1000
        yield opened


async def credential(world: World, *tenants: str, **more: Any) -> ServiceCredential:
    tenant = await world.tenant()
    stub = TokenServiceStub(world.channel(tenant, roles=["admin", "platform"], tenants=tenants))
    issued = await stub.CreateServiceCredential(
        pb.CreateServiceCredentialRequest(
            parent=f"tenants/{tenant}",
            service_credential=Credential(
                permissions=["inventory.syncs.*"], tenants=tenants, **more
            ),
            service_credential_id="scans",
        )
    )
    return ServiceCredential(issued.service_credential.client_id, issued.client_secret)


def inventory(home: Path, world: World) -> InventorySettings:
    create_signing_key(home / "keys")
    given: dict[str, Any] = {
        "SECMESH_HOME": home,
        "issuers": f"secmesh-tenancy=grpc://{world.address}",
    }
    return InventorySettings(**given)


async def token_of(world: World, shown: ServiceCredential, **more: Any) -> str:
    request = shown.request()
    request.MergeFrom(pb.IssueTokenRequest(**more))
    async with connect(world.address) as channel:
        return str((await TokenServiceStub(channel).IssueToken(request)).access_token)


async def test_a_service_believes_both_issuers_each_by_its_own_keys(
    world: World, tmp_path: Path
) -> None:
    settings = inventory(tmp_path / "home", world)
    verifier = await asyncio.to_thread(verifier_of, settings)
    shown = await credential(world, methods=["secmesh.inventory.v1.SyncService/StartSync"])
    token = await token_of(world, shown)
    caller = await verifier.authenticate(token)
    assert caller.subject == f"service:{shown.client_id}"
    assert caller.permits("inventory.syncs.create")
    assert caller.may_call("/secmesh.inventory.v1.SyncService/StartSync")
    assert not caller.may_call("/secmesh.inventory.v1.SyncService/CancelSync")
    assert verifier.known(token) == caller
    own = sign_token(tmp_path / "home" / "keys", subject="ann", tenant="acme", roles=["viewer"])
    assert (await verifier.authenticate(own)).subject == "ann"
    # Neither issuer speaks for the other, and no third one for itself.
    create_signing_key(tmp_path / "other")
    home, other, claims = tmp_path / "home" / "keys", tmp_path / "other", _claims(token)
    for forged in (
        _signed(other, {**claims, "iss": "secmesh-local"}),
        _signed(home, claims),
        _signed(other, {**claims, "iss": "https://evil.example"}),
        "no.token.atall",
    ):
        with pytest.raises(TokenInvalid):
            await verifier.authenticate(forged)


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _signed(folder: Path, claims: dict[str, Any]) -> str:
    key = (folder / KEY_FILE).read_bytes()
    return jwt.encode(claims, key, "ES256", {"kid": public_key_id(folder)})


async def test_a_token_for_one_service_is_refused_by_the_others(
    world: World, tmp_path: Path
) -> None:
    verifier = await asyncio.to_thread(verifier_of, inventory(tmp_path / "home", world))
    shown = await credential(world)
    await verifier.authenticate(await token_of(world, shown, audience="inventory"))
    with pytest.raises(TokenInvalid, match="audience"):
        await verifier.authenticate(await token_of(world, shown, audience="security"))


async def test_a_service_starts_without_the_further_issuer(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "keys")
    given: dict[str, Any] = {
        "SECMESH_HOME": tmp_path,
        "issuers": "secmesh-tenancy=grpc://127.0.0.1:9,other=https://127.0.0.1:9/keys",
    }
    verifier = await asyncio.to_thread(verifier_of, InventorySettings(**given))
    own = sign_token(tmp_path / "keys", subject="ann", tenant="acme")
    assert (await verifier.authenticate(own)).subject == "ann"
    given["issuers"] = "secmesh-tenancy=grpc://tenancy.example:50051"
    with pytest.raises(JwksInvalid, match="grpcs"):
        verifier_of(InventorySettings(**given))


async def test_tokens_are_fetched_once_and_anew_before_they_end(world: World) -> None:
    now = [0.0]
    shown = await credential(world, "acme")
    async with connect(world.address) as channel:
        tokens = aio.ServiceTokens(channel, shown, lambda: now[0])
        with pytest.raises(CallRefused) as refused:
            tokens()
        assert refused.value.code is grpc.StatusCode.UNAVAILABLE
        await asyncio.gather(*(tokens.ready() for _ in range(20)))
        first = tokens()
        await tokens.ready()
        assert tokens() == first
        with tokens.acting_for("acme"):
            await tokens.ready()
            assert _claims(tokens())["tenants"] == ["acme"]
        assert tokens() == first
        now[0] = 200.0
        await tokens.ready()
        second = tokens()
        assert second != first
        await tokens.close()


async def test_a_token_serves_while_the_issuer_is_silent_and_not_when_it_refuses(
    world: World,
) -> None:
    now = [0.0]
    shown = await credential(world)
    async with connect(world.address) as channel:
        tokens = aio.ServiceTokens(channel, shown, lambda: now[0])
        await tokens.ready()
        held = tokens()
        now[0] = 200.0
        world.secrets.down, world.parts.issuing.keys._private = True, {}  # type: ignore[union-attr]  # issuing is open
        await tokens.ready()
        assert tokens() == held
        now[0] = 301.0
        with pytest.raises(CallRefused):
            await tokens.ready()
        world.secrets.down = False
        await tokens.ready()
        tenant = shown.client_id.partition(".")[0]
        revoking = pb.RevokeServiceCredentialRequest(
            name=f"tenants/{tenant}/serviceCredentials/scans"
        )
        await TokenServiceStub(world.channel(tenant)).RevokeServiceCredential(revoking)
        now[0] = 550.0
        with pytest.raises(CallRefused, match="CLIENT_CREDENTIALS_INVALID"):
            await tokens.ready()
        with pytest.raises(CallRefused):
            tokens()
        await tokens.close()
