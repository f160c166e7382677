"""An import of persons over REST: one body is one stream, and another goes on after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.identifiers import new_uuid
from mesh.identity.keys import create_signing_key
from tests.databases import empty_crypto_database
from tests.mesh.gateway_fixtures import Gateway, assert_refused, running_gateway
from tests.service.test_crypto_process import _environment, served

PERSONS = "/crypto/v1/tenants/acme/users"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("crypto")
    create_signing_key(home / "keys")
    with (
        empty_crypto_database() as access,
        served(_environment(access, Path(home))) as (address, _),
        running_gateway({"crypto": address}, home) as started,
    ):
        yield started


def persons(first: int, last: int) -> list[dict[str, Any]]:
    return [
        {"sequence": str(number), "user": {"lastName": f"N{number}", "address": "1 Main Street"}}
        for number in range(first, last + 1)
    ]


def test_an_import_is_sent_in_several_bodies_and_stored_once(gateway: Gateway) -> None:
    import_id = new_uuid()
    broken = [*persons(11, 19), {"sequence": "20", "user": {"ssn": "1"}}]
    first = gateway.post(
        f"{PERSONS}:import", [{"importId": import_id, "users": persons(1, 10)}, {"users": broken}]
    )
    assert first.status_code == 200, first.text
    assert [each["sequence"] for each in first.json()["problems"]] == ["20"]
    assert first.json()["userImport"]["resumeAfter"] == "20"
    # Whoever got no answer asks how far it is, or sends everything again.
    found = gateway.get(f"/crypto/v1/{first.json()['userImport']['name']}")
    assert found.json()["stored"] == "19"
    again = [{"importId": import_id, "users": persons(1, 10)}, {"users": persons(11, 30)}]
    ended = gateway.post(f"{PERSONS}:import", again).json()["userImport"]
    assert (ended["resumeAfter"], ended["stored"], ended["refused"]) == ("30", "29", "1")
    listed = gateway.get(f"{PERSONS}?pageSize=100").json()["users"]
    names = [f"N{number}" for number in range(1, 31) if number != 20]
    assert sorted(each["lastName"] for each in listed) == sorted(names)


def test_a_body_that_is_no_stream_is_refused(gateway: Gateway) -> None:
    answer = gateway.post(f"{PERSONS}:import", {"importId": new_uuid(), "users": persons(1, 1)})
    assert_refused(answer, grpc.StatusCode.INVALID_ARGUMENT, "BODY_INVALID")
    assert "JSON array" in answer.json()["message"]
