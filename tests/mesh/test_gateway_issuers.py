"""Tokens of the mesh's own issuer at the gateway, beside those of the first one."""

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import jwt
import pytest

from gateway.policy import Policy
from mesh.identity.keys import (
    JWKS_FILE,
    KEY_FILE,
    create_signing_key,
    public_key_id,
    sign_token,
)
from mesh.identity.token import ISSUER_KEYS
from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from tests.inventory_store import inventory_store
from tests.mesh.gateway_fixtures import Gateway, assert_refused, edge, process, running_gateway
from tests.mesh.grpc_web import BINARY, TEXT, call
from tests.mesh.tenancy_upstream import TenancyUpstream, running_tenancy

MESH = "secmesh-tenancy"
KINDS = "/inventory/v1/kinds"
GET_SYNC = "/secmesh.inventory.v1.SyncService/GetSync"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
PATIENCE_SECONDS = 60
INVENTORY = [sys.executable, "-m", "services.inventory", "serve"]


@dataclass
class Site:
    """A gateway in front of an issuer, and of a service that believes it."""

    gateway: Gateway
    tenancy: TenancyUpstream

    def tenant(self) -> str:
        """Make a tenant of one test."""
        return self.tenancy.run(self.tenancy.world.tenant())

    def credential(self, tenant: str, **given: Any) -> dict[str, str]:
        """Make a service credential as a tenant's people do; give what it shows for a token."""
        path = f"/tenancy/v1/tenants/{tenant}/serviceCredentials?serviceCredentialId=robot"
        body = {"roles": ["viewer"], **given}
        headers = {"authorization": f"Bearer {self.gateway.token(tenant)}"}
        made = awaited(lambda: self.gateway.post(path, body, headers=headers)).json()
        client_id = made["serviceCredential"]["clientId"]
        return {"clientId": client_id, "clientSecret": made["clientSecret"]}

    def token(self, shown: dict[str, str], *, ago: float = 0, **more: Any) -> str:
        """Get a token over REST, as it was given some seconds ago."""
        self.tenancy.world.clock.moment = time.time_ns() // 1000 - int(ago * 1_000_000)
        issue = "/tenancy/v1/tokens:issue"
        client = self.gateway.client
        answer = awaited(lambda: client.post(issue, content=json.dumps({**shown, **more})))
        self.tenancy.world.clock.moment = time.time_ns() // 1000
        assert answer.json()["tokenType"] == "Bearer"
        return str(answer.json()["accessToken"])

    def ask(self, token: str, path: str = KINDS) -> httpx.Response:
        return awaited(lambda: self.gateway.get(path, headers=bearer(token)), any_status=True)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def awaited(ask: Callable[[], httpx.Response], *, any_status: bool = False) -> httpx.Response:
    """Ask again while a busy machine answers Envoy's probes too late."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (answer := ask()).status_code == 503 and time.monotonic() < until:
        time.sleep(0.2)
    assert any_status or answer.status_code == 200, answer.text
    return answer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("issuers")
    create_signing_key(folder / "keys")
    with running_tenancy(folder / "keys") as tenancy:
        issuers = f"{MESH}=grpc://{tenancy.world.address}"
        settings = {
            "SECMESH_HOME": str(folder),
            "DATABASE_URL": inventory_store(folder),
            "SECMESH_INVENTORY_LISTEN": "127.0.0.1:0",
            "SECMESH_INVENTORY_JWKS": str(folder / "keys" / JWKS_FILE),
            "SECMESH_INVENTORY_ISSUERS": issuers,
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with process(INVENTORY, folder / "inventory.log", own | settings) as child:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line.startswith("LISTENING "), (folder / "inventory.log").read_text()
            address = json.loads(line.removeprefix("LISTENING "))["address"]
            services = {"inventory": address, "tenancy": tenancy.world.address}
            policy = Policy(further_issuers=(MESH,))
            with (
                edge(services, folder, options=["--issuers", issuers]) as addresses,
                running_gateway(services, folder, addresses, policy) as gateway,
            ):
                yield Site(gateway, tenancy)


def test_a_token_of_the_meshs_issuer_opens_all_three_surfaces(site: Site) -> None:
    tenant = site.tenant()
    token = site.token(site.credential(tenant))
    keys = awaited(lambda: site.gateway.client.get("/tenancy/v1/key_set")).json()["keys"]
    assert jwt.get_unverified_header(token)["kid"] in {each["kid"] for each in keys}
    assert site.ask(token).json()["kinds"]
    # What is missing is the service's own word: it believed the token, too.
    missing = sync_service_pb2.GetSyncRequest(name=f"tenants/{tenant}/syncs/none")
    assert_refused(
        site.ask(token, f"/inventory/v1/{missing.name}"), NOT_FOUND, "RESOURCE_NOT_FOUND"
    )
    with site.gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        SyncServiceStub(channel).GetSync(missing, metadata=site.gateway.bearer(token), timeout=60)
    assert cast("grpc.Call", caught.value).code() is NOT_FOUND
    for content_type in (BINARY, TEXT):
        answer = call(site.gateway.client, GET_SYNC, missing, bearer(token), content_type)
        assert (answer.status, answer.reason) == (NOT_FOUND.value[0], "RESOURCE_NOT_FOUND")
    # The first issuer's tokens are good as before.
    assert site.ask(site.gateway.token(tenant)).status_code == 200


def test_what_a_token_is_not_for_is_refused_with_its_reason(site: Site) -> None:
    tenant, other = site.tenant(), site.tenant()
    shown = site.credential(tenant, methods=["secmesh.inventory.v1.RecordService/*"])
    token = site.token(shown)
    assert site.ask(token, f"/inventory/v1/tenants/{tenant}/iam_users").status_code == 200
    foreign = site.ask(token, f"/inventory/v1/tenants/{other}/iam_users")
    assert_refused(foreign, NOT_FOUND, "RESOURCE_NOT_FOUND")
    beyond = site.ask(token, f"/inventory/v1/tenants/{tenant}/syncs")
    assert_refused(beyond, DENIED, "PERMISSION_MISSING")
    changed = site.gateway.post(
        f"/inventory/v1/tenants/{tenant}:batchWrite", {}, headers=bearer(token)
    )
    assert changed.status_code in (400, 403), changed.text


def test_a_token_of_one_service_is_refused_by_the_others(site: Site) -> None:
    tenant = site.tenant()
    shown = site.credential(tenant)
    assert site.ask(site.token(shown, audience="inventory")).status_code == 200
    refused = site.ask(site.token(shown, audience="tenancy"))
    assert_refused(refused, UNAUTHENTICATED, "TOKEN_INVALID")
    assert "audience" in refused.json()["message"]
    # One that is not behind this gateway is not let in by it.
    refused = site.ask(site.token(shown, audience="crypto"))
    assert_refused(refused, UNAUTHENTICATED, "TOKEN_INVALID")
    assert "audience" in refused.json()["message"]


def test_an_expired_token_is_refused_as_such(site: Site) -> None:
    shown = site.credential(site.tenant())
    # Of five minutes, and clocks may differ by half a minute.
    assert_refused(site.ask(site.token(shown, ago=400)), UNAUTHENTICATED, "TOKEN_EXPIRED")


def test_no_issuer_speaks_for_another(site: Site, tmp_path: Path) -> None:
    token = site.token(site.credential(site.tenant()))
    claims = jwt.decode(token, options={"verify_signature": False})
    create_signing_key(tmp_path)
    stranger = sign_token(tmp_path, subject="eve", tenant="acme", roles=["admin"])
    forged = [
        signed(site.gateway.keys, claims),
        signed(tmp_path, claims),
        signed(tmp_path, {**claims, "iss": "https://evil.example"}),
        stranger,
        unsigned(token),
    ]
    for each in forged:
        refused = site.ask(each)
        assert_refused(refused, UNAUTHENTICATED, "TOKEN_INVALID")
        assert each not in refused.text
    missing = sync_service_pb2.GetSyncRequest(name="tenants/acme/syncs/none")
    for each in forged:
        answer = call(site.gateway.client, GET_SYNC, missing, bearer(each))
        assert (answer.status, answer.reason) == (UNAUTHENTICATED.value[0], "TOKEN_INVALID")
    other = site.ask(forged[2])
    assert "issuer" in other.json()["message"]


def signed(folder: Path, claims: dict[str, Any]) -> str:
    key = (folder / KEY_FILE).read_bytes()
    return jwt.encode(claims, key, "ES256", {"kid": public_key_id(folder)})


def unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def test_who_has_no_token_is_told_so(site: Site) -> None:
    refused = awaited(lambda: site.gateway.client.get(KINDS), any_status=True)
    assert_refused(refused, UNAUTHENTICATED, "TOKEN_MISSING")


def test_a_key_that_is_taken_out_of_use_ends_at_the_gateway(site: Site) -> None:
    token = site.token(site.credential(site.tenant()))
    assert site.ask(token).status_code == 200
    kid = jwt.get_unverified_header(token)["kid"]
    platform = sign_token(
        site.gateway.keys, subject="ann", tenant="platform", roles=["platform", "admin"]
    )
    path = "/tenancy/v1/signing_keys:revoke"
    awaited(lambda: site.gateway.post(path, {"kid": kid}, headers=bearer(platform)))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := site.ask(token)).status_code != 401:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    assert_refused(answer, UNAUTHENTICATED, "TOKEN_INVALID")
    fresh = site.token(site.credential(site.tenant()))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := site.ask(fresh)).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)


def test_without_the_issuers_keys_its_tokens_wait_and_others_pass(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """An issuer that does not answer costs its own callers alone, who are told to try again."""
    folder = tmp_path_factory.mktemp("absent")
    create_signing_key(folder / "keys")
    with running_tenancy(folder / "keys") as tenancy:
        services, policy = {"tenancy": tenancy.world.address}, Policy(further_issuers=(MESH,))
        absent = ["--issuers", f"{MESH}=grpc://127.0.0.1:9"]
        with (
            edge(services, folder, options=absent) as addresses,
            running_gateway(services, folder, addresses, policy) as gateway,
        ):
            site = Site(gateway, tenancy)
            tenant = site.tenant()
            token = site.token(site.credential(tenant))
            refused = gateway.get(f"/tenancy/v1/tenants/{tenant}", headers=bearer(token))
            metadata = assert_refused(refused, UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
            assert metadata["dependency"] == ISSUER_KEYS
