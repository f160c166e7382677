"""What every OSCAL document must obey beside its schema: references, identifiers, moments."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parent / "oscal_schemas"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MOMENTS = {"last-modified", "start", "end", "collected", "expires", "deadline"}
# The statement stands in the plan, not in the document.
_ELSEWHERE = {"implementation-statement-uuid"}


def obeying(content: bytes, schema: str) -> dict[str, Any]:
    """Give the one object of a document that is valid and whole; AssertionError otherwise."""
    document = json.loads(content)
    validator = Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text()))
    problems = [
        f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(document)
    ]
    assert not problems
    members = [*_members(document)]
    own = [value for name, value in members if name == "uuid"]
    assert len(own) == len(set(own)), "each UUID stands once"
    for name, value in members:
        if name.endswith("-uuid") and name not in _ELSEWHERE:
            assert value in own, f"{name} {value} leads nowhere"
        if name == "href":
            assert value.removeprefix("#") in own, f"{value} leads nowhere"
        if name in _MOMENTS:
            assert _MOMENT.fullmatch(value), f"{name} is {value}"
    (root,) = document.values()
    found: dict[str, Any] = root
    return found


def _members(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield name, value
            yield from _members(value)
    elif isinstance(node, list):
        for value in node:
            yield from _members(value)


def props(part: dict[str, Any], name: str) -> list[str]:
    """Give the values of a property of our namespace."""
    return [
        each["value"]
        for each in part.get("props", ())
        if each["name"] == name and each.get("ns") == "https://secmesh.dev/ns/oscal"
    ]
