"""A stream of requests is one JSON array over REST, each message checked by itself."""

import json
from typing import Any

import pytest

from gateway.contracts import deployables
from gateway.edge.strict import check_request
from gateway.openapi.document import document
from gateway.refusals import JsonInvalid
from gateway.routes import RouteTable
from mesh.contract.catalogue import load_catalogue

TABLE = RouteTable(load_catalogue("secmesh.crypto.v1").methods.values())
IMPORT = "/crypto/v1/tenants/acme/users:import"


def sent(body: Any) -> None:
    check_request(TABLE, "POST", IMPORT, json.dumps(body).encode())


def test_messages_stand_in_a_list() -> None:
    sent([{"importId": "x"}, {"users": [{"sequence": "1", "user": {"last_name": "Ann"}}]}, {}])


@pytest.mark.parametrize(
    "body",
    [
        {"importId": "x"},
        [],
        [[]],
        ["x"],
        [{"importId": "x"}, {"nothing": 1}],
        [{}, {"parent": "tenants/other"}],
    ],
)
def test_what_is_no_list_of_messages_is_refused(body: Any) -> None:
    with pytest.raises(JsonInvalid):
        sent(body)


def test_a_message_that_does_not_fit_is_named_by_its_place() -> None:
    with pytest.raises(JsonInvalid, match=r"\[1\]\.users"):
        sent([{"importId": "x"}, {"users": 1}])


def test_the_document_says_so() -> None:
    operation = document(deployables().values())["paths"][
        "/crypto/v1/tenants/{tenants_id}/users:import"
    ]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["type"] == "array"
    assert schema["items"]["properties"].keys() == {"importId", "users"}
