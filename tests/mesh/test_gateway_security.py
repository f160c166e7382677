"""The real security service behind the real gateway: records over REST, on PostgreSQL."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from gateway.contracts import deployables
from mesh.identity.keys import JWKS_FILE, create_signing_key
from mesh.sealing.keyring import create_keys
from tests.databases import security_database
from tests.mesh.gateway_fixtures import (
    Gateway,
    assert_refused,
    process,
    running_gateway,
    violations,
)
from tests.mesh.upstream import Upstream

ROOT = "/security/v1/tenants/acme"
TEAMS = f"{ROOT}/teams"
SECURITY = "TEAM_TYPE_SECURITY"
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
COMMAND = [sys.executable, "-m", "services.security", "serve"]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """Both services behind one gateway; what stands for inventory notes what it gets."""
    folder = tmp_path_factory.mktemp("security")
    create_signing_key(folder / "keys")
    create_keys(folder / "sealing.keys")
    log = folder / "security.log"
    with security_database() as access:
        settings = {
            "SECMESH_HOME": str(folder),
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
            "SECMESH_SECURITY_LISTEN": "127.0.0.1:0",
            "SECMESH_SECURITY_SEALING_KEYS": str(folder / "sealing.keys"),
            "SECMESH_SECURITY_JWKS": str(folder / "keys" / JWKS_FILE),
        }
        with process(COMMAND, log, os.environ | settings) as child:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line.startswith("LISTENING "), log.read_text()
            address = json.loads(line.removeprefix("LISTENING "))["address"]
            services = {"inventory": upstream.address, "security": address}
            with running_gateway(services, folder) as started:
                yield started


def body(name: str, **fields: Any) -> dict[str, Any]:
    return {"team": {"name": name, "teamType": SECURITY, **fields}}


def make(mesh: Gateway, name: str, **fields: Any) -> dict[str, Any]:
    response = mesh.post(TEAMS, body(name, **fields))
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


def test_the_kinds_are_those_of_the_service_asked(mesh: Gateway) -> None:
    listed = mesh.get("/security/v1/kinds").json()["kinds"]
    wanted = sorted(deployables()["security"].catalogue.record_kinds)
    assert [kind["collection"] for kind in listed] == wanted


def test_the_life_of_a_record(mesh: Gateway) -> None:
    made = make(mesh, "Life", description="First")
    target = f"/security/v1/{made['name']}"
    assert mesh.get(target).json() == made

    change = {"etag": made["etag"], "team": {"description": "Second"}}
    patched = mesh.call("PATCH", target, content=json.dumps(change))
    assert patched.status_code == 200, patched.text
    assert patched.json()["team"] == {**made["team"], "description": "Second"}
    assert patched.json()["etag"] != made["etag"]
    stale = mesh.call("PATCH", target, content=json.dumps(change))
    assert_refused(stale, grpc.StatusCode.ABORTED, "ETAG_MISMATCH")

    assert mesh.call("DELETE", target).status_code == 200
    assert_refused(mesh.get(target), NOT_FOUND, "RESOURCE_NOT_FOUND")


def test_a_list_is_filtered_and_paged(mesh: Gateway) -> None:
    names = [f"Listed {number}" for number in range(3)]
    for name in names:
        make(mesh, name, description="one of three")
    make(mesh, "Other")
    seen: list[str] = []
    query = {"filter": 'description == "one of three"', "orderBy": "name", "pageSize": "2"}
    while True:
        page = mesh.get(TEAMS, params=query).json()
        seen += [record["team"]["name"] for record in page["records"]]
        if not (token := page.get("nextPageToken")):
            break
        query["pageToken"] = token
    assert seen == names


@pytest.mark.parametrize(
    ("text", "reason", "at_fault"),
    [
        ('{"team": {"name": "x"', "BODY_INVALID", ""),
        ('{"team": {"name": "x", "name": "y"}}', "BODY_INVALID", "name"),
        ('{"team": {"name": "x", "colour": "red"}}', "BODY_INVALID", "team.colour"),
        ('{"team": {"name": "x", "teamType": "TEAM_TYPE_NONE"}}', "BODY_INVALID", "team_type"),
    ],
)
def test_bad_json_is_refused_at_the_edge(
    mesh: Gateway, text: str, reason: str, at_fault: str
) -> None:
    response = mesh.call("POST", TEAMS, content=text)
    assert_refused(response, INVALID, reason)
    assert at_fault in response.text


@pytest.mark.parametrize(
    ("team", "field"),
    [
        ({"name": "", "teamType": SECURITY}, "record.team.name"),
        ({"name": "x"}, "record.team.team_type"),
    ],
)
def test_rules_of_the_contract_name_the_field(
    mesh: Gateway, team: dict[str, str], field: str
) -> None:
    response = mesh.post(TEAMS, {"team": team})
    assert_refused(response, INVALID, "FIELD_INVALID")
    assert list(violations(response)) == [field]


def test_a_taken_name_is_refused(mesh: Gateway) -> None:
    make(mesh, "Once")
    again = mesh.post(TEAMS, body("Once"))
    assert_refused(again, grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS")


def test_another_tenant_finds_nothing(mesh: Gateway) -> None:
    made = make(mesh, "Ours alone")
    strange = {"authorization": f"Bearer {mesh.token('beta')}"}
    target = f"/security/v1/{made['name']}"
    missing = mesh.get(f"{TEAMS}/none", headers=strange)
    for verb in ("GET", "DELETE"):
        answer = mesh.call(verb, target, headers=strange)
        assert answer.status_code == missing.status_code == 404, answer.text
    own = mesh.get("/security/v1/tenants/beta/teams", headers=strange)
    assert (own.status_code, own.json()) == (200, {})
    assert mesh.get(target).json() == made


def test_changes_are_watched_as_server_sent_events(mesh: Gateway) -> None:
    made = make(mesh, "Watched")
    url = f"{TEAMS}:watch"
    headers = {"authorization": f"Bearer {mesh.token()}", "accept": "text/event-stream"}
    query = {"includeExisting": "true", "filter": 'name.startsWith("Watched")'}
    with mesh.client.stream("GET", url, headers=headers, params=query) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = (json.loads(line[6:]) for line in answer.iter_lines() if line)
        changes = (event["changed"] for event in events if "changed" in event)
        assert next(changes)["name"] == made["name"]
        later = make(mesh, "Watched later")
        assert next(changes)["name"] == later["name"]


def test_collections_of_one_name_are_each_services_own(mesh: Gateway, upstream: Upstream) -> None:
    """Both services know `iam_users`; the path says whose is meant."""
    upstream.journal.calls.clear()
    answer = mesh.get(f"{ROOT}/iam_users")
    assert (answer.status_code, answer.json()) == (200, {})
    assert upstream.journal.calls == []
    mesh.get("/inventory/v1/tenants/acme/iam_users")
    assert len(upstream.journal.calls) == 1
