"""Schemas say what the contracts say: each bound is compared with protovalidate's verdict."""

from typing import Any

import jsonschema
import protovalidate
import pytest
from google.protobuf import json_format, message_factory
from hypothesis import given
from hypothesis import strategies as st

from gateway.openapi.schemas import Schemas
from secmesh.inventory.v1 import iam_pb2, record_pb2
from tests.unit.gateway_contract import trial

BOX = trial().catalogue.kinds["boxes"].message
SCHEMAS = Schemas()
ROOT = SCHEMAS.message(BOX)
RECORD = SCHEMAS.message(record_pb2.Record.DESCRIPTOR)
COMPONENTS = {"components": {"schemas": SCHEMAS.components()}}
SCALARS = {"title": "a", "colour": "COLOUR_RED", "size": 1, "weight": "1", "seal": "AA=="}
GOOD = {**SCALARS, "tags": ["a"], "counts": {"x": 1}, "age": "1s", "mail": "a@b.de", "person": "p"}


def schema_admits(value: Any, root: dict[str, Any] = ROOT) -> bool:
    validator = jsonschema.Draft202012Validator({**COMPONENTS, **root})
    return bool(validator.is_valid(value))


def contract_admits(value: dict[str, Any]) -> bool:
    message = json_format.ParseDict(value, message_factory.GetMessageClass(BOX)())
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"title": ""},
        {"title": "toolongatitle"},
        {"title": "UPPER"},
        {"colour": "COLOUR_UNSPECIFIED"},
        {"colour": "COLOUR_BLUE"},
        {"size": 0},
        {"size": 10},
        {"size": 11},
        {"seal": "AAAAAA=="},
        {"seal": "AAAAAAAAAA=="},
        {"tags": []},
        {"tags": ["a", "b"]},
        {"tags": ["a", "a"]},
        {"tags": ["c"]},
        {"counts": {}},
        {"counts": {"toolong": 1}},
        {"counts": {"a": -1}},
        {"counts": {"a": 1, "b": 2, "c": 3}},
        {"ratio": 1.0},
        {"ratio": 0.999},
        {"ratio": -0.1},
        {"nick": ""},
        {"nick": "ab"},
        {"nick": "abc"},
        {"alias": ""},
        {"alias": "abc"},
        {"level": 0},
        {"level": 4},
        {"level": 5},
        {"team": "t", "person": None},
        {"person": None},
        {"text": "a"},
        {"data": "AA=="},
    ],
    ids=str,
)
def test_schema_and_contract_agree(change: dict[str, Any]) -> None:
    value = {name: each for name, each in {**GOOD, **change}.items() if each is not None}
    assert schema_admits(value) == contract_admits(value)


def test_both_members_of_a_oneof_are_refused() -> None:
    assert not schema_admits({**GOOD, "text": "a", "data": "AA=="})
    assert not schema_admits({**GOOD, "person": "a", "team": "b"})


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 1},
        {"weight": "one"},
        {"age": "1"},
        {"tags": "a"},
        {"counts": [1]},
        {"seal": 1},
        {"colour": 1},
        {"inner": []},
        {"inner": {"size": "x"}},
        {"facts": []},
        {"thing": {}},
    ],
    ids=str,
)
def test_wrong_types_are_refused(change: dict[str, Any]) -> None:
    assert not schema_admits({**GOOD, **change})


def test_access_bounds_and_words() -> None:
    properties = SCHEMAS.components()[BOX.full_name]["properties"]
    assert properties["secret"]["writeOnly"] is True
    assert properties["etag"]["readOnly"] is True
    assert properties["weight"]["x-bounds"] == {"gte": "1", "lt": "100"}
    assert properties["age"]["x-bounds"] == {"gte": "1s"}
    assert properties["mail"]["format"] == "email"
    assert SCHEMAS.components()[BOX.full_name]["required"] == ["title"]
    user = SCHEMAS.components()["secmesh.inventory.v1.IamUser"]
    assert user["properties"]["username"]["maxLength"] == 128
    assert user["properties"]["username"]["description"].startswith("Name of the user")
    outcome = SCHEMAS.components()["secmesh.inventory.v1.ReadOutcome"]
    assert "READ_OUTCOME_DENIED`: Refused" in outcome["description"]


@given(
    username=st.text(max_size=128),
    keys=st.lists(st.booleans(), max_size=8),
    seconds=st.integers(0, 4_000_000_000),
    tags=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
)
def test_what_protobuf_writes_fits_the_schema(
    username: str, keys: list[bool], seconds: int, tags: dict[str, str]
) -> None:
    access = [iam_pb2.AccessKey(active=active) for active in keys]
    user = iam_pb2.IamUser(username=username, access_keys=access, tags=tags)
    user.create_date.FromSeconds(seconds)
    record = record_pb2.Record(name="tenants/acme/iam_users/one", iam_user=user)
    record.cloud_account_id = "123456789012"
    assert schema_admits(json_format.MessageToDict(record), RECORD)
