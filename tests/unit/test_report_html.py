"""The HTML page: whole in itself, contradictions first, foreign text harmless."""

import base64
import hashlib
import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, ssp_pb2, trend_pb2
from services.inventory.compliance import report_html
from services.inventory.compliance.controls import baseline_controls
from services.inventory.compliance.html_parts import Html, join, tag
from services.inventory.compliance.recommendation import finding_id
from services.inventory.compliance.report import Mend, Report
from services.inventory.compliance.report_html import html_report
from services.inventory.compliance.report_html_first import contradictions
from services.inventory.compliance.report_posture import FAMILIES, GROUPS, Group, posture
from tests.unit.report_samples import HOSTILE, NOW, every_verdict, report_of, verdict_of

VOID = {"meta", "rect", "input"}
KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section"),
    *("article", "div", "p", "h1", "h2", "h3", "h4", "dl", "dt", "dd", "ul", "li", "span", "b"),
    *("script", "input", "select", "option", "output"),
    *("small", "code", "table", "thead", "tbody", "tr", "th", "td", "svg", "g", "rect"),
}


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.style = ""
        self.script = ""
        self._open: list[str] = []
        self.feed(content.decode())
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        elif self._open and self._open[-1] == "script":
            self.script += data
        else:
            self.text += f" {data}"


def policy(page: Page) -> str:
    (found,) = [value for name, value in page.attributes if value.startswith("default-src")]
    return found


def digest_of(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def test_the_page_loads_nothing_and_runs_its_own_script_alone() -> None:
    content = html_report(report_of(every_verdict()))
    page = Page(content)
    assert set(page.tags) <= KNOWN
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not names & {"src", "href", "style", "action", "srcset", "data"}
    assert policy(page) == (
        f"default-src 'none'; style-src 'sha256-{digest_of(page.style)}'; "
        f"script-src 'sha256-{digest_of(page.script)}'; base-uri 'none'; form-action 'none'"
    )
    assert page.tags.count("script") == 1
    for reaching in ("fetch", "XMLHttpRequest", "import(", "eval", "innerHTML", "http"):
        assert reaching not in page.script
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert "prefers-color-scheme: dark" in page.style
    assert "@media print" in page.style


def test_contradictions_come_first_with_evidence_and_remedy() -> None:
    text = Page(html_report(report_of(every_verdict()))).text
    assert text.index("Contradicted") < text.index("Claim-invalid") < text.index("Overdue")
    assert text.index("Overdue") < text.index("Every claim")
    for wanted in (
        "AC-2  Account Management",
        "arn:aws:s3:::0",
        '"NONE"',
        "2029-12-29 12:30 UTC",
        "high severity",
        "Encrypt it.",
        "s3:GetEncryptionConfiguration",
        "not read: ",
        "FedRAMP rev 5 Moderate",
    ):
        assert wanted in text, wanted


def first(report: Report) -> str:
    text = Page(html_report(report)).text
    return " ".join(text[: text.index("Posture")].split())


def test_what_is_false_and_how_to_mend_it_comes_first() -> None:
    low, high = verdict_of("CONTRADICTED", "ac-3"), verdict_of("CONTRADICTED", "sc-7")
    low.check_results[0].severity = check_pb2.SEVERITY_LOW
    report = report_of([low, high, *every_verdict()])
    claim = ssp_pb2.Claim(name=high.claim, description="We guard it. " * 40)
    told = first(Report(report.assessment, report.plan, report.verdicts, [claim]))
    assert "3 of 15 claims are false" in told
    assert "SC-7 Boundary Protection" in told, "the most severe of those of one age"
    assert "implemented by Cloud: We guard it." in told
    assert len(told) < 1000
    assert 'arn:aws:s3:::0 encryption = "NONE" 1 more' in told
    assert "To mend Encrypt it." in told
    mending = {
        finding_id("s3.encryption", "arn:aws:s3:::1"): Mend(["aws s3api put-encryption '<x>'"], ())
    }
    mended = Report(report.assessment, report.plan, report.verdicts, mending=mending)
    told = first(mended)
    assert "arn:aws:s3:::1 encryption" in told, "one that a command mends"
    assert "To mend aws s3api put-encryption '<x>'" in told
    steps = {finding_id("s3.encryption", "arn:aws:s3:::0"): Mend((), ["Ask the owner."])}
    asked = Report(report.assessment, report.plan, report.verdicts, mending=steps)
    assert "To mend Ask the owner." in first(asked)


def test_the_oldest_of_the_gravest_is_first() -> None:
    newer, older = verdict_of("CONTRADICTED", "ac-3"), verdict_of("CONTRADICTED", "sc-7")
    newer.since.FromDatetime(NOW)
    older.since.FromDatetime(NOW - timedelta(days=1))
    assert contradictions([newer, older]) == [older, newer]


def test_a_claim_that_is_false_by_what_is_there_says_so() -> None:
    found = verdict_of("CONTRADICTED", "ac-3", evidence=0)
    told = first(report_of([found]))
    assert "1 of 1 claim is false" in told
    assert "Observed Because of ac-3." in told


def test_nothing_false_is_not_all_proven() -> None:
    told = first(report_of([verdict_of("INDETERMINATE", "ac-3"), verdict_of("SUPPORTED", "ac-4")]))
    assert "0 of 2 claims are false" in told
    assert "evidence agrees with 1, leaves 1 open, has not been weighed for 0" in told


def test_a_trend_is_drawn_where_its_days_are() -> None:
    report = report_of(every_verdict())
    trend = trend_pb2.Trend(assessments=3, left_out=2, cut=True)
    for days, count in ((10, 4), (9, 3), (0, 1)):
        point = trend.points.add(evaluate_time=NOW - timedelta(days=days))
        point.claim_counts.add(verdict=pb.VERDICT_CONTRADICTED, count=count)
        point.claim_counts.add(verdict=pb.VERDICT_SUPPORTED, count=4 - count)
    trend.repairs.open = trend.repairs.fixed = trend.repairs.fixed_since_first = 1
    trend.repairs.excepted = 1
    trend.repairs.oldest_open_age.FromTimedelta(timedelta(days=10))
    trend.repairs.mean_time_to_fix.FromTimedelta(timedelta(hours=25))
    trend.repairs.median_time_to_fix.FromTimedelta(timedelta(minutes=5))
    still, excepted = trend_pb2.FalseClaim.STATE_OPEN, trend_pb2.FalseClaim.STATE_EXCEPTED
    trend.false_claims.add(control_id="ac-2", state=still, since_first=True, age=timedelta(days=10))
    trend.false_claims.add(control_id="ac-7", state=excepted, age=timedelta(days=9))
    page = Page(html_report(Report(report.assessment, report.plan, report.verdicts, (), trend)))
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert (
        "Claims over time: 2029-12-22: 4 Evidence fails; "
        "2030-01-01: 1 Evidence fails, 3 Evidence agrees"
    ) in labels
    told = " ".join(page.text.split())
    for wanted in (
        "1 still false (the oldest for 10 days), 1 mended, 1 accepted by exceptions and not mended,"
        " 0 restated by the plan.",
        "Time to fix: mean 1 day, median less than an hour.",
        "1 of them took longer",
        "Left out: 2 assessments",
        "older assessments",
        "AC-2 false since or before 1970-01-01, 10 days",
    ):
        assert wanted in told, wanted
    assert "AC-7 false since" not in told


def test_one_assessment_is_no_trend() -> None:
    report = report_of(every_verdict())
    for number, wanted in ((1, "first assessment"), (2, "of one day")):
        trend = trend_pb2.Trend(assessments=number)
        trend.points.add(evaluate_time=NOW)
        made = Report(report.assessment, report.plan, report.verdicts, (), trend)
        assert wanted in Page(html_report(made)).text


def test_foreign_text_stays_text() -> None:
    content = html_report(report_of(every_verdict(HOSTILE), text=HOSTILE))
    page = Page(content)
    plain = Page(html_report(report_of(every_verdict())))
    assert page.tags == plain.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in plain.attributes]
    assert "<script>alert(1)</script>" in page.text
    assert not re.search("[\u202e\u2028\x00\x1b]", content.decode())


@given(st.text(), st.text())
def test_any_text_is_content(content: str, attribute: str) -> None:
    made = tag("span", content, title=attribute)
    page = Page(made.encode())
    assert page.tags == ["span"]
    assert {name for name, _ in page.attributes} <= {"title"}


def test_only_what_was_made_as_html_stays_html() -> None:
    assert join("<b>", Html("<b>")) == "&lt;b&gt;<b>"
    assert tag("p", "a ", tag("b", "x & y"), " z", class_="w") == (
        '<p class="w">a <b>x &amp; y</b> z</p>'
    )


def test_charts_say_their_numbers() -> None:
    report = report_of(every_verdict())
    page = Page(html_report(report))
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert labels[0] == "Controls: 5 Evidence fails, 3 Open, 4 Evidence agrees, 3 Not weighed"
    assert labels[1] == "Coverage: 11 Tested, read whole, 1 Tested, not read whole, 3 No check"


def test_posture_counts_each_control_once_by_its_worst_claim() -> None:
    worse = verdict_of("CONTRADICTED", "ac-2")
    better = verdict_of("SUPPORTED", "ac-2")
    open_one = verdict_of("INDETERMINATE", "sc-7")
    found = posture([worse, better, open_one, verdict_of("NO_EVIDENCE", "at-2")])
    assert found.controls == 3
    assert found.groups == {Group.FAILING: 1, Group.OPEN: 1, Group.UNTESTED: 1}
    assert [*found.families] == ["ac", "at", "sc"]
    assert (found.tested_whole, found.tested_in_part, found.without_check) == (1, 1, 1)


def test_every_verdict_and_every_family_is_known() -> None:
    assert GROUPS.keys() == {*pb.Verdict.values()} - {pb.VERDICT_UNSPECIFIED}
    families = {
        control.partition("-")[0] for control in baseline_controls(ssp_pb2.BASELINE_FEDRAMP_HIGH)
    }
    assert families <= FAMILIES.keys()


def test_a_page_that_grows_too_large_lists_fewer_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of([verdict_of("CONTRADICTED", "ac-2", evidence=20) for _ in range(5)])
    whole = html_report(report)
    assert whole.count(b'<th scope="row">arn:aws') == 50
    assert b"and 10 more" in whole
    monkeypatch.setattr(report_html, "MAX_BYTES", len(whole) - 1)
    less = html_report(report)
    assert less.count(b'<th scope="row">arn:aws') == 15
    assert b"and 17 more" in less


def test_a_removed_plan_and_an_empty_assessment_are_a_page() -> None:
    empty = report_of([])
    page = Page(html_report(Report(empty.assessment, None, ())))
    assert "tenants/acme/ssps/main" in page.text
