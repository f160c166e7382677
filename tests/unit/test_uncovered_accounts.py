"""An assessment of all accounts, and its reports, tell of which known accounts nothing was seen."""

import csv
import io
import json
from datetime import datetime, timedelta

import pytest

from cli.unseen import show_unseen
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.organization_pb2 import OrganizationAccount
from services.inventory.compliance.oscal_documents import assessment_results, poam
from services.inventory.compliance.report import Report, json_report, markdown_report
from services.inventory.compliance.report_csv import csv_report
from services.inventory.compliance.report_html import html_report
from services.inventory.compliance.uncovered import MAX_LISTED, SHOWN, tell_uncovered
from tests.unit.oscal_rules import obeying, props
from tests.unit.report_samples import ACCOUNT, HOSTILE, NOW, report_of, verdict_of

ORGANIZATION = "tenants/acme/organizations/o-one"
WORDS = "2 of 3 usable accounts of organizations were no evidence: no verdict speaks of them."


def account(
    number: str, name: str = "shop", organization: str = ORGANIZATION, when: datetime = NOW
) -> OrganizationAccount:
    made = OrganizationAccount(
        name=f"{organization}/accounts/{number}",
        cloud_account_id=number,
        account_name=name,
        standing=OrganizationAccount.STANDING_UNKNOWN,
    )
    made.discover_time.FromDatetime(when)
    return made


def told(*usable: OrganizationAccount, scope: str = "") -> pb.Assessment:
    made = pb.Assessment(cloud_account_ids=[ACCOUNT], scope_account_ids=[scope] if scope else [])
    tell_uncovered(made, usable)
    return made


def counts(assessment: pb.Assessment) -> tuple[int, int]:
    return assessment.uncovered_account_count, assessment.organization_account_count


def sample(name: str = "shop") -> Report:
    report = report_of([verdict_of("CONTRADICTED", "ac-2"), verdict_of("SUPPORTED", "ac-3")])
    registered = account("222222222222", name)
    registered.account = "tenants/acme/accounts/shop"
    usable = [account("333333333333", name), registered, account(ACCOUNT, name)]
    tell_uncovered(report.assessment, usable)
    return report


def test_what_was_covered_is_counted_and_not_listed() -> None:
    made = told(account("333333333333", "b"), account(ACCOUNT), account("222222222222", "a"))
    assert counts(made) == (2, 3)
    assert [each.cloud_account_id for each in made.uncovered_accounts] == [
        "222222222222",
        "333333333333",
    ]
    first = made.uncovered_accounts[0]
    assert (first.account_name, first.organization, first.account) == ("a", ORGANIZATION, "")
    assert first.discover_time.ToDatetime(NOW.tzinfo) == NOW


def test_an_account_of_two_organizations_is_one_as_it_was_seen_last() -> None:
    later = account("222222222222", "now", f"{ORGANIZATION}-b", NOW + timedelta(days=1))
    for usable in ([account("222222222222"), later], [later, account("222222222222")]):
        made = told(*usable)
        assert counts(made) == (1, 1)
        (only,) = made.uncovered_accounts
        assert (only.account_name, only.organization) == ("now", f"{ORGANIZATION}-b")


def test_nothing_is_told_without_an_organization_or_of_accounts_that_were_named() -> None:
    assert counts(told()) == (0, 0)
    assert counts(told(account("222222222222"), scope=ACCOUNT)) == (0, 0)
    whole = told(account(ACCOUNT))
    assert counts(whole) == (0, 1)
    assert not whole.uncovered_accounts


def test_of_many_the_first_are_listed_and_all_counted() -> None:
    many = [account(f"{number:012d}", "many") for number in range(MAX_LISTED + 7)]
    report = report_of([verdict_of("SUPPORTED", "ac-3")])
    tell_uncovered(report.assessment, many)
    assert counts(report.assessment) == (MAX_LISTED + 7, MAX_LISTED + 7)
    assert len(report.assessment.uncovered_accounts) == MAX_LISTED
    page = markdown_report(report).decode()
    assert page.count(" many: not registered") == SHOWN
    assert f"and {MAX_LISTED + 7 - SHOWN} more" in page


def test_every_report_tells() -> None:
    report = sample()
    for page in (markdown_report(report).decode(), html_report(report).decode()):
        assert "Accounts without evidence" in page
        assert WORDS in page
        assert "222222222222 shop: not collected (discovered 2030-01-01)" in page
        assert "333333333333 shop: not registered (discovered 2030-01-01)" in page
    rows = csv.DictReader(io.StringIO(csv_report(report).decode()))
    assert {each["accounts_without_evidence"] for each in rows} == {"2 of 3"}
    assert json.loads(json_report(report))["assessment"]["uncoveredAccountCount"] == 2


def test_oscal_tells_beside_the_result() -> None:
    results = obeying(assessment_results(sample()), "assessment_results")
    (result,) = results["results"]
    assert result["remarks"].startswith(WORDS)
    assert "333333333333 shop: not registered" in result["remarks"]
    plan = obeying(poam(sample()), "plan_of_action")
    for document in (results, plan):
        found = props(document["metadata"], "account-without-evidence")
        assert found == ["222222222222", "333333333333"]


def test_names_of_accounts_are_foreign_words() -> None:
    report = sample(HOSTILE)
    (result,) = obeying(assessment_results(report), "assessment_results")["results"]
    for page in (html_report(report).decode(), markdown_report(report).decode()):
        assert "<script>alert" not in page
        assert "<img" not in page
    assert "<script>" not in result["remarks"]
    assert "\n# Heading" not in markdown_report(report).decode()


def test_reports_say_nothing_where_nothing_is_known() -> None:
    report = report_of([verdict_of("CONTRADICTED", "ac-2")])
    for page in (markdown_report(report).decode(), html_report(report).decode()):
        assert "Accounts without evidence" not in page
    (result,) = obeying(assessment_results(report), "assessment_results")["results"]
    assert "remarks" not in result
    (row,) = csv.DictReader(io.StringIO(csv_report(report).decode()))
    assert row["accounts_without_evidence"] == ""


def test_the_command_tells_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_unseen(pb.Assessment())
    assert capsys.readouterr().err == ""
    show_unseen(sample().assessment)
    words = " ".join(capsys.readouterr().err.split())
    assert "2 of 3 accounts of organizations were no evidence: 222222222222 shop" in words
