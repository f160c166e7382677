"""Documents that are no System Security Plan are refused, with a pointer to what is wrong."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inventory.errors import SspInvalid
from tests.unit.ssp_documents import (
    part,
    plan,
    prop,
    read,
    refused,
    requirement,
    uuid,
)


def _without(*keys: str) -> dict[str, Any]:
    document = plan(requirement("ac-2", **{"by-components": [part(1)]}))
    inner: Any = document["system-security-plan"]
    for key in keys[:-1]:
        inner = inner[int(key) if key.isdigit() else key]
    del inner[keys[-1]]
    return document


@pytest.mark.parametrize(
    "keys",
    [
        ("metadata",),
        ("metadata", "title"),
        ("metadata", "oscal-version"),
        ("import-profile",),
        ("import-profile", "href"),
        ("system-implementation",),
        ("system-implementation", "components"),
        ("system-implementation", "components", "0", "uuid"),
        ("control-implementation",),
        ("control-implementation", "implemented-requirements"),
        ("control-implementation", "implemented-requirements", "0", "control-id"),
    ],
)
def test_missing_parts_are_named(keys: tuple[str, ...]) -> None:
    error = refused(_without(*keys))
    assert error.pointer == "/system-security-plan/" + "/".join(keys)
    assert error.problem == "is required and missing"


@pytest.mark.parametrize("wrong", [None, 3, "text", [], {}, True, [3], [None]])
@pytest.mark.parametrize("key", ["metadata", "import-profile", "control-implementation"])
def test_parts_of_a_wrong_type_are_refused(key: str, wrong: Any) -> None:
    document = plan(requirement("ac-2"))
    document["system-security-plan"][key] = wrong
    assert refused(document).pointer.startswith(f"/system-security-plan/{key}")


@pytest.mark.parametrize(
    ("content", "pointer", "problem"),
    [
        (b"", "", "not JSON at line 1"),
        (b"{} trailing", "", "not JSON at line 1, column 4"),
        (b'{"system-security-plan": NaN}', "", "not JSON"),
        (b'{"a": "\xff"}', "", "not JSON"),
        (b'{"a": "\\ud800"}', "", "not JSON"),
        ("{}".encode("utf-16"), "", "UTF-16"),
        (b"<system-security-plan/>", "", "XML"),
        (b"PK\x03\x04...", "", "ZIP"),
        (b"%PDF-1.7", "", "PDF"),
        (b"[]", "", "must be an object, not an array"),
        (b"{}", "", "it is empty"),
        (b'{"hello": 1}', "", "first key is 'hello'"),
        (b'{"profile": {}}', "/profile", "OSCAL model is profile"),
        (
            b'{"plan-of-action-and-milestones": {}}',
            "/plan-of-action-and-milestones",
            "OSCAL model is plan-of-action-and-milestones",
        ),
        (b"[" * 100_000 + b"]" * 100_000, "", "not JSON"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "", "first key is 'a'"),
        (b'{"a": ' + b"9" * 5000 + b"}", "", "not JSON"),
        (b'{"system-security-plan": {"x~/y": {"a": 1, "a": 2}}}', None, "twice"),
        (b" " * (32 * 1024 * 1024 + 1), "", "33,554,432"),
    ],
)
def test_documents_that_are_no_plan(content: bytes, pointer: str | None, problem: str) -> None:
    error = refused(content)
    assert problem in error.problem
    expected = "/system-security-plan/x~0~1y/a" if pointer is None else pointer
    assert error.pointer == expected


def test_a_byte_order_mark_is_no_fault() -> None:
    content = b"\xef\xbb\xbf" + json.dumps(plan(requirement("ac-2"))).encode()
    assert len(read(content).claims) == 1


@pytest.mark.parametrize("version", ["1.0.0", "1.0.4", "1.1.2", "1.2.1", "1.0.0-rc2"])
def test_versions_that_are_read(version: str) -> None:
    document = plan(requirement("ac-2"))
    document["system-security-plan"]["metadata"]["oscal-version"] = version
    assert read(document).ssp.oscal_version == version


@pytest.mark.parametrize("version", ["2.0.0", "1.3.0", "0.9", "1", "1.10.0"])
def test_versions_that_are_not(version: str) -> None:
    document = plan(requirement("ac-2"))
    document["system-security-plan"]["metadata"]["oscal-version"] = version
    assert refused(document).pointer == "/system-security-plan/metadata/oscal-version"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


_FULL = plan(
    requirement(
        "ac-2",
        **{
            "props": [prop("implementation-status", "planned")],
            "set-parameters": [{"param-id": "ac-2_prm_1", "values": ["x"]}],
            "statements": [
                {"statement-id": "ac-2_smt.a", "uuid": uuid(4), "by-components": [part(1)]}
            ],
        },
    )
)


@settings(max_examples=300)
@given(st.data(), _JSON)
def test_any_damage_is_read_or_refused_with_a_pointer(data: st.DataObject, value: Any) -> None:
    document = copy.deepcopy(_FULL)
    path = data.draw(st.sampled_from(_places_of_full()))
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        found = read(document)
    except SspInvalid as error:
        assert_pointer(error.pointer)
    else:
        assert found.ssp.claims == len(found.claims)


def assert_pointer(pointer: str) -> None:
    assert pointer == "" or pointer.startswith("/")


def _places_of_full() -> list[tuple[Any, ...]]:
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), _FULL)]
    found: list[tuple[Any, ...]] = []
    while waiting:
        path, value = waiting.pop()
        if path:
            found.append(path)
        if isinstance(value, dict):
            waiting += [((*path, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), inner) for index, inner in enumerate(value)]
    return found
