"""`secmesh api-keys`, with its calls answered."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from cli.exit_codes import ExitCode
from secmesh.tenancy.v1 import api_key_service_pb2 as pb
from secmesh.tenancy.v1.api_key_pb2 import API_KEY_STATE_ACTIVE, ApiKey
from tests.unit.cli_operator import SECONDS, TENANCY, Operator, operator

__all__ = ["operator"]
SERVICE = "ApiKeyService"
NAME = "tenants/acme/apiKeys/k7"
EXPIRY = Timestamp(seconds=1_900_000_000)
KEY = ApiKey(name=NAME, state=API_KEY_STATE_ACTIVE, roles=["viewer"], expire_time=EXPIRY)


@pytest.fixture
def tenancy(operator: Operator) -> Operator:
    operator.services = TENANCY
    return operator


def plain(request: Any) -> dict[str, Any]:
    told: dict[str, Any] = MessageToDict(request, preserving_proto_field_name=True)
    return told


def test_a_key_is_printed_alone_and_once(tenancy: Operator) -> None:
    words = ["create", "--role", "viewer", "--permission", "security.*.get", "--name", "ci"]
    words += ["--method", "secmesh.security.v1.RecordService/*"]
    done = tenancy.run("api-keys", *words, "--expires", "12h")
    answer = pb.CreateApiKeyResponse(api_key=KEY, key_text="smk_k7_text")
    request = tenancy.answer(SERVICE, "CreateApiKey", answer)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert result.stdout == "smk_k7_text\n"
    assert "k7" in result.stderr
    ends = request.api_key.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(hours=11) < ends <= timedelta(hours=12)
    said = plain(request)
    del said["api_key"]["expire_time"]
    assert said == {
        "parent": "tenants/acme",
        "api_key": {
            "roles": ["viewer"],
            "permissions": ["security.*.get"],
            "methods": ["secmesh.security.v1.RecordService/*"],
            "display_name": "ci",
        },
    }


def test_a_key_that_was_shown_before_is_said_to_be_lost(tenancy: Operator) -> None:
    done = tenancy.run("api-keys", "create", "--role", "viewer")
    tenancy.answer(SERVICE, "CreateApiKey", pb.CreateApiKeyResponse(api_key=KEY))
    result = done.result(SECONDS)
    assert (result.exit_code, result.stdout) == (ExitCode.REFUSED, "")
    assert "revoke" in result.stderr


def test_for_programs_the_answer_is_whole(tenancy: Operator) -> None:
    done = tenancy.run("-o", "json", "api-keys", "create", "--role", "viewer")
    answer = pb.CreateApiKeyResponse(api_key=KEY, key_text="smk_k7_text")
    tenancy.answer(SERVICE, "CreateApiKey", answer)
    told = json.loads(done.result(SECONDS).stdout)
    assert (told["keyText"], told["apiKey"]["name"]) == ("smk_k7_text", NAME)


def test_keys_are_listed(tenancy: Operator) -> None:
    done = tenancy.run("-o", "json", "api-keys", "ls", "--revoked")
    request = tenancy.answer(SERVICE, "ListApiKeys", pb.ListApiKeysResponse(api_keys=[KEY]))
    assert json.loads(done.result(SECONDS).stdout)[0]["name"] == NAME
    assert (request.parent, request.show_revoked) == ("tenants/acme", True)


@pytest.mark.parametrize(
    ("words", "method", "request_"),
    [
        (["get", "k7"], "GetApiKey", {"name": NAME}),
        (["get", "apiKeys/k7"], "GetApiKey", {"name": NAME}),
        (["revoke", NAME, "--etag", "v1"], "RevokeApiKey", {"name": NAME, "etag": "v1"}),
        (
            ["update", "k7", "--name", ""],
            "UpdateApiKey",
            {"api_key": {"name": NAME, "display_name": ""}, "update_mask": "displayName"},
        ),
    ],
)
def test_one_key(
    tenancy: Operator, words: list[str], method: str, request_: dict[str, Any]
) -> None:
    done = tenancy.run("-o", "json", "api-keys", *words)
    assert plain(tenancy.answer(SERVICE, method, KEY)) == request_
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["name"] == NAME


def test_a_key_is_prolonged(tenancy: Operator) -> None:
    done = tenancy.run("-o", "json", "api-keys", "update", "k7", "--expires", "30d")
    request = tenancy.answer(SERVICE, "UpdateApiKey", KEY)
    assert done.result(SECONDS).exit_code == 0
    assert list(request.update_mask.paths) == ["expire_time"]


@pytest.mark.parametrize(
    "words",
    [
        ["create"],
        ["create", "--role", "viewer", "--expires", "1y"],
        ["create", "--role", "viewer", "--expires", "367d"],
        ["update", "k7"],
    ],
)
def test_wrong_usage(tenancy: Operator, words: list[str]) -> None:
    result = tenancy.run("api-keys", *words).result(SECONDS)
    assert result.exit_code == ExitCode.USAGE
