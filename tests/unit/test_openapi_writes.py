"""The writes of records in the OpenAPI document."""

from typing import Any

import pytest

from gateway.contracts import deployables
from gateway.openapi.document import document

PATHS: Any = document(list(deployables().values()))["paths"]
KINDS = sorted(deployables()["inventory"].catalogue.record_kinds)
ROOT = "/inventory/v1/tenants/{tenant}"


def names(operation: Any) -> set[str]:
    return {parameter["name"] for parameter in operation["parameters"]}


@pytest.mark.parametrize("collection", KINDS)
def test_each_kind_has_its_writes(collection: str) -> None:
    create = PATHS[f"{ROOT}/{collection}"]["post"]
    one = PATHS[f"{ROOT}/{collection}/{{record}}"]
    assert names(create) == {"tenant", "recordId", "requestId"}
    assert names(one["patch"]) == {"tenant", "record", "updateMask", "allowMissing", "requestId"}
    assert names(one["delete"]) == {"tenant", "record", "etag", "allowMissing", "requestId"}
    for verb, operation in (("create", create), ("update", one["patch"])):
        body = operation["requestBody"]
        assert body["required"]
        schema = body["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith("inventory.v1.Record")
        assert operation["x-permission"] == f"inventory.{collection}.{verb}"
    assert "requestBody" not in one["delete"]
    assert one["delete"]["responses"]["200"]["description"] == "Done."


def test_a_batch_states_its_bounds() -> None:
    batch = PATHS[f"{ROOT}:batchWrite"]["post"]
    schema = batch["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["writes"]
    writes = schema["properties"]["writes"]
    assert (writes["minItems"], writes["maxItems"]) == (1, 1000)
