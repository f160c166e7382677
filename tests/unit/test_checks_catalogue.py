"""The checks that come with the service, and checks that are refused at start-up."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh.contract.catalogue import load_catalogue
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.check_catalogue import (
    CheckInvalid,
    bind_check,
    bind_checks,
    load_checks,
)
from services.inventory.compliance.controls import control_id, load_controls
from services.inventory.compliance.truth import Atom, Joined, Not, Piece, taken_apart

CATALOGUE = load_catalogue("secmesh.inventory.v1")
CHECKS = load_checks(CATALOGUE)
LIST = Path(__file__).parents[2].parent / "shared" / "data" / "checks.csv"
TABLES = {"account_metadata": "account_org"}
"""Collections whose table has another name in the list."""
OF_ACCOUNT = {"account", "identity center"}
"""What an account has one of, by the list's name."""


def _listed() -> list[dict[str, str]]:
    """Give the list's checks of what is collected."""
    if not LIST.exists():
        return []
    tables = {TABLES.get(name, name) for name in CATALOGUE.record_kinds}
    with LIST.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["table"] in tables]


def _present() -> list[dict[str, str]]:
    return [row for row in _listed() if row["check_id"] in CHECKS.checks]


@pytest.mark.skipif(not LIST.exists(), reason="the list of checks is not here")
def test_every_listed_check_of_the_first_tier_is_here_and_none_that_is_not_listed() -> None:
    first = {row["check_id"] for row in _listed() if row["tier"] == "1"}
    assert first - CHECKS.checks.keys() == set()
    assert CHECKS.checks.keys() - {row["check_id"] for row in _listed()} == set()


@pytest.mark.parametrize("row", _present(), ids=lambda row: row["check_id"])
def test_checks_say_what_the_list_says(row: dict[str, str]) -> None:
    check = CHECKS.checks[row["check_id"]].message
    assert check_pb2.Severity.Name(check.severity) == f"SEVERITY_{row['severity'].upper()}"
    grade = check_pb2.EvidenceGrade.Name(check.grade)
    assert grade == f"EVIDENCE_GRADE_{row['evidence_grade'].upper()}"
    primary = [control_id(each) for each in row["nist_r5_primary"].split()]
    assert [mapping.control_id for mapping in check.controls] == primary
    confirmed = {control_id(each) for each in row["primary_confirmed_by_published_mapping"].split()}
    for mapping in check.controls:
        expected = row["mapping_source"] if mapping.control_id in confirmed else "secmesh"
        assert mapping.source == expected
    of_account = row["resource_type"] in OF_ACCOUNT
    assert (check.scope == check_pb2.CHECK_SCOPE_ACCOUNT) == of_account


def test_every_parameter_of_a_plan_belongs_to_a_control_of_its_check() -> None:
    for check in CHECKS.checks.values():
        controls = [load_controls()[mapping.control_id] for mapping in check.message.controls]
        for parameter in check.message.parameters:
            own = {each for control in controls for each in control.parameters}
            assert parameter.param_id in own | {""}


def test_checks_are_found_by_control() -> None:
    assert [check.id for check in CHECKS.of("ia-5.1")] == [
        "iam.pwd_min_length",
        "iam.pwd_complexity",
        "iam.pwd_reuse",
    ]
    assert CHECKS.of("ac-1") == ()


GOOD: dict[str, Any] = {
    "id": "s3.own",
    "title": "Encrypted",
    "collection": "s3_buckets",
    "scope": "CHECK_SCOPE_RESOURCE",
    "condition": 'encryption == "AES256"',
    "severity": "SEVERITY_LOW",
    "grade": "EVIDENCE_GRADE_DIRECT",
    "controls": [{"control_id": "sc-28", "source": "secmesh"}],
    "remediation": "Encrypt it.",
}
DAYS = {
    "variable": "period",
    "default_value": 30,
    "direction": "THRESHOLD_DIRECTION_AT_MOST",
    "unit": "THRESHOLD_UNIT_DAYS",
}


@pytest.mark.parametrize("check", sorted(CHECKS.checks))
def test_the_filter_of_failures_of_each_check_compiles(check: str) -> None:
    bind_check(CATALOGUE, CHECKS.checks[check].message)


def test_a_good_check_is_bound() -> None:
    found = bind_checks(CATALOGUE, {"own.yaml": yaml.safe_dump([GOOD])})
    assert found.checks["s3.own"].fields == {"encryption"}
    assert not found.checks["s3.own"].uses_now


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"collection": "no_such"}, "there is no collection 'no_such'"),
        ({"collection": "ssps"}, "there is no collection 'ssps'"),
        ({"condition": "no_such_field"}, "no_such_field"),
        ({"condition": "bucket_name"}, "not bool"),
        ({"condition": "encryption =="}, "own.yaml: s3.own"),
        ({"condition": "encryption.matches('x')"}, "matches"),
        ({"applies": "nothing"}, "nothing"),
        ({"condition": "now - creation_date <= period"}, "period"),
        (
            {"condition": "retention_days <= period", "parameters": [DAYS]},
            "own.yaml: s3.own",
        ),
        ({"parameters": [DAYS, DAYS]}, "variable 'period' stands there twice"),
        ({"parameters": [DAYS | {"param_id": "xx-99_odp"}]}, "xx-99_odp is no parameter"),
        ({"controls": [{"control_id": "sc-99", "source": "secmesh"}]}, "sc-99 is no control"),
        ({"controls": [{"control_id": "ac-2.10", "source": "secmesh"}]}, "ac-2.10 is no control"),
        ({"controls": GOOD["controls"] * 2}, "control 'sc-28' stands there twice"),
        ({"controls": [{"control_id": "sc-28", "source": "hearsay"}]}, "controls[0].source"),
        ({"quantifier": "QUANTIFIER_ANY"}, "quantifier"),
        ({"scope": "CHECK_SCOPE_ACCOUNT"}, "quantifier"),
        ({"severity": "SEVERITY_UNSPECIFIED"}, "severity"),
        ({"severity": "HUGE"}, "severity"),
        ({"remediation": ""}, "remediation"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_broken_check_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(CheckInvalid) as caught:
        bind_checks(CATALOGUE, {"own.yaml": yaml.safe_dump([GOOD | change])})
    assert str(caught.value).startswith("own.yaml: s3.own: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a: [", "own.yaml"), ("a: 1", "must be a list"), ("- 3", "an entry"), ("", "must be a list")],
)
def test_a_broken_file_is_named(text: str, problem: str) -> None:
    with pytest.raises(CheckInvalid, match=problem):
        bind_checks(CATALOGUE, {"own.yaml": text})


def test_an_id_stands_for_one_check_in_all_files() -> None:
    text = yaml.safe_dump([GOOD])
    with pytest.raises(CheckInvalid, match=r"b\.yaml: s3\.own stands there twice"):
        bind_checks(CATALOGUE, {"a.yaml": text, "b.yaml": text})


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        ("a", ["a"]),
        ("a && b && !c", ["a", "b", "!c"]),
        ("a && (b && c)", ["a", "b && c"]),
        ("a && b || c", ["a && b || c"]),
        ("(a && b)", ["a", "b"]),
        ("!(a && b) && c", ["!(a && b)", "c"]),
        ("a ? b && c : d", ["a ? b && c : d"]),
        ('x == "&&" && y.exists(r, r.a && r.b)', ['x == "&&"', "y.exists(r, r.a && r.b)"]),
        ("x == 'it\\'s && so' && y", ["x == 'it\\'s && so'", "y"]),
    ],
)
def test_conditions_are_split_at_their_outer_and(expression: str, parts: list[str]) -> None:
    whole = taken_apart(expression)
    pieces = whole.pieces if isinstance(whole, Joined) and whole.symbol == "&&" else [whole]
    assert [written(each) for each in pieces] == parts


def written(piece: Piece) -> str:
    match piece:
        case Atom():
            return piece.text
        case Not():
            return f"!({written(piece.inner)})"
    return f" {piece.symbol} ".join(written(each) for each in piece.pieces)
