"""The real inventory service behind the real gateway: refusals of the service over REST."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from gateway.contracts import deployables
from gateway.routes import PathTemplate
from mesh.contract.catalogue import Method
from mesh.identity.keys import JWKS_FILE, create_signing_key, sign_token
from tests.inventory_store import inventory_store
from tests.mesh.gateway_fixtures import (
    Gateway,
    assert_refused,
    process,
    running_gateway,
    violations,
)

ROOT = "/inventory/v1/tenants/acme"
NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT
COMMAND = [sys.executable, "-m", "services.inventory", "serve"]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("inventory")
    create_signing_key(folder / "keys")
    settings = {
        "SECMESH_HOME": str(folder),
        "DATABASE_URL": inventory_store(folder),
        "SECMESH_INVENTORY_LISTEN": "127.0.0.1:0",
        "SECMESH_INVENTORY_JWKS": str(folder / "keys" / JWKS_FILE),
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    log = folder / "inventory.log"
    with process(COMMAND, log, own | settings) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("LISTENING "), log.read_text()
        address = json.loads(line.removeprefix("LISTENING "))["address"]
        with running_gateway({"inventory": address}, folder) as started:
            yield started


def as_role(mesh: Gateway, role: str) -> dict[str, str]:
    token = sign_token(mesh.keys, subject="bob", tenant="acme", roles=[role])
    return {"authorization": f"Bearer {token}"}


def test_catalogue_and_an_empty_list(mesh: Gateway) -> None:
    kinds = mesh.get("/inventory/v1/kinds").json()["kinds"]
    collections = sorted(deployables()["inventory"].catalogue.record_kinds)
    assert [kind["collection"] for kind in kinds] == collections
    for collection in collections:
        response = mesh.get(f"{ROOT}/{collection}?pageSize=5&filter=true")
        assert (response.status_code, response.json()) == (200, {})


def test_the_past_over_rest(mesh: Gateway) -> None:
    listed = mesh.get(f"{ROOT}/iam_users?readTime=2026-01-31T12:00:00Z")
    assert (listed.status_code, listed.json()) == (200, {})
    moments = "fromTime=2026-01-31T12:00:00Z&toTime=2026-01-31T13:00:00Z"
    for collection in ("iam_users", "-"):
        compared = mesh.get(f"{ROOT}/{collection}:diff?{moments}")
        assert compared.status_code == 200, compared.text
        assert compared.json() == {
            "fromTime": "2026-01-31T12:00:00Z",
            "toTime": "2026-01-31T13:00:00Z",
        }


def test_aggregates_over_rest(mesh: Gateway) -> None:
    asked = {"aggregates": [{"function": "FUNCTION_AVG", "field": "retention_days"}]}
    answer = mesh.post(f"{ROOT}/s3_buckets:aggregate", asked)
    assert (answer.status_code, answer.json()) == (200, {"groups": [{"values": [{}]}]})


def test_missing_record_and_unknown_kind(mesh: Gateway) -> None:
    metadata = assert_refused(mesh.get(f"{ROOT}/iam_users/none"), NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert metadata["resource"] == "tenants/acme/iam_users/none"
    metadata = assert_refused(mesh.get(f"{ROOT}/dragons/one"), NOT_FOUND, "KIND_UNKNOWN")
    assert metadata["collection"] == "dragons"


@pytest.mark.parametrize(
    ("target", "reason", "fields"),
    [
        ("iam_users?pageSize=1001", "FIELD_INVALID", ["page_size"]),
        ("iam_users?filter=colour%20%3D%3D%201", "FILTER_INVALID", ["filter"]),
        ("iam_users?readTime=9999-01-01T00:00:00Z", "FIELD_INVALID", ["read_time"]),
        ("iam_users:diff?fromTime=9999-01-01T00:00:00Z", "FIELD_INVALID", ["from_time"]),
        ("iam_users:diff", "FIELD_INVALID", ["old_state"]),
        ("iam_users?pageToken=forged", "PAGE_TOKEN_INVALID", []),
        ("iam_users?orderBy=colour", "ORDER_INVALID", []),
        ("iam_users?readMask=colour", "MASK_INVALID", []),
        ("syncs/UPPER", "FIELD_INVALID", ["name"]),
    ],
)
def test_bounds_of_the_contract(mesh: Gateway, target: str, reason: str, fields: list[str]) -> None:
    response = mesh.get(f"{ROOT}/{target}")
    assert_refused(response, INVALID, reason)
    assert list(violations(response)) == fields


def test_bounds_of_a_body(mesh: Gateway) -> None:
    response = mesh.post(f"{ROOT}/syncs", {"cloudAccountId": "12", "regions": ["mars"]})
    assert_refused(response, INVALID, "FIELD_INVALID")
    assert sorted(violations(response)) == ["sync.cloud_account_id", "sync.regions[0]"]


def test_role_without_the_permission(mesh: Gateway) -> None:
    assert mesh.get(f"{ROOT}/iam_users", headers=as_role(mesh, "viewer")).status_code == 200
    response = mesh.post(
        f"{ROOT}/syncs", {"cloudAccountId": "123456789012"}, headers=as_role(mesh, "viewer")
    )
    metadata = assert_refused(response, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert metadata["permission"] == "inventory.syncs.create"


_IMPORTS = {
    "PostEvents": {"events": [{}]},
    "ImportSsp": {"sspId": "plan", "document": "e30="},
    "ImportControls": {"document": "e30="},
}


def _call(mesh: Gateway, method: Method, tenant: str) -> httpx.Response:
    """Call the first route of a method with a name of a tenant."""
    route = method.routes[0]
    template = PathTemplate.parse(route.template)
    path = list(template.segments)
    for place, segment in enumerate(path):
        if segment == "*":
            path[place] = {"tenants": tenant, tenant: "iam_users"}.get(path[place - 1], "one")
    target = "/" + "/".join(path) + (f":{template.verb}" if template.verb else "")
    if method.upload is not None:
        return mesh.call(route.verb, target, content=b"{}")
    bodies: dict[str, Any] = {
        "": None,
        "record": {"iamUser": {"username": "ana"}},
        "sync": {"cloudAccountId": "123456789012"},
        "check_exception": {"checkId": "s3.encryption", "reason": "None."},
        "webhook": {"url": "https://example.com/"},
        "control": {"check": {"id": "custom.one"}},
        "*": _IMPORTS.get(method.descriptor.name, {}),
    }
    body = bodies[route.body]
    return mesh.call(route.verb, target, content=None if body is None else json.dumps(body))


@pytest.mark.parametrize(
    "method",
    [
        method
        for method in deployables()["inventory"].methods
        # A stream of requests is no JSON object: the edge refuses it before anybody looks at it.
        if method.names and (method.upload or not method.descriptor.client_streaming)
        # What the platform alone may do is refused before anybody looks at the name.
        if not method.permission.startswith("platform.")
    ],
    ids=lambda method: method.descriptor.name,
)
def test_another_tenants_name_is_not_found(mesh: Gateway, method: Method) -> None:
    response = _call(mesh, method, "others")
    metadata = assert_refused(response, NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert metadata["resource"].startswith("tenants/others")


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("POST", "/iam_users?recordId=a", {"iamUser": {"username": "ana"}}),
        ("PATCH", "/iam_users/a?updateMask=iamUser.username", {"iamUser": {"username": "ana"}}),
        ("PATCH", "/iam_users/a?allowMissing=true", {"iamUser": {"username": "ana"}}),
        ("DELETE", "/iam_users/a?etag=e", None),
        (
            "POST",
            ":batchWrite",
            {"writes": [{"delete": {"name": "tenants/acme/iam_users/a"}}]},
        ),
    ],
)
def test_collected_kinds_are_not_written(
    mesh: Gateway, verb: str, path: str, body: dict[str, Any] | None
) -> None:
    response = mesh.call(verb, ROOT + path, content=None if body is None else json.dumps(body))
    metadata = assert_refused(response, grpc.StatusCode.FAILED_PRECONDITION, "KIND_READ_ONLY")
    assert metadata["collection"] == "iam_users"


def test_a_field_that_no_record_has_is_refused_by_name(mesh: Gateway) -> None:
    response = mesh.call("PATCH", f"{ROOT}/iam_users/a", content='{"iamUser": {"colour": 1}}')
    assert_refused(response, INVALID, "BODY_INVALID")
    assert "iam_user.colour" in response.text


def test_path_of_the_database_does_not_leak(mesh: Gateway) -> None:
    for target in ("iam_users/none", "iam_users?orderBy=name%27", "syncs/one"):
        text = mesh.get(f"{ROOT}/{target}").text
        assert "sqlite" not in text.lower()
        assert str(mesh.keys.parent) not in text


@pytest.mark.parametrize("parent", [f"{ROOT}/iam_users", f"{ROOT}/-", ROOT])
def test_watched_records_over_rest(mesh: Gateway, parent: str) -> None:
    url = f"{parent}:watch?includeExisting=true"
    headers = {"authorization": f"Bearer {mesh.token()}", "accept": "text/event-stream"}
    with mesh.client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        line = next(each for each in answer.iter_lines() if each)
    event = json.loads(line.removeprefix("data: "))
    assert event["bookmark"] == {}
    assert event["revision"]
    refused = mesh.get(f"{parent}:watch?revision=4611686018427387904-0")
    assert_refused(refused, grpc.StatusCode.OUT_OF_RANGE, "REVISION_GONE")
