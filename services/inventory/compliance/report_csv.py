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
    Report,
    control_label,
    state_word,
    verdict_word,
    visible,
)
from services.inventory.compliance.report_exceptions import used

_FORMULA = ("=", "+", "-", "@", "|", "%")
_Cell = Callable[[pb.ClaimVerdict], object]


def csv_report(report: Report) -> bytes:
    """Write a heading and a row for each verdict, UTF-8, every cell quoted."""
    columns = _columns(report)
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


def _columns(report: Report) -> Mapping[str, _Cell]:
    weak = {each.name for each in weaknesses(report.verdicts)}
    due = _due(report, plan_deadlines(report.claims))
    return {
        "control": lambda each: control_label(each.control_id),
        "title": _title,
        "part": lambda each: each.statement_id,
        "component": lambda each: each.component_title,
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
        "failing_resources": lambda each: _listed(_failing(each)),
        "missing_actions": lambda each: _listed(each.missing_actions),
        "below_baseline": lambda each: _listed(each.below_baseline),
        "implementation_statement_uuid": lambda each: each.implementation_statement_uuid,
        "name": lambda each: each.name,
    }


def _due(report: Report, deadlines: Deadlines) -> _Cell:
    found = report.assessment.evaluate_time.ToDatetime(UTC)
    return lambda each: deadlines.of(each, found).date().isoformat()


def _title(verdict: pb.ClaimVerdict) -> str:
    known = load_controls().get(verdict.control_id)
    return known.title if known else ""


def _failing(verdict: pb.ClaimVerdict) -> list[str]:
    """Give the failing resources of all checks, each once, as many as were kept."""
    found = {
        evidence.subject: None
        for result in verdict.check_results
        for evidence in result.evidence
        if evidence.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL
    }
    return list(found)


def _listed(words: Iterable[str]) -> str:
    return "; ".join(words)
