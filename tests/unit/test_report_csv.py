"""CSV of an assessment: a row a claim, and no cell that a spreadsheet runs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.compliance.report_csv import cell, csv_report
from tests.unit.report_samples import HOSTILE, WORDS, every_verdict, report_of, verdict_of


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


def test_quotes_and_commas_survive() -> None:
    verdict = verdict_of("CONTRADICTED", "ac-2", 'a "quoted", word')
    assert rows(csv_report(report_of([verdict])))[0]["component"] == 'a "quoted", word'
