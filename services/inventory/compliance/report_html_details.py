"""The part of the page on what needs attention: contradictions first, each with its evidence."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.html_parts import Html, tag
from services.inventory.compliance.reason import outcome_word
from services.inventory.compliance.report import (
    DETAILED,
    OUTCOME_WORDS,
    Report,
    control_label,
    moment_words,
    outcomes_told,
    state_word,
    verdict_word,
)
from services.inventory.compliance.report_demands import HEADING, demands
from services.inventory.compliance.report_exceptions import outcome_told
from services.inventory.compliance.report_html_first import (
    clipped,
    contradictions,
    mend,
    severity,
)
from services.inventory.compliance.report_posture import group_of

_EXPLAINED = {
    pb.VERDICT_CLAIM_INVALID: "The claim cannot be judged as written.",
    pb.VERDICT_CONTRADICTED: "Direct evidence shows the opposite of what the plan says.",
    pb.VERDICT_OVERDUE: "Planned, due, and still failing.",
    pb.VERDICT_WEAKENED: "Partial evidence or an indicator speaks against the plan.",
    pb.VERDICT_GAP_CONFIRMED: "The plan says it is partial or planned, and so it is.",
    pb.VERDICT_INDETERMINATE: "What would decide it was not read.",
    pb.VERDICT_NOT_CLAIMED_FAILING: "The plan is silent and evidence fails.",
}


LONGEST_PLACE = 120
"""Characters of where a claim stands in its plan."""
SEVERITIES = ("critical", "high", "medium", "low")


def details(report: Report, shown: int) -> Iterator[Html]:
    """Write a section for each kind of verdict that needs attention."""
    # Contradictions first, the worst of them before others: they are what a reader must act on.
    false = contradictions(report.verdicts)
    others = [
        verdict
        for verdict in report.verdicts
        if verdict.verdict in DETAILED and verdict.verdict != pb.VERDICT_CONTRADICTED
    ]
    for kind, members in groupby([*false, *others], key=lambda each: each.verdict):
        own = list(members)
        heading = tag("h2", verdict_word(kind).capitalize(), tag("span", str(len(own))))
        cards = [_card(report, verdict, shown) for verdict in own]
        yield tag("section", heading, tag("p", _EXPLAINED[kind]), *cards, class_="findings")


def marks(verdict: pb.ClaimVerdict) -> dict[str, str]:
    """Give the attributes by which the page is filtered."""
    return {
        "data_verdict": verdict_word(verdict.verdict),
        "data_severity": severity_word(severity(verdict)),
    }


def severity_word(number: check_pb2.Severity.ValueType) -> str:
    word = check_pb2.Severity.Name(number).removeprefix("SEVERITY_").lower()
    return word if word in SEVERITIES else ""


def _card(report: Report, verdict: pb.ClaimVerdict, shown: int) -> Html:
    known = load_controls().get(verdict.control_id)
    facts = [part for part in (verdict.component_title, verdict.statement_id) if part]
    facts.append(f"claimed: {state_word(verdict)}")
    if verdict.HasField("since"):
        facts.append(f"{verdict_word(verdict.verdict)} since {moment_words(verdict.since)}")
    if verdict.source:
        facts.append(f"in the plan: {clipped(verdict.source, LONGEST_PLACE)}")
    notes = [tag("li", f"Below the baseline: {note}") for note in verdict.below_baseline]
    results = [
        _result(report, result, shown)
        for result in verdict.check_results
        if result.failed or result.excepted or not result.complete
    ]
    style = group_of(verdict).value
    return tag(
        "article",
        tag(
            "h3",
            tag("b", control_label(verdict.control_id)),
            f" {known.title}" if known else "",
        ),
        tag("p", " \N{MIDDLE DOT} ".join(facts), class_="facts"),
        tag("p", verdict.reason, class_="reason"),
        _demanded(report, verdict),
        tag("ul", *notes, class_="notes") if notes else Html(),
        *results,
        class_=f"card {style}",
        **marks(verdict),
    )


def _demanded(report: Report, verdict: pb.ClaimVerdict) -> Html:
    found = demands(report.texts, report.claims, verdict)
    lines = [tag("p", each.text, class_=f"depth{min(each.depth, 3)}") for each in found]
    return tag("details", tag("summary", HEADING), *lines, class_="demand") if lines else Html()


def _result(report: Report, result: pb.CheckResult, shown: int) -> Html:
    grave = severity_word(result.severity)
    counts = {
        "fail": result.failed,
        "pass": result.passed,
        "unread": result.unread,
        "stale": result.stale,
        "excepted": result.excepted,
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    heading = tag(
        "h4",
        tag("code", result.check_id),
        tag("span", f"{grave} severity", class_=f"severity {grave}") if result.failed else Html(),
        tag("span", told, class_="counts"),
    )
    mend = (
        tag("p", tag("b", "To mend: "), result.remediation, class_="mend")
        if result.failed and result.remediation
        else Html()
    )
    return tag(
        "div",
        heading,
        *_evidence(report, result, shown),
        *_gaps(result, shown),
        mend,
        class_="result",
    )


def _evidence(report: Report, result: pb.CheckResult, shown: int) -> Iterator[Html]:
    rows = [
        _evidence_row(result, each, mend(report, result, each).commands)
        for each in result.evidence[:shown]
    ]
    if rows:
        heading = tag(
            "tr", *(tag("th", name, scope="col") for name in ("Resource", "", "Since", "Values"))
        )
        table = tag("table", tag("thead", heading), tag("tbody", *rows), class_="evidence")
        yield tag("div", table, class_="wide")
    hidden = outcomes_told(result) - len(rows)
    if hidden > 0:
        yield tag("p", f"and {hidden} more", class_="more")


def _evidence_row(result: pb.CheckResult, evidence: pb.Evidence, mending: Sequence[str]) -> Html:
    word = outcome_told(result, evidence, OUTCOME_WORDS.get(evidence.outcome, "weighed"))
    values = [
        tag("div", tag("code", name), " = ", tag("code", value))
        for name, value in sorted(evidence.values.items())
    ]
    actions = sorted({gap.action for gap in evidence.unread if gap.action})
    needs = [tag("div", "needs ", tag("code", action)) for action in actions]
    since = moment_words(evidence.since) if evidence.HasField("since") else ""
    return tag(
        "tr",
        tag("th", evidence.subject, scope="row"),
        tag("td", word, class_="outcome"),
        tag("td", since, class_="when"),
        tag("td", *values, *needs, *(tag("code", line, class_="command") for line in mending)),
    )


def _gaps(result: pb.CheckResult, shown: int) -> Iterator[Html]:
    items = []
    for gap in result.gaps[:shown]:
        place = "/".join(part for part in (gap.cloud_account_id, gap.region) if part)
        ending = gap.code or outcome_word(gap.outcome)
        items.append(
            tag(
                "li",
                "not read: ",
                tag("code", gap.operation or result.collection),
                f" in {place}: {ending}",
            )
        )
    if items:
        yield tag("ul", *items, class_="notes")
