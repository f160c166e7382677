"""An assessment and its reports tell which enabled regions of its accounts nothing was read of."""

import csv
import io

import pytest

from cli.unseen import show_unseen
from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.oscal_documents import assessment_results, poam
from services.inventory.compliance.report import Report, markdown_report
from services.inventory.compliance.report_csv import csv_report
from services.inventory.compliance.report_html import html_report
from services.inventory.compliance.uncovered import MAX_LISTED, SHOWN, tell_unread_regions
from tests.unit.oscal_rules import obeying, props
from tests.unit.report_samples import ACCOUNT, report_of, verdict_of

OTHER = "222222222222"
READ = {ACCOUNT: {"us-east-1"}, OTHER: {"us-east-1", "eu-west-1"}}
ENABLED = {ACCOUNT: {"us-east-1", "eu-west-1", "ap-south-1"}, OTHER: {"us-east-1", "eu-west-1"}}
WORDS = "2 of 5 enabled regions were no evidence: no verdict speaks of them."


def told(enabled: dict[str, set[str]], *accounts: str) -> pb.Assessment:
    made = pb.Assessment(cloud_account_ids=accounts or sorted(READ))
    tell_unread_regions(made, enabled, lambda account: READ.get(account, set()))
    return made


def sample(enabled: dict[str, set[str]]) -> Report:
    report = report_of([verdict_of("CONTRADICTED", "ac-2"), verdict_of("SUPPORTED", "ac-3")])
    del report.assessment.cloud_account_ids[:]
    report.assessment.cloud_account_ids.extend(sorted(READ))
    tell_unread_regions(report.assessment, enabled, lambda account: READ[account])
    return report


def test_enabled_regions_that_were_never_asked_about_are_listed() -> None:
    made = told(ENABLED)
    assert (made.uncovered_region_count, made.enabled_region_count) == (2, 5)
    (only,) = made.uncovered_regions
    assert (only.cloud_account_id, [*only.regions]) == (ACCOUNT, ["ap-south-1", "eu-west-1"])
    assert made.unlisted_region_accounts == 0


def test_a_region_that_was_read_and_is_not_enabled_counts_for_nothing() -> None:
    made = told({ACCOUNT: {"us-east-1"}, OTHER: {"us-east-1"}})
    assert (made.uncovered_region_count, made.enabled_region_count) == (0, 2)
    assert not made.uncovered_regions


def test_accounts_that_did_not_say_are_counted_and_others_are_not_looked_at() -> None:
    made = told({OTHER: ENABLED[OTHER], "333333333333": {"us-east-1"}})
    assert (made.unlisted_region_accounts, made.enabled_region_count) == (1, 2)


def test_of_many_accounts_the_first_are_listed_and_all_counted() -> None:
    many = [f"{number:012d}" for number in range(MAX_LISTED + 7)]
    made = told({each: {"us-east-1", "eu-west-1"} for each in many}, *many)
    assert made.uncovered_region_count == 2 * len(many)
    assert len(made.uncovered_regions) == MAX_LISTED
    report = report_of([verdict_of("SUPPORTED", "ac-3")])
    report.assessment.MergeFrom(made)
    page = markdown_report(report).decode()
    assert page.count(": eu-west-1, us-east-1") == SHOWN
    assert f"and {2 * (len(many) - SHOWN)} more" in page


def test_every_report_tells() -> None:
    report = sample(ENABLED)
    for page in (markdown_report(report).decode(), html_report(report).decode()):
        assert "Regions without evidence" in page
        assert WORDS in page
        assert f"{ACCOUNT}: ap-south-1, eu-west-1" in page
        assert "is not known" not in page
    rows = csv.DictReader(io.StringIO(csv_report(report).decode()))
    assert {each["regions_without_evidence"] for each in rows} == {"2 of 5"}


def test_every_report_tells_what_is_not_known() -> None:
    report = sample({OTHER: ENABLED[OTHER]})
    for page in (markdown_report(report).decode(), html_report(report).decode()):
        assert "Of one account it is not known which regions are enabled." in page
        assert "were no evidence" not in page
    (row, _) = csv.DictReader(io.StringIO(csv_report(report).decode()))
    assert row["regions_without_evidence"] == ""


def test_oscal_tells_beside_the_result() -> None:
    results = obeying(assessment_results(sample(ENABLED)), "assessment_results")
    (result,) = results["results"]
    assert result["remarks"].startswith(WORDS)
    plan = obeying(poam(sample(ENABLED)), "plan_of_action")
    for document in (results, plan):
        found = props(document["metadata"], "regions-without-evidence")
        assert found == [f"{ACCOUNT}: ap-south-1, eu-west-1"]


def test_where_all_was_read_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    report = sample({ACCOUNT: {"us-east-1"}, OTHER: {"eu-west-1"}})
    for page in (markdown_report(report).decode(), html_report(report).decode()):
        assert "Regions without evidence" not in page
    show_unseen(report.assessment)
    assert capsys.readouterr().err == ""


def test_the_command_tells_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_unseen(told({ACCOUNT: ENABLED[ACCOUNT]}))
    words = " ".join(capsys.readouterr().err.split())
    assert f"2 of 3 enabled regions were no evidence: {ACCOUNT} ap-south-1, eu-west-1" in words
    assert "which regions are enabled is not known of 1 of the accounts" in words
