"""Plain results of SARIF are read as all others are, only faster."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from services.security.importing import sarif
from services.security.importing.model import Finding, Item, Tool
from services.security.importing.node import Node
from services.security.importing.reading import whole
from services.security.importing.sarif_plain import PlainResults
from services.security.importing.sarif_run import Run, descriptor
from services.security.importing.spool import Spool

RULES = [
    {
        "id": "js/xss",
        "shortDescription": {"text": "Cross-site scripting"},
        "helpUri": "https://example.test/xss",
        "properties": {"tags": ["external/cwe/cwe-079"], "security-severity": "7.5"},
    },
    {"id": "CVE-2030-0001", "defaultConfiguration": {"level": "Error"}, "guid": "g"},
]
PLAIN = {
    "ruleId": "js/xss",
    "ruleIndex": 0,
    "message": {"text": "bad ü"},
    "level": "error",
    "locations": [
        {
            "id": 3,
            "physicalLocation": {
                "artifactLocation": {"uri": "file:///src/./a.js", "index": 0},
                "region": {"startLine": 3, "endColumn": 9, "snippet": {"text": " x()\n\ty() "}},
            },
            "logicalLocations": [{"name": "x", "fullyQualifiedName": "a.x"}, {}],
        },
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "b.js"},
                "contextRegion": {"startLine": 2, "snippet": {"text": "around"}},
            }
        },
    ],
    "fingerprints": {"b": "2", "a": "1", "none": ""},
    "partialFingerprints": {"line": "f:1"},
    "properties": {"precision": "high", "other": [1, {"a": None}]},
}
ODD: st.SearchStrategy[object] = st.sampled_from(
    [
        *(None, "", "x", "js/xss/part", "CVE-2030-0001", "g", "note", "NOTE", "pass", "fail"),
        *("absent", "\ud7ff\U0001f600", 0, 1, -1, 7, 10**18, 2.0, 0.5, True, [], {}, ["x"]),
        *([None], {"text": "y"}, {"text": None}, {"uri": ""}, {"uri": "b.js"}, {"index": 0}),
        *({"id": "m"}, {"a": 1}, [{}]),
    ]
)
NAMES = st.sampled_from(
    [
        *("kind", "rule", "suppressions", "baselineState", "taxa", "codeFlows", "tags"),
        *("arguments", "security-severity", "contextRegion", "logicalLocations", "markdown"),
        *("id", "text", "index", "uri", "uriBaseId", "snippet", "startLine", "endLine"),
        *("startColumn", "region", "unknown", "fullyQualifiedName"),
    ]
)


def changed(value: object, data: st.DataObject, most: list[int]) -> object:
    """Write something odd into a few places of a result."""
    if most[0] and data.draw(st.integers(0, 9)) == 0:
        most[0] -= 1
        return data.draw(ODD)
    if isinstance(value, list):
        return [changed(each, data, most) for each in value]
    if not isinstance(value, dict):
        return value
    members = {name: changed(each, data, most) for name, each in value.items()}
    if most[0] and data.draw(st.integers(0, 4)) == 0:
        most[0] -= 1
        members[data.draw(NAMES)] = data.draw(ODD)
    return members


def report(result: object) -> bytes:
    run: Mapping[str, object] = {
        "tool": {"driver": {"name": "CodeQL", "rules": RULES}},
        "originalUriBaseIds": {"ROOT": {"uri": "file:///src/"}},
        "artifacts": [{"location": {"uri": "named.js"}}],
        "results": [result, PLAIN],
    }
    return json.dumps({"runs": [run]}, ensure_ascii=False).encode()


def items(content: bytes, *, plain: bool) -> list[Item]:
    with Spool.of([content]) as spool:
        recall = (lambda _run, _digest: None) if plain else None
        found = list(whole(lambda: sarif.read(spool, recall)))
    return [
        structs.replace(each, digest=b"") if isinstance(each, Finding) else each for each in found
    ]


@given(st.data(), st.integers(0, 3))
def test_both_ways_of_reading_say_the_same(data: st.DataObject, most: int) -> None:
    content = report(changed(PLAIN, data, [most]))
    assert items(content, plain=True) == items(content, plain=False)


@pytest.mark.parametrize("at", ["message", "properties"])
@pytest.mark.parametrize("bad", [b"\xff", b"\\ud800", b"\\x", b"\x01"])
def test_a_bad_text_is_rejected_wherever_it_is(at: str, bad: bytes) -> None:
    result = {**PLAIN, at: {"text": "BAD"}}
    content = report(result).replace(b"BAD", bad)
    found = items(content, plain=True)
    assert found == items(content, plain=False)
    assert [type(each).__name__ for each in found[-2:]] == ["Rejected", "Finding"]


def test_ordinary_results_are_plain() -> None:
    run = Run(0, Tool("CodeQL"))
    for number, rule in enumerate(RULES):
        described = descriptor(Node.of(rule, ""), 0)
        run.rules[-1, number] = run.named[described.rule.key] = described
    found = PlainResults(run).finding(json.dumps(PLAIN).encode(), b"digest", 3, "/place")
    assert found is not None
    assert (found.index, found.pointer, found.digest) == (3, "/place", b"digest")
    assert [(each.end_column, each.snippet) for each in found.locations] == [
        (9, " x()\n\ty() "),
        (None, "around"),
    ]
