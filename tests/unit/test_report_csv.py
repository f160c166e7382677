"""CSV of an assessment: a row a claim, and no cell that a spreadsheet runs."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.recommendation_pb2 import Recommendation
from services.inventory.compliance import report_csv
from services.inventory.compliance.recommendation import finding_id
from services.inventory.compliance.report import Report
from services.inventory.compliance.report_csv import cell, csv_report
from tests.unit.report_samples import ACCOUNT, HOSTILE, WORDS, every_verdict, report_of, verdict_of


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_a_row_a_claim_in_order() -> None:
    found = rows(csv_report(report_of(every_verdict())))
    assert [row["verdict"] for row in found] == [word.lower().replace("_", "-") for word in WORDS]
    contradicted = found[1]
    assert contradicted["control"] == "AC-2"
    assert contradicted["title"] == "Account Management"
    assert contradicted["claimed"] == "implemented"
    assert contradicted["failing_checks"] == "s3.encryption"
    assert contradicted["failing_resources"] == "arn:aws:s3:::0; arn:aws:s3:::1"
    assert (contradicted["failed"], contradicted["passed"]) == ("2", "3")
    assert (contradicted["severity"], contradicted["due"]) == ("high", "2030-01-31")
    supported = found[-1]
    assert (supported["severity"], supported["due"], supported["failing_resources"]) == ("", "", "")
    indeterminate = next(row for row in found if row["verdict"] == "indeterminate")
    assert indeterminate["missing_actions"] == "s3:GetEncryptionConfiguration"
    assert indeterminate["failing_resources"] == ""


def test_no_cell_is_a_formula_and_no_row_is_broken() -> None:
    content = csv_report(report_of(every_verdict(HOSTILE), text=HOSTILE))
    found = rows(content)
    assert len(found) == len(WORDS) == content.count(b"\r\n") - 1
    for row in found:
        assert None not in row
        for value in row.values():
            assert not value.lstrip().startswith(("=", "+", "-", "@"))
    assert found[1]["component"].startswith("'=HYPERLINK")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'=1"),
        ("\r\n=1", "'=1"),
        ("\u200b=1", "'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a=b", "a=b"),
        ("two\nlines", "two lines"),
        ("0", "0"),
        ("", ""),
    ],
)
def test_cells(text: str, expected: str) -> None:
    assert cell(text) == expected


@given(st.text())
def test_any_text_is_one_line_and_no_formula(text: str) -> None:
    made = cell(text)
    assert len(made.splitlines()) <= 1
    assert not made.startswith(("=", "+", "-", "@", "\t", "\r"))


def plan_of(verdicts: Sequence[pb.ClaimVerdict], *commands: str) -> list[Recommendation]:
    """Make the plan that mends each failure by these commands."""
    subjects = {
        evidence.subject
        for verdict in verdicts
        for result in verdict.check_results
        for evidence in result.evidence
    }
    made = Recommendation(
        recommendation_id=f"s3.encryption-{ACCOUNT}", title="Encrypted", advice=["Encrypt it."]
    )
    for subject in sorted(subjects):
        made.mendings.add(
            subject=subject, finding_ids=[finding_id("s3.encryption", subject)], commands=commands
        )
    other = Recommendation(recommendation_id="kms.rotation", title="Rotated")
    other.mendings.add(finding_ids=["f-0"], commands=["aws kms"])
    return [other, made]


def with_plan(report: Report, *commands: str) -> list[dict[str, str]]:
    plan = plan_of(report.verdicts, *commands)
    return rows(csv_report(replace(report, recommendations=plan)))


def test_a_claim_names_what_mends_it() -> None:
    found = with_plan(report_of(every_verdict()), "aws s3api put --bucket 'a  b'", "aws s3api get")
    by_word = {row["verdict"]: row for row in found}
    contradicted = by_word["contradicted"]
    assert contradicted["recommendations"] == f"s3.encryption-{ACCOUNT}: Encrypted"
    # A command that a cell would change is not given, nor is any after it.
    assert contradicted["to_mend"] == "Encrypt it."
    for word in ("supported", "indeterminate", "inherited"):
        assert (by_word[word]["recommendations"], by_word[word]["to_mend"]) == ("", "")
    found = with_plan(report_of(every_verdict()), "aws s3api put", "aws s3api get")
    assert found[1]["to_mend"] == "aws s3api put; aws s3api get"


def test_commands_are_whole_and_their_rest_is_counted() -> None:
    report = report_of([verdict_of("CONTRADICTED", "ac-2")])
    many = [f"aws s3api put --bucket b{number}" for number in range(15)]
    [row] = with_plan(report, *many)
    assert row["to_mend"] == f"{'; '.join(many[:10])} # and 5 more"
    [row] = with_plan(report, f"aws {'x' * 5000}", f"aws {'y' * 5000}")
    assert row["to_mend"] == f"aws {'x' * 5000} # and 1 more"


def test_what_mends_is_no_formula() -> None:
    report = report_of([verdict_of("CONTRADICTED", "ac-2")])
    plan = plan_of(report.verdicts, "=1+1")
    plan[1].recommendation_id, plan[1].title = "@SUM(A1)", HOSTILE
    [row] = rows(csv_report(replace(report, recommendations=plan)))
    assert row["to_mend"] == "'=1+1"
    assert row["recommendations"].startswith("'@SUM(A1): =HYPERLINK")
    assert len(row["recommendations"].splitlines()) == 1


def test_a_table_that_grows_too_large_lists_fewer_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = report_of([verdict_of("CONTRADICTED", "ac-2", evidence=20)])
    whole = csv_report(report)
    monkeypatch.setattr(report_csv, "MAX_BYTES", len(whole) - 1)
    [row] = rows(csv_report(report))
    assert row["failing_resources"].count(";") == 9
    assert row["failed"] == "20"


def test_quotes_and_commas_survive() -> None:
    verdict = verdict_of("CONTRADICTED", "ac-2", 'a "quoted", word')
    assert rows(csv_report(report_of([verdict])))[0]["component"] == 'a "quoted", word'
