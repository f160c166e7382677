"""An assessment as CSV (RFC 4180): one row a claim, in the order of the worst first.

Spreadsheets run cells that begin as a formula does. Such cells get an apostrophe in front, which
spreadsheets show as text (OWASP: CSV injection).
"""

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.deadlines import Deadlines, plan_deadlines
from services.inventory.compliance.oscal_findings import severity_word, weaknesses
from services.inventory.compliance.reason import exception_words
from services.inventory.compliance.report import (
    LISTED,
    MAX_BYTES,
    Report,
    control_label,
    state_word,
    verdict_word,
    visible,
)
from services.inventory.compliance.report_csv_plan import Plan
from services.inventory.compliance.report_exceptions import used
from services.inventory.compliance.uncovered import uncovered_words, unread_region_words

_FORMULA = ("=", "+", "-", "@", "|", "%")
_Cell = Callable[[pb.ClaimVerdict], object]


def csv_report(report: Report) -> bytes:
    """Write a heading and a row for each verdict, UTF-8, every cell quoted.

    Of each check fewer resources are listed if it grows too large.
    """
    for listed in LISTED:
        written = _written(report, listed)
        if len(written) <= MAX_BYTES:
            break
    return written


def _written(report: Report, listed: int) -> bytes:
    columns = _columns(report, listed)
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(columns)
    for verdict in report.verdicts:
        writer.writerow([cell(str(of(verdict))) for of in columns.values()])
    return text.getvalue().encode()


def cell(text: str) -> str:
    """Make a cell that no spreadsheet runs, of one line."""
    line = visible(text)
    # Full-width signs begin a formula too.
    plain = unicodedata.normalize("NFKC", line)
    return f"'{line}" if plain.lstrip().startswith(_FORMULA) else line


def _columns(report: Report, listed: int) -> Mapping[str, _Cell]:
    plan = Plan(report.recommendations)
    weak = {each.name for each in weaknesses(report.verdicts)}
    due = _due(report, plan_deadlines(report.claims))
    return {
        "control": lambda each: control_label(each.control_id),
        "title": _title,
        "part": lambda each: each.statement_id,
        "component": lambda each: each.component_title,
        "source": lambda each: each.source,
        "claimed": state_word,
        "verdict": lambda each: verdict_word(each.verdict),
        "control_verdict": lambda each: verdict_word(each.control_verdict),
        "since": lambda each: (
            each.since.ToDatetime(UTC).date().isoformat() if each.HasField("since") else ""
        ),
        "previous_verdict": lambda each: (
            verdict_word(each.previous_verdict) if each.previous_verdict else ""
        ),
        "why": lambda each: each.reason,
        "severity": lambda each: severity_word(each) if each.name in weak else "",
        "due": lambda each: due(each) if each.name in weak else "",
        "failing_checks": lambda each: _listed(
            result.check_id for result in each.check_results if result.failed
        ),
        "passed": lambda each: sum(result.passed for result in each.check_results),
        "failed": lambda each: sum(result.failed for result in each.check_results),
        "unread": lambda each: sum(result.unread for result in each.check_results),
        "stale": lambda each: sum(result.stale for result in each.check_results),
        "excepted": lambda each: sum(result.excepted for result in each.check_results),
        "exceptions": lambda each: _listed(exception_words(found) for found in used([each])),
        "failing_resources": lambda each: _listed(_failing(each, listed)),
        "recommendations": lambda each: _listed(
            f"{found.recommendation_id}: {found.title}" for found in plan.of(each)
        ),
        "to_mend": lambda each: plan.mending(each, listed),
        "missing_actions": lambda each: _listed(each.missing_actions),
        "below_baseline": lambda each: _listed(each.below_baseline),
        "accounts_without_evidence": lambda _: uncovered_words(report.assessment),
        "regions_without_evidence": lambda _: unread_region_words(report.assessment),
        "implementation_statement_uuid": lambda each: each.implementation_statement_uuid,
        "name": lambda each: each.name,
    }


def _due(report: Report, deadlines: Deadlines) -> _Cell:
    found = report.assessment.evaluate_time.ToDatetime(UTC)
    return lambda each: deadlines.of(each, found).date().isoformat()


def _title(verdict: pb.ClaimVerdict) -> str:
    known = load_controls().get(verdict.control_id)
    return known.title if known else ""


def _failing(verdict: pb.ClaimVerdict, listed: int) -> list[str]:
    """Give the failing resources of all checks, each once, of each check so many."""
    found = {
        evidence.subject: None
        for result in verdict.check_results
        for evidence in result.evidence[:listed]
        if evidence.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL
    }
    return list(found)


def _listed(words: Iterable[str]) -> str:
    return "; ".join(words)
