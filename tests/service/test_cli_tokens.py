"""`secmesh tokens` against a served store, as a person types it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.crypto_command import Command
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def test_a_credential_is_made_used_rotated_and_ended(world: World, tmp_path: Path) -> None:
    tenant = await world.tenant()
    secmesh = Command(world.address, world.home, tenant)
    asked = ("--permission", "inventory.syncs.*", "--label", "Scans", "--days", "400")
    made = await secmesh.json("tokens", "create", "scans", *asked)
    client = made["serviceCredential"]["clientId"]
    assert client == f"{tenant}.scans"
    secret = tmp_path / "secret"
    secret.write_text(made["clientSecret"] + "\n")
    token = await secmesh.json("tokens", "issue", client, str(secret), "--audience", "inventory")
    assert (token["tokenType"], token["expiresIn"]) == ("Bearer", 300)
    (listed,) = await secmesh.json("tokens", "list")
    assert listed == made["serviceCredential"] == await secmesh.json("tokens", "get", "scans")
    other = await secmesh.json("tokens", "rotate", "scans", "--overlap", "60")
    assert other["clientSecret"] != made["clientSecret"]
    wider = await secmesh.run("tokens", "issue", client, str(secret), "--scope", "security.*.get")
    assert (wider.exit_code, "SCOPE_EXCEEDED" in wider.output) == (1, True)
    revoked = await secmesh.json("tokens", "revoke", "serviceCredentials/scans")
    assert revoked["state"] == "SERVICE_CREDENTIAL_STATE_REVOKED"
    refused = await secmesh.run("tokens", "issue", client, str(secret))
    assert (refused.exit_code, "CLIENT_CREDENTIALS_INVALID" in refused.output) == (1, True)
    assert made["clientSecret"] not in refused.output
    assert (await secmesh.run("tokens", "delete", "scans")).exit_code == 0
    assert await secmesh.json("tokens", "list") == []


async def test_keys_are_not_a_tenants(world: World) -> None:
    secmesh = Command(world.address, world.home, await world.tenant())
    for words in (["keys"], ["rotate-key"], ["revoke-key", "abc"]):
        refused = await secmesh.run("tokens", *words)
        assert (refused.exit_code, "PERMISSION_MISSING" in refused.output) == (1, True)
