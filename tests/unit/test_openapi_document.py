"""The OpenAPI document as a whole: committed, valid, complete."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.__main__ import main
from gateway.contracts import deployables
from gateway.openapi import document as module
from gateway.openapi.document import COMMITTED, committed_bytes, document
from mesh.contract.image import package_files
from secmesh.rpc.v1 import error_reason_pb2
from tests.examples import examples
from tests.unit.gateway_contract import trial

DOCUMENT: dict[str, Any] = json.loads(committed_bytes())
OPERATIONS = [
    (path, verb, operation)
    for path, verbs in DOCUMENT["paths"].items()
    for verb, operation in verbs.items()
]


def test_committed_document_is_the_one_the_contracts_give() -> None:
    assert COMMITTED.read_bytes() == committed_bytes(), "run: python -m gateway openapi --write"


# It goes through all references of all schemas.
@pytest.mark.timeout(300)
def test_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(with_paths_of_some_kinds()).validate()
    OpenAPIV31SpecValidator(document([trial()])).validate()


def with_paths_of_some_kinds() -> dict[str, Any]:
    """Give the document whole, but for the paths of most kinds: all are made in the same way."""
    left_out = {
        kind
        for service in deployables().values()
        for kind in sorted(service.catalogue.record_kinds)[examples(3) :]
    }
    paths = {
        path: verbs for path, verbs in DOCUMENT["paths"].items() if left_out.isdisjoint(parts(path))
    }
    assert examples(3) > 3 or len(paths) < len(DOCUMENT["paths"]) / 2
    return {**DOCUMENT, "paths": paths}


def parts(path: str) -> set[str]:
    """Give the segments of a path, without the verbs of custom methods."""
    return {segment.partition(":")[0] for segment in path.split("/")}


def test_every_reference_leads_somewhere() -> None:
    for reference in {*references(DOCUMENT)}:
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]


def references(part: Any) -> Iterator[str]:
    """Give what the parts of a document refer to."""
    if isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            yield reference
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_method_is_in_the_document() -> None:
    listed = {operation["operationId"] for _, _, operation in OPERATIONS}
    assert len(listed) == len(OPERATIONS)
    for service in deployables().values():
        for method in service.methods:
            name = method.path.removeprefix("/secmesh.").replace("/", "_").replace(".", "_")
            kinds = service.catalogue.record_kinds if method.per_kind else [""]
            assert {f"{name}_{kind}".removesuffix("_") for kind in kinds} <= listed


def test_records_stand_under_their_collections() -> None:
    path = "/inventory/v1/tenants/{tenant}/iam_users/{record}"
    operation = DOCUMENT["paths"][path]["get"]
    names = [each["name"] for each in operation["parameters"]]
    assert names == ["tenant", "record", "readMask", "readTime"]
    assert operation["parameters"][0]["schema"]["pattern"] == "^[a-z][a-z0-9-]{2,62}$"
    assert operation["x-permission"] == "inventory.iam_users.get"
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    reference = {"$ref": "#/components/schemas/secmesh.inventory.v1.Record"}
    assert schema == {"allOf": [reference, {"required": ["iamUser"]}]}
    assert "{record}" not in str(DOCUMENT["paths"]["/inventory/v1/tenants/{tenant}/syncs/{sync}"])


def test_every_operation_says_who_may_and_how_it_fails() -> None:
    for path, verb, operation in OPERATIONS:
        assert operation["summary"], (path, verb)
        if operation.get("security") != []:
            assert operation["x-permission"].count(".") == 2
            assert "{" not in operation["x-permission"]
        else:
            assert "x-permission" not in operation
        reference = operation["responses"]["default"]["$ref"].rpartition("/")[2]
        assert reference in DOCUMENT["components"]["responses"]
        named = set(re.findall(r"\{([A-Za-z_]+)\}", path))
        given = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert given == named


def test_every_reason_is_listed() -> None:
    response = DOCUMENT["components"]["responses"]["inventory.Error"]
    schema = response["content"]["application/json"]["schema"]
    info = schema["properties"]["details"]["contains"]["properties"]
    wanted = {name for name, number in error_reason_pb2.ErrorReason.items() if number}
    for file in package_files("secmesh.inventory.v1"):
        if reasons := file.enum_types_by_name.get("ErrorReason"):
            wanted |= {value.name for value in reasons.values if value.number}
    listed = {f"ERROR_REASON_{reason}" for reason in info["reason"]["enum"]}
    assert listed == wanted
    for reason in info["reason"]["enum"]:
        assert f"`{reason}` (" in response["description"]


def test_forms_of_answers() -> None:
    paths = document([trial()])["paths"]
    box = paths["/trial/v1/tenants/{tenant}/boxes/{box}"]
    assert sorted(box) == ["get", "patch"]
    download = paths["/trial/v1/tenants/{tenant}/boxes/{box}:download"]["get"]
    assert download["responses"]["200"]["content"] == {"*/*": {}}
    watch = DOCUMENT["paths"]["/inventory/v1/tenants/{tenant}/syncs/{sync}:watch"]["get"]
    assert "one JSON object a line" in watch["responses"]["200"]["description"]


def test_body_leaves_out_what_the_path_gives() -> None:
    put = document([trial()])["paths"]["/trial/v1/tenants/{tenant}/boxes"]["post"]
    schema = put["requestBody"]["content"]["application/json"]["schema"]
    assert sorted(schema["properties"]) == ["box", "image"]
    assert "required" not in schema
    assert [each["name"] for each in put["parameters"]] == ["tenant"]


def test_query_parameters_are_those_the_edge_takes() -> None:
    find = document([trial()])["paths"]["/trial/v1/boxes:find"]["get"]
    names = [each["name"] for each in find["parameters"]]
    assert names == [
        *("open", "ratio", "weight", "count", "colour", "colours", "tags", "since", "within"),
        *("mask", "seal", "range.low", "range.highEnd", "text"),
    ]
    update = document([trial()])["paths"]["/trial/v1/tenants/{tenant}/boxes/{box}"]["patch"]
    assert [each["name"] for each in update["parameters"]] == ["tenant", "box", "updateMask"]
    assert update["requestBody"]["required"] is True


def test_command_tells_whether_the_committed_document_is_old(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.__main__.COMMITTED", tmp_path / "openapi.json")
    assert main(["openapi", "--check"]) == 1
    assert "--write" in capsys.readouterr().err
    assert main(["openapi", "--write"]) == 0
    assert main(["openapi", "--check"]) == 0
    assert (tmp_path / "openapi.json").read_bytes() == module.committed_bytes()


def test_upload_takes_a_file_of_any_form() -> None:
    paths = document(deployables().values())["paths"]
    upload = paths["/inventory/v1/tenants/{tenant}/ssps/{ssp}:upload"]["post"]
    body = {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
    assert upload["requestBody"] == body
    assert upload["x-max-body-bytes"] == 32 << 20
    named = {"tenant", "ssp", "baseline", "format", "fileName"}
    assert {each["name"] for each in upload["parameters"]} == named
