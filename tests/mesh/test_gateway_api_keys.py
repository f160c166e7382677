"""API keys at the gateway: exchanged for a token, ended within seconds, never passed on."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import httpx
import jwt
import pytest

from gateway.policy import Policy
from mesh.identity.api_key import ApiKey
from mesh.identity.keys import JWKS_FILE, KEY_FILE, create_signing_key
from mesh.identity.token import TokenVerifier
from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from tests.mesh.gateway_fixtures import (
    API_KEYS_FILE,
    Gateway,
    assert_refused,
    command,
    edge,
    process,
    running_gateway,
)
from tests.mesh.grpc_web import BINARY, TEXT, call
from tests.mesh.test_gateway_grpc import code_of, reason_of
from tests.mesh.upstream import Journal, Upstream

KINDS = "/inventory/v1/kinds"
GET = sync_service_pb2.GetSyncRequest(name="tenants/acme/syncs/one")
GET_SYNC = "/secmesh.inventory.v1.SyncService/GetSync"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EFFECT_SECONDS = 20


def new_key(gateway: Gateway, *, seconds: float = 3600, **changes: str) -> ApiKey:
    expiry = datetime.now(UTC) + timedelta(seconds=seconds)
    tenant = changes.get("tenant", "acme")
    return gateway.api_keys.add(tenant=tenant, roles=("viewer",), expire_time=expiry, label="ci")


def ask(gateway: Gateway, key: str) -> httpx.Response:
    return gateway.client.get(KINDS, headers={"x-api-key": key})


@pytest.fixture
def alone(upstream: Upstream, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of one test, whose failed attempts are its own."""
    with running_gateway({"inventory": upstream.address}, tmp_path) as started:
        yield started


def test_key_becomes_a_token_of_its_tenant_and_roles(gateway: Gateway, journal: Journal) -> None:
    key = new_key(gateway, tenant="globex")
    assert ask(gateway, key.text()).status_code == 200
    metadata = journal.last.metadata
    scheme, token = metadata["authorization"].split(" ")
    caller = TokenVerifier(gateway.keys / JWKS_FILE, "secmesh-local", "secmesh").verify(token)
    assert (scheme, caller.subject, caller.tenant) == ("Bearer", f"api-key:{key.id}", "globex")
    assert caller.permits("inventory.syncs.list")
    assert not caller.permits("inventory.syncs.create")
    assert caller.tenants == frozenset()
    assert caller.expires_at - time.time() <= 300
    assert key.secret not in str(metadata)
    assert "x-api-key" not in metadata


def test_key_as_a_bearer_token(gateway: Gateway, journal: Journal) -> None:
    key = new_key(gateway)
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {key.text()}"}
        assert gateway.client.get(KINDS, headers=headers).status_code == 200
        assert key.secret not in str(journal.last.metadata)


def test_key_over_grpc_and_grpc_web(gateway: Gateway, journal: Journal) -> None:
    key = new_key(gateway).text()
    with gateway.channel() as channel:
        stub = SyncServiceStub(channel)
        stub.GetSync(GET, metadata=(("x-api-key", key),))
        stub.GetSync(GET, metadata=(("authorization", f"Bearer {key}"),))
    for content_type in (BINARY, TEXT):
        headers = {"x-api-key": key}
        assert call(gateway.client, GET_SYNC, GET, headers, content_type).status == 0
    assert [seen.request for seen in journal.calls] == [GET] * 4
    assert key not in str([seen.metadata for seen in journal.calls])


def test_token_is_used_again_while_it_is_fresh(gateway: Gateway, journal: Journal) -> None:
    key = new_key(gateway).text()
    for _ in range(2):
        assert ask(gateway, key).status_code == 200
    first, second = (seen.metadata["authorization"] for seen in journal.calls)
    assert first == second


def test_key_that_nobody_made(gateway: Gateway, journal: Journal) -> None:
    good = new_key(gateway)
    other_secret = ApiKey(good.id, ApiKey.generate().secret).text()
    for text in ("rubbish", "", ApiKey.generate().text(), other_secret, good.text()[:-1]):
        assert_refused(ask(gateway, text), UNAUTHENTICATED, "API_KEY_INVALID")
    assert journal.calls == []


def test_expired_key(gateway: Gateway, journal: Journal) -> None:
    key = new_key(gateway, seconds=-1).text()
    assert_refused(ask(gateway, key), UNAUTHENTICATED, "API_KEY_EXPIRED")
    assert journal.calls == []


def test_key_expires_while_its_token_would_still_live(gateway: Gateway) -> None:
    key = new_key(gateway, seconds=10).text()
    assert ask(gateway, key).status_code == 200
    deadline = time.monotonic() + 60
    while (response := ask(gateway, key)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert_refused(response, UNAUTHENTICATED, "API_KEY_EXPIRED")


def test_revoked_key_ends_within_seconds(gateway: Gateway) -> None:
    key, other = new_key(gateway), new_key(gateway)
    assert ask(gateway, key.text()).status_code == 200
    gateway.api_keys.revoke(key.id)
    deadline = time.monotonic() + EFFECT_SECONDS
    while (response := ask(gateway, key.text())).status_code == 200:
        assert time.monotonic() < deadline
    assert_refused(response, UNAUTHENTICATED, "API_KEY_INVALID")
    assert ask(gateway, other.text()).status_code == 200


def test_refusals_reach_grpc_callers_with_their_reason(gateway: Gateway) -> None:
    expired = new_key(gateway, seconds=-1).text()
    bad = (
        ((("x-api-key", "rubbish"),), "API_KEY_INVALID"),
        (
            (("x-api-key", expired),),
            "API_KEY_EXPIRED",
        ),
    )
    with gateway.channel() as channel:
        stub = SyncServiceStub(channel)
        for metadata, reason in bad:
            with pytest.raises(grpc.RpcError) as refused:
                stub.GetSync(GET, metadata=metadata)
            assert (code_of(refused.value), reason_of(refused.value)) == (UNAUTHENTICATED, reason)
    for content_type in (BINARY, TEXT):
        answer = call(gateway.client, GET_SYNC, GET, {"x-api-key": expired}, content_type)
        assert answer.response.status_code == 200
        assert (answer.status, answer.reason) == (UNAUTHENTICATED.value[0], "API_KEY_EXPIRED")


def test_key_beside_a_token_is_refused(gateway: Gateway, journal: Journal) -> None:
    key, token = new_key(gateway).text(), gateway.token()
    for headers in (
        [("x-api-key", key), ("authorization", f"Bearer {token}")],
        [("x-api-key", key), ("authorization", f"Bearer {key}")],
        [("authorization", f"Bearer {key}"), ("authorization", f"Bearer {token}")],
        [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {key}")],
    ):
        response = gateway.client.get(KINDS, headers=headers)
        assert_refused(response, UNAUTHENTICATED, "CREDENTIALS_AMBIGUOUS")
    assert journal.calls == []


def test_open_paths_neither_need_nor_judge_a_key(gateway: Gateway) -> None:
    for path in ("/healthz", "/openapi.json", "/docs"):
        assert gateway.client.get(path, headers={"x-api-key": "rubbish"}).status_code == 200


def test_key_is_in_no_log(gateway: Gateway) -> None:
    key = new_key(gateway)
    headers = {"x-api-key": key.text(), "x-request-id": "with-a-key"}
    assert gateway.client.get(KINDS, headers=headers).status_code == 200
    gateway.client.get(KINDS, headers={"x-api-key": f"{key.text()}x"})
    deadline = time.monotonic() + 60
    while "with-a-key" not in gateway.access_log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    logs = (gateway.access_log, gateway.access_log.with_name("edge.log"))
    assert not any(key.secret in log.read_text() for log in logs)


def test_broken_file_makes_no_key_good_and_leaves_tokens_alone(alone: Gateway) -> None:
    key = new_key(alone).text()
    assert ask(alone, key).status_code == 200
    file = alone.keys / API_KEYS_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    response = ask(alone, key)
    metadata = assert_refused(response, UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert metadata["dependency"] == "api keys"
    assert response.headers["retry-after"] == "1"
    assert alone.get(KINDS).status_code == 200
    assert "API keys cannot be read" in (alone.keys.parent / "edge.log").read_text()
    file.write_bytes(whole)
    assert ask(alone, key).status_code == 200
    file.chmod(0o666)
    assert_refused(ask(alone, key), UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    file.unlink()
    assert_refused(ask(alone, key), UNAUTHENTICATED, "API_KEY_INVALID")


def test_wrong_keys_from_one_address_are_limited(alone: Gateway, journal: Journal) -> None:
    proven, fresh = new_key(alone).text(), new_key(alone).text()
    assert ask(alone, proven).status_code == 200
    answers = [ask(alone, ApiKey.generate().text()) for _ in range(60)]
    reasons = [answer.json()["details"][0]["reason"] for answer in answers]
    assert reasons[:20] == ["API_KEY_INVALID"] * 20
    assert reasons[-1] == "API_KEY_ATTEMPTS_EXCEEDED"
    last = answers[-1]
    assert_refused(last, grpc.StatusCode.RESOURCE_EXHAUSTED, "API_KEY_ATTEMPTS_EXCEEDED")
    assert 1 <= int(last.headers["retry-after"]) <= 3
    assert ask(alone, fresh).status_code == 429
    assert ask(alone, proven).status_code == 200
    assert alone.get(KINDS).status_code == 200
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=f"http://{alone.address}", transport=elsewhere) as neighbour:
        assert neighbour.get(KINDS, headers={"x-api-key": fresh}).status_code == 200
    assert len(journal.calls) == 4


def test_gateway_without_a_signing_key_takes_no_keys(upstream: Upstream, tmp_path: Path) -> None:
    services = {"inventory": upstream.address}
    other = tmp_path / "issuer"
    with running_gateway(services, other) as made:  # its key set, but not its key
        shutil.copytree(made.keys, tmp_path / "keys")
    (tmp_path / "keys" / KEY_FILE).unlink()
    with edge(services, tmp_path) as addresses, running_gateway(services, other, addresses) as ours:
        key = new_key(ours).text()
        assert_refused(ask(ours, key), UNAUTHENTICATED, "API_KEYS_UNSUPPORTED")
        assert ours.get(KINDS).status_code == 200
        assert "need a signing key, and a file of keys" in (tmp_path / "edge.log").read_text()


def test_signing_key_outside_the_key_set_stops_the_edge(gateway: Gateway, tmp_path: Path) -> None:
    strange = tmp_path / JWKS_FILE
    strange.write_bytes((gateway.keys / JWKS_FILE).read_bytes().replace(b'"kid":"', b'"kid":"x'))
    arguments = ("--jwks", str(strange), "--api-keys", str(tmp_path / API_KEYS_FILE))
    serve = command("serve", "--service", "inventory=127.0.0.1:1", *arguments)
    log = tmp_path / "edge.log"
    with process([*serve, "--signing-keys", str(gateway.keys)], log) as child:
        assert child.wait(timeout=30) == 1
    assert "not in the key set" in log.read_text()


def test_token_of_a_key_is_no_longer_than_the_key(gateway: Gateway, journal: Journal) -> None:
    key = new_key(gateway, seconds=60).text()
    assert ask(gateway, key).status_code == 200
    token = journal.last.metadata["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - time.time() <= 60


def test_limits_count_a_key_for_its_tenant(upstream: Upstream, tmp_path: Path) -> None:
    policy = Policy(requests_per_second=1, burst=3)
    services = {"inventory": upstream.address}
    with running_gateway(services, tmp_path, policy=policy) as limited:
        keys = [new_key(limited).text(), new_key(limited).text()]
        answers = [ask(limited, key) for key in keys * 4]
        assert {answer.status_code for answer in answers} == {200, 429}
        late = next(answer for answer in answers if answer.status_code == 429)
        assert_refused(late, grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert ask(limited, new_key(limited, tenant="globex").text()).status_code == 200


def test_callers_with_tokens_do_not_wait_for_the_edge(upstream: Upstream, tmp_path: Path) -> None:
    services = {"inventory": upstream.address}
    create_signing_key(tmp_path / "keys")
    with contextlib.ExitStack() as stack:
        with edge(services, tmp_path) as addresses:
            alone = stack.enter_context(running_gateway(services, tmp_path, addresses))
            key = new_key(alone).text()
            channel = stack.enter_context(alone.channel())
            stub = SyncServiceStub(channel)
            stub.GetSync(GET, metadata=(("x-api-key", key),))
        # The edge is gone; Envoy knows the issuer's keys for some seconds yet.
        stub.GetSync(GET, metadata=alone.bearer())
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetSync(GET, metadata=(("x-api-key", key),))
    reason = reason_of(refused.value)
    assert (code_of(refused.value), reason) == (UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
