"""API keys that the tenancy service keeps, at the gateway: asked for, used for seconds, ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from mesh.identity.api_key import ApiKey
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from tests.mesh.gateway_fixtures import Gateway, assert_refused, edge, running_gateway
from tests.mesh.grpc_web import BINARY, call
from tests.mesh.tenancy_upstream import TenancyUpstream, running_tenancy
from tests.mesh.upstream import Upstream

KINDS = "/inventory/v1/kinds"
GET = sync_service_pb2.GetSyncRequest(name="tenants/acme/syncs/one")
GET_SYNC = "/secmesh.inventory.v1.SyncService/GetSync"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EFFECT_SECONDS = 60
DAY = 24 * 3600


@dataclass
class Site:
    """A gateway, and the tenancy service that it asks."""

    gateway: Gateway
    tenancy: TenancyUpstream
    folder: Path

    def tenant(self) -> str:
        """Make a tenant of one test."""
        return self.tenancy.run(self.tenancy.world.tenant())

    def make(self, tenant: str, **values: Any) -> dict[str, Any]:
        """Make a key as a tenant's people do."""
        moment = self.tenancy.world.clock.moment // 1_000_000
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment + DAY))
        given = {"roles": ["viewer"], "expireTime": expiry} | values
        path = f"/tenancy/v1/tenants/{tenant}/apiKeys"
        response = self.gateway.post(path, given, **self.as_(tenant))
        assert response.status_code == 200, response.text
        made: dict[str, Any] = response.json()
        return made

    def revoke(self, made: dict[str, Any]) -> None:
        name = made["apiKey"]["name"]
        response = self.gateway.post(
            f"/tenancy/v1/{name}:revoke", {}, **self.as_(name.split("/")[1])
        )
        assert response.json()["state"] == "API_KEY_STATE_REVOKED"

    def as_(self, tenant: str) -> dict[str, Any]:
        return {"headers": {"authorization": f"Bearer {self.gateway.token(tenant)}"}}

    def ask(self, text: str, target: str = KINDS) -> httpx.Response:
        return self.gateway.client.get(target, headers={"x-api-key": text})

    def asked(self) -> int:
        """How often the store was asked whose a key is."""
        return sum(
            access.leading_key.startswith("#key#") and call.operation == "GetItem"
            for call in list(self.tenancy.world.recorder.calls)
            for access in call.accesses
        )

    def until_refused(self, text: str) -> httpx.Response:
        deadline = time.monotonic() + EFFECT_SECONDS
        while (response := self.ask(text)).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return response

    def until_good(self, text: str) -> None:
        deadline = time.monotonic() + EFFECT_SECONDS
        while self.ask(text).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextmanager
def running_site(upstream: Upstream, folder: Path, *options: str) -> Iterator[Site]:
    keys = folder / "keys"
    create_signing_key(keys)
    with running_tenancy(keys) as tenancy:
        address = tenancy.world.address
        services = {"inventory": upstream.address, "tenancy": address}
        asking = ("--api-key-service", address, *options)
        with (
            edge(services, folder, options=asking) as addresses,
            running_gateway(services, folder, addresses) as gateway,
        ):
            yield Site(gateway, tenancy, folder)


@pytest.fixture(scope="module")
def site(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("keys")
    with running_site(upstream, folder, "--api-key-seconds", "0.5") as started:
        yield started


def test_a_key_made_over_rest_is_good_in_all_three_forms(site: Site) -> None:
    made = site.make(site.tenant(), displayName="ci")
    text = made["keyText"]
    assert ApiKey.parse(text).id == made["apiKey"]["name"].rpartition("/")[2]
    assert site.ask(text).status_code == 200
    with site.gateway.channel() as channel:
        SyncServiceStub(channel).GetSync(GET, metadata=(("x-api-key", text),))
    answer = call(site.gateway.client, GET_SYNC, GET, {"x-api-key": text}, BINARY)
    assert answer.status == 0


def test_a_key_may_do_what_it_was_made_for_in_its_tenant(site: Site) -> None:
    tenant, other = site.tenant(), site.tenant()
    text = site.make(tenant)["keyText"]
    own = f"/tenancy/v1/tenants/{tenant}/apiKeys"
    assert site.ask(text, own).status_code == 200
    strange = site.ask(text, f"/tenancy/v1/tenants/{other}/apiKeys")
    assert_refused(strange, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    made = site.gateway.client.post(own, json={"roles": ["viewer"]}, headers={"x-api-key": text})
    assert_refused(made, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")


def test_a_key_for_one_method_opens_no_other(site: Site) -> None:
    tenant = site.tenant()
    text = site.make(tenant, methods=["secmesh.tenancy.v1.ApiKeyService/ListApiKeys"])["keyText"]
    assert site.ask(text, f"/tenancy/v1/tenants/{tenant}/apiKeys").status_code == 200
    other = site.ask(text, f"/tenancy/v1/tenants/{tenant}/providers")
    assert_refused(other, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")


def test_a_revoked_key_stops_and_others_go_on(site: Site) -> None:
    tenant = site.tenant()
    made, kept = site.make(tenant), site.make(tenant)
    assert site.ask(made["keyText"]).status_code == 200
    site.revoke(made)
    refused = site.until_refused(made["keyText"])
    assert_refused(refused, UNAUTHENTICATED, "API_KEY_INVALID")
    assert site.ask(kept["keyText"]).status_code == 200


def test_a_mistyped_key_is_refused_without_a_question(site: Site) -> None:
    text = site.make(site.tenant())["keyText"]
    before = site.asked()
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert_refused(site.ask(wrong), UNAUTHENTICATED, "API_KEY_INVALID")
    assert site.asked() == before
    unknown = ApiKey.generate().text()
    assert_refused(site.ask(unknown), UNAUTHENTICATED, "API_KEY_INVALID")
    assert site.asked() == before + 1


def test_keys_stop_with_their_tenant_and_come_back_with_it(site: Site) -> None:
    tenant = site.tenant()
    text = site.make(tenant)["keyText"]
    assert site.ask(text).status_code == 200
    world, name = site.tenancy.world, f"tenants/{tenant}"

    async def close() -> None:
        await world.platform(tenant).DeleteTenant(tenants.DeleteTenantRequest(name=name))

    async def open_again() -> None:
        request = tenants.UndeleteTenantRequest(name=name)
        await world.platform(tenant).UndeleteTenant(request)

    site.tenancy.run(close())
    assert_refused(site.until_refused(text), UNAUTHENTICATED, "API_KEY_INVALID")
    site.tenancy.run(open_again())
    site.until_good(text)


def test_keys_of_the_file_are_good_beside_those_of_the_service(site: Site) -> None:
    expiry = datetime.now(UTC) + timedelta(days=1)
    key = site.gateway.api_keys.add(tenant="acme", roles=("viewer",), expire_time=expiry)
    assert site.ask(key.text()).status_code == 200


def test_no_key_is_in_a_log(site: Site) -> None:
    text = site.make(site.tenant())["keyText"]
    key = ApiKey.parse(text)
    assert site.ask(text).status_code == 200
    for log in ("edge.log", "envoy.log"):
        told = (site.folder / log).read_text()
        assert key.secret not in told
        assert key.digest() not in told


def test_an_expired_key(upstream: Upstream, tmp_path: Path) -> None:
    with running_site(upstream, tmp_path, "--api-key-seconds", "0") as alone:
        text = alone.make(alone.tenant())["keyText"]
        assert alone.ask(text).status_code == 200
        alone.tenancy.world.clock.turn(DAY)
        assert_refused(alone.ask(text), UNAUTHENTICATED, "API_KEY_EXPIRED")


def test_when_tenancy_is_down_known_keys_go_on_and_others_wait(
    upstream: Upstream, tmp_path: Path
) -> None:
    with running_site(upstream, tmp_path, "--api-key-seconds", "30") as alone:
        tenant = alone.tenant()
        known, new = alone.make(tenant)["keyText"], alone.make(tenant)["keyText"]
        asked = time.monotonic()
        assert alone.ask(known).status_code == 200
        alone.tenancy.stop()
        response = alone.ask(new)
        assert assert_refused(response, UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")["dependency"] == (
            "tenancy"
        )
        assert response.headers["retry-after"] == "1"
        again = alone.ask(known)
        assert again.status_code == 200 or time.monotonic() - asked >= 30
        assert alone.gateway.get(KINDS).status_code == 200


def test_an_edge_that_may_not_ask_lets_nobody_in(upstream: Upstream, tmp_path: Path) -> None:
    create_signing_key(tmp_path / "keys")
    weak = tmp_path / "token"
    weak.write_text(sign_token(tmp_path / "keys", subject="edge", tenant="gateway"))
    with running_site(upstream, tmp_path, "--api-key-token", str(weak)) as alone:
        text = alone.make(alone.tenant())["keyText"]
        assert_refused(alone.ask(text), UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert "PERMISSION_MISSING" in (tmp_path / "edge.log").read_text()
        good = sign_token(
            tmp_path / "keys",
            subject="edge",
            tenant="gateway",
            permissions=["platform.api_keys.resolve"],
        )
        weak.write_text(good)
        assert alone.ask(text).status_code == 200
