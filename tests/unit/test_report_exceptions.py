"""Reports tell what is excepted, by what, until when and why, and what is over."""

import csv
import io
from dataclasses import replace
from datetime import timedelta

import pytest

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, trend_pb2
from secmesh.inventory.v1.check_exception_pb2 import AppliedException
from services.inventory.compliance.oscal_documents import assessment_results, poam
from services.inventory.compliance.report import Report, markdown_report
from services.inventory.compliance.report_csv import csv_report
from services.inventory.compliance.report_html import html_report
from services.inventory.compliance.report_html_first import first_view
from services.inventory.compliance.report_posture import Group, posture
from tests.unit.oscal_rules import obeying, props
from tests.unit.report_samples import HOSTILE, NOW, report_of, verdict_of

NAME = "tenants/acme/checkExceptions/public-site"
DAYS = 20
TOLD = "public-site until 2030-01-21"


def exception(
    days: float = DAYS, text: str = "It is public.", name: str = NAME
) -> AppliedException:
    made = AppliedException(
        check_exception=name,
        check_id="s3.encryption",
        reason=text,
        reference="RISK-7",
        excepted=2,
    )
    made.expire_time.FromDatetime(NOW + timedelta(days=days))
    return made


def excepted(word: str, control: str, text: str = "It is public.") -> pb.ClaimVerdict:
    """Make a verdict of which all failures are excepted."""
    made = verdict_of(word, control)
    (result,) = made.check_results
    result.failed, result.excepted = 0, 2
    result.failing_filter = ""
    result.exceptions.append(exception(text=text))
    del result.evidence[:]
    for number in range(2):
        result.evidence.add(
            record=f"tenants/acme/s3_buckets/r{number}",
            subject=f"arn:aws:s3:::{number}",
            outcome=check_pb2.EVIDENCE_OUTCOME_EXCEPTED,
            values={"encryption": '"NONE"'},
            check_exception=NAME,
        )
    return made


def sample(text: str = "It is public.") -> Report:
    verdicts = [
        verdict_of("CONTRADICTED", "ac-2"),
        excepted("GAP_CONFIRMED", "ac-3", text),
        excepted("PARTLY_SUPPORTED", "ac-4", text),
        excepted("NOT_CLAIMED", "ac-5", text),
        verdict_of("PARTLY_SUPPORTED", "ac-6"),
    ]
    report = report_of(verdicts)
    old = f"{NAME}-old"
    report.assessment.expired_exceptions.append(exception(-1, text, old))
    report.assessment.expiring_exceptions.append(exception(3, text, f"{NAME}-soon"))
    return report


@pytest.mark.parametrize("text", ["It is public.", HOSTILE])
def test_oscal_has_a_risk_whose_deviation_is_approved(text: str) -> None:
    (result,) = obeying(assessment_results(sample(text)), "assessment_results")["results"]
    plan = obeying(poam(sample(text)), "plan_of_action")
    for document in (result, plan):
        risks = {each["title"].split()[0]: each for each in document["risks"]}
        assert {name: each["status"] for name, each in risks.items()} == {
            "AC-2": "open",
            "AC-3": "deviation-approved",
            "AC-4": "deviation-approved",
            "AC-5": "deviation-approved",
        }
        accepted = risks["AC-4"]
        assert accepted["deadline"] == "2030-01-21T12:30:00.123456Z"
        (why,) = accepted["mitigating-factors"]
        assert why["description"].startswith(f"Excepted by {TOLD}: ")
        assert props(why, "exception") == [NAME]
        assert props(why, "reference") == ["RISK-7"]
        assert "2 fail s3.encryption, 2 of them excepted" in accepted["statement"]
        states = {
            each["title"].split()[0]: each["target"]["status"] for each in document["findings"]
        }
        assert states["AC-4"] == {"state": "not-satisfied", "reason": "other"}
        assert "AC-6" not in states
    (item,) = [each for each in plan["poam-items"] if each["title"].startswith("AC-4")]
    assert props(item, "deadline") == ["2030-01-21T12:30:00.123456Z"]
    assert props(item, "severity") == ["high"]
    (seen,) = [each for each in plan["observations"] if each["title"].startswith("AC-4")]
    check, *resources = seen["relevant-evidence"]
    assert (props(check, "excepted"), props(check, "exception")) == (["2"], [TOLD])
    assert "fails and is excepted by public-site" in resources[0]["description"]


def test_a_plan_of_action_may_hold_deviations_alone() -> None:
    plan = obeying(poam(report_of([excepted("PARTLY_SUPPORTED", "ac-4")])), "plan_of_action")
    assert [each["status"] for each in plan["risks"]] == ["deviation-approved"]


def test_csv_names_them() -> None:
    rows = {
        each["control"]: each for each in csv.DictReader(io.StringIO(csv_report(sample()).decode()))
    }
    row = rows["AC-4"]
    assert (row["excepted"], row["exceptions"], row["failed"]) == ("2", TOLD, "0")
    assert (row["severity"], row["due"]) == ("high", "2030-01-21")
    assert (rows["AC-2"]["excepted"], rows["AC-2"]["exceptions"]) == ("0", "")
    assert (rows["AC-6"]["severity"], rows["AC-6"]["due"]) == ("", "")


def test_markdown_names_them_and_what_is_over() -> None:
    text = markdown_report(sample()).decode()
    assert f"| {TOLD} | s3.encryption | 2 | It is public. | RISK-7 |" in text
    assert f"excepted by {TOLD}" in text
    assert (
        "## Exceptions that are over\n\n- public-site-old until 2029-12-31: s3.encryption" in text
    )
    assert "## Exceptions that end within 14 days\n\n- public-site-soon until 2030-01-04" in text
    assert (
        "xception" not in markdown_report(report_of([verdict_of("CONTRADICTED", "ac-2")])).decode()
    )


def test_posture_sets_them_apart() -> None:
    found = posture(sample().verdicts)
    assert found.groups == {Group.FAILING: 1, Group.EXCEPTED: 3, Group.AGREEING: 1}
    # A control counts by its worst claim; of claims that are alike, by the one that fails.
    twice = [excepted("GAP_CONFIRMED", "ac-3"), verdict_of("GAP_CONFIRMED", "ac-3")]
    assert posture(twice).groups == {Group.FAILING: 1}
    better = [verdict_of("SUPPORTED", "ac-4"), excepted("PARTLY_SUPPORTED", "ac-4")]
    assert posture(better).groups == {Group.EXCEPTED: 1}
    page = html_report(sample()).decode()
    assert 'aria-label="Controls: 1 Evidence fails, 3 Failures excepted, 1 Evidence agrees"' in page
    assert "evidence agrees with 1, is set aside by exceptions for 2, leaves 0 open" in page
    assert "xception" not in first_view(report_of([verdict_of("SUPPORTED", "ac-2")]))


def test_what_is_excepted_is_not_the_first_contradiction() -> None:
    # The plan says that it does not apply; all that it applies to is excepted, or fails here.
    accepted, partly = excepted("CONTRADICTED", "ac-3"), verdict_of("CONTRADICTED", "ac-4")
    accepted.check_results[0].severity = check_pb2.SEVERITY_CRITICAL
    (result,) = partly.check_results
    result.severity, result.excepted = check_pb2.SEVERITY_LOW, 1
    shown = pb.Evidence(
        subject="arn:aws:s3:::accepted",
        outcome=check_pb2.EVIDENCE_OUTCOME_EXCEPTED,
        check_exception=NAME,
    )
    evidence = [shown, *result.evidence]
    del result.evidence[:]
    result.evidence.extend(evidence)
    told = str(first_view(report_of([accepted, partly])))
    assert "AC-4" in told
    assert "AC-3" not in told
    assert "arn:aws:s3:::0" in told
    assert "accepted" not in told
    # If it is the only one, its reason is told, and nothing to mend in the account.
    alone = str(first_view(report_of([accepted])))
    assert "Because of ac-3." in alone
    assert "Correct what the plan says of it." in alone


def test_the_trend_sets_them_apart() -> None:
    trend = trend_pb2.Trend(assessments=2)
    for days in (9, 0):
        point = trend.points.add(evaluate_time=NOW - timedelta(days=days))
        point.claim_counts.add(verdict=pb.VERDICT_PARTLY_SUPPORTED, count=3)
    point.excepted_claim_counts.add(verdict=pb.VERDICT_PARTLY_SUPPORTED, count=2)
    page = html_report(replace(sample(), trend=trend)).decode()
    assert (
        "Claims over time: 2029-12-23: 3 Evidence agrees; "
        "2030-01-01: 2 Failures excepted, 1 Evidence agrees"
    ) in page


def test_html_names_them_and_what_is_over() -> None:
    page = html_report(sample()).decode()
    for told in (
        TOLD,
        "It is public.",
        "RISK-7",
        f"excepted by {TOLD}",
        "public-site-old until 2029-12-31",
        "public-site-soon until 2030-01-04",
    ):
        assert told in page
    hostile = html_report(sample(HOSTILE)).decode()
    assert "<img" not in hostile
    assert "<script>alert" not in hostile
