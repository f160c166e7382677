"""Rows of findings made without messages are those that messages would have become."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.contract.catalogue import load_catalogue
from mesh.errors import Refusal
from mesh.records.fresh import FreshRows
from mesh.sql.staging import form
from mesh.sql.tables import Tables
from secmesh.security.v1.record_pb2 import Record
from services.security.import_fill import fill
from services.security.import_plain import PlainRows, Unsure
from services.security.import_state import LIVES

CATALOGUE = load_catalogue("secmesh.security.v1")
TABLES = Tables(CATALOGUE)
IDS = ("acme", "0198c0de-0000-7000-8000-000000000001")
ISSUES = TABLES["sast_issues"]
COMMON = {"project_id": "tenants/acme/sast_projects/p", "branch": "main"}
WHOLE: dict[str, object] = {
    "rule_id": "tenants/acme/sast_rules/r",
    "fingerprint": "f" * 64,
    "issue_type": "BUG",
    "severity": "MAJOR",
    "status": "OPEN",
    "message": "It is wrong.",
    "file_path": "a.js",
    "first_seen_time": "2026-01-02T03:04:05.678901Z",
    "last_seen_time": "2026-01-02T03:04:05.678901Z",
}
TEXTS = st.one_of(st.text(max_size=40), st.just("a" * 1100), st.just("\0"), st.just("\ud800"))
NUMBERS = st.one_of(st.integers(-5, 5), st.integers(), st.booleans(), st.floats())
VALUES: dict[str, st.SearchStrategy[object]] = {
    "fingerprint": TEXTS,
    "message": st.one_of(TEXTS, st.just("a" * 9000)),
    "snippet": TEXTS,
    "severity": st.sampled_from(["MAJOR", "BLOCKER", "HIGH", ""]),
    "baseline_state": st.sampled_from(["NEW", "ABSENT", "OLD"]),
    "security_severity": NUMBERS,
    "start_line": NUMBERS,
    "cwe_ids": st.one_of(st.lists(TEXTS, max_size=5), st.just(["CWE-79"] * 60)),
    "partial_fingerprints": st.one_of(
        st.dictionaries(TEXTS, TEXTS, max_size=5), st.just({str(n): "v" for n in range(40)})
    ),
    "rule_id": st.sampled_from(["tenants/acme/sast_rules/r", "tenants/beta/sast_rules/r", "r", ""]),
    "first_seen_time": st.sampled_from(["2026-01-02T03:04:05Z", "yesterday"]),
    "suppression": st.lists(
        st.fixed_dictionaries(
            {"kind": st.sampled_from(["EXTERNAL", "ODD"])}, optional={"justification": TEXTS}
        ),
        max_size=2,
    ),
    "code_flows": st.lists(
        st.just({"thread_flows": [{"steps": [{"file_path": "a.js", "start_line": 3}]}]}), max_size=2
    ),
    "no_such_field": TEXTS,
}


def long_way(values: dict[str, object]) -> dict[str, Any] | None:
    """Give the row that a message becomes; None if it is refused."""
    record = Record()
    try:
        fill(ISSUES.kind, record, COMMON | values)
        return FreshRows(ISSUES.kind, ISSUES.codec, b"", None).row(
            record, ISSUES.kind.pattern.format(*IDS), IDS, 0
        )
    except (Refusal, UnicodeError):
        return None


def staged(row: dict[str, Any], columns: tuple[str, ...]) -> list[Any]:
    """Give a row as it is staged: empty lists and maps are left out."""
    sent = []
    for name in columns:
        value, convert = row[name], form(ISSUES.table.c[name])
        empty = value is None or value in ("[]", "{}")
        sent.append(None if empty else convert(value) if convert else value)
    return sent


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_what_is_made_is_what_the_long_way_makes(said: dict[str, object]) -> None:
    values = WHOLE | {name: value for name, value in said.items() if value not in ("", [], {})}
    plain = PlainRows(ISSUES, "acme", tuple(COMMON))
    made = plain.row(IDS[1], values)
    if made is not None:
        wanted = long_way(values)
        assert wanted is not None
        assert made == staged(wanted, plain.columns)


def test_ordinary_findings_are_made() -> None:
    plain = PlainRows(ISSUES, "acme", tuple(COMMON))
    values = WHOLE | {
        "partial_fingerprints": {"secmesh/v1": "f"},
        "code_flows": [{"thread_flows": [{"steps": [{"file_path": "ä.js"}]}]}],
        "cwe_ids": ["CWE-79"],
        "start_line": 3,
        "security_severity": 7.5,
    }
    assert plain.row(IDS[1], values) == staged(long_way(values) or {}, plain.columns)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_is_required_is_asked_for(name: str) -> None:
    values = {each: value for each, value in WHOLE.items() if each != name}
    assert PlainRows(ISSUES, "acme", tuple(COMMON)).row(IDS[1], values) is None


def test_common_values_are_stored_as_others_are() -> None:
    plain = PlainRows(ISSUES, "acme", tuple(COMMON))
    assert plain.value("project_id", COMMON["project_id"]) == "p"
    with pytest.raises(Unsure):
        plain.value("branch", 3)
    with pytest.raises(Refusal):
        plain.value("project_id", "tenants/beta/sast_projects/p")


@pytest.mark.parametrize("collection", sorted(LIVES))
def test_findings_of_all_kinds_can_be_made(collection: str) -> None:
    assert PlainRows(TABLES[collection], "acme").applies
