"""An assessment as one document: JSON for machines, Markdown for people.

Everything that a plan or an account put into it is foreign: in Markdown it is escaped, so that it
can neither pretend to be a heading nor run as HTML.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import catalog_pb2, check_pb2, recommendation_pb2, ssp_pb2, trend_pb2
from services.inventory.compliance.controls import baseline_title, load_controls
from services.inventory.compliance.reason import outcome_word
from services.inventory.compliance.report_demands import HEADING, demands
from services.inventory.compliance.report_exceptions import (
    EXPLAINED,
    notices,
    outcome_told,
    row,
    used,
)
from services.inventory.compliance.report_recommendations import recommended
from services.inventory.compliance.uncovered import unseen

MAX_BYTES = 12 * 1024 * 1024
LISTED = (50, 10, 3, 0)
"""Outcomes of each check that documents list, fewer if a document grows too large."""
MAX_SHOWN = 10
"""Outcomes of one check that Markdown lists; JSON has all that were kept."""
# Backslash, code, emphasis, links, tables, strikethrough, quotes, and what GFM links by itself.
_SPECIAL = re.compile(
    r"([\\`*\[\]!|~>@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.)", re.IGNORECASE
)
DETAILED = (
    pb.VERDICT_CLAIM_INVALID,
    pb.VERDICT_CONTRADICTED,
    pb.VERDICT_OVERDUE,
    pb.VERDICT_WEAKENED,
    pb.VERDICT_GAP_CONFIRMED,
    pb.VERDICT_INDETERMINATE,
    pb.VERDICT_NOT_CLAIMED_FAILING,
)
OUTCOME_WORDS = {
    check_pb2.EVIDENCE_OUTCOME_FAIL: "fails",
    check_pb2.EVIDENCE_OUTCOME_UNREAD: "unread",
    check_pb2.EVIDENCE_OUTCOME_STALE: "stale",
    check_pb2.EVIDENCE_OUTCOME_EXCEPTED: "excepted",
}


@dataclass(frozen=True)
class Mend:
    """What mends one failure."""

    commands: Sequence[str]
    """Of the AWS CLI, in their order; none if no command mends it."""
    steps: Sequence[str]
    """What a person does."""


@dataclass(frozen=True)
class Report:
    """What a report is written from."""

    assessment: pb.Assessment
    plan: ssp_pb2.Ssp | None
    """None if the plan was removed since."""
    verdicts: Sequence[pb.ClaimVerdict]
    """The worst first."""
    claims: Sequence[ssp_pb2.Claim] = ()
    """The plan's claims as they stand now."""
    trend: trend_pb2.Trend | None = None
    """Up to the assessment; None if it was not asked for."""
    mending: Mapping[str, "Mend"] = field(default_factory=dict)
    """What mends failures, by the ids of the findings."""
    recommendations: Sequence[recommendation_pb2.Recommendation] = ()
    """What to mend, the first to mend first; none if it was not asked for."""
    texts: Mapping[str, catalog_pb2.CatalogControl] = field(default_factory=dict)
    """Words of the contradicted controls, by id, as far as the tenant loaded them."""


def json_report(report: Report) -> bytes:
    """Write the assessment, the plan and the verdicts in the form of their contract.

    Of each check as many outcomes are listed as let the document fit into one message; the
    counts are always whole.
    """
    for listed in LISTED:
        document = {
            "assessment": json_format.MessageToDict(report.assessment),
            "ssp": json_format.MessageToDict(report.plan) if report.plan else None,
            "outcomesListed": listed,
            "verdicts": [_verdict_document(verdict, listed) for verdict in report.verdicts],
        }
        written = json.dumps(document, indent=2, ensure_ascii=False).encode()
        if len(written) <= MAX_BYTES:
            break
    return written


def _verdict_document(verdict: pb.ClaimVerdict, listed: int) -> dict[str, Any]:
    shortened = pb.ClaimVerdict()
    shortened.CopyFrom(verdict)
    for result in shortened.check_results:
        del result.evidence[listed:]
    return json_format.MessageToDict(shortened)


def markdown_report(report: Report) -> bytes:
    """Write the counts, then what needs attention with its resources, then every verdict."""
    lines = [
        *_head(report),
        *_counts(report.assessment),
        *_missing(report.assessment),
        *_unseen(report.assessment),
        *_notices(report.assessment),
        *recommended(report.recommendations, escaped),
        *_details(report),
        *_exceptions(report.verdicts),
        *_all(report.verdicts),
    ]
    return ("\n".join(lines) + "\n").encode()


def verdict_word(verdict: pb.Verdict.ValueType) -> str:
    """Give a verdict's name as people write it, such as ``gap-confirmed``."""
    return pb.Verdict.Name(verdict).removeprefix("VERDICT_").lower().replace("_", "-")


def visible(text: str) -> str:
    """Make one line of foreign text, without what a reader cannot see or that turns it round."""
    seen = "".join(
        " " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each
        for each in text
        if unicodedata.category(each) not in ("Cf", "Cs")
    )
    return re.sub(r"\s+", " ", seen).strip()


def escaped(text: str) -> str:
    """Make foreign text harmless in Markdown: one line, nothing of it markup or HTML."""
    line = visible(text)
    quoted = line.replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", quoted)


def _head(report: Report) -> Iterator[str]:
    assessment = report.assessment
    title = report.plan.title if report.plan else assessment.ssp
    yield f"# {escaped(title)}: claims and evidence"
    yield ""
    yield f"- Assessment: {escaped(assessment.name)}"
    yield f"- Plan: {escaped(assessment.ssp)}"
    yield f"- Baseline: {baseline_title(assessment.baseline)}"
    yield f"- Accounts: {escaped(', '.join(assessment.cloud_account_ids))}"
    yield f"- Evidence weighed at: {moment_words(assessment.evaluate_time)}"
    yield ""


def _counts(assessment: pb.Assessment) -> Iterator[str]:
    controls = {each.verdict: each.count for each in assessment.control_counts}
    claims = {each.verdict: each.count for each in assessment.claim_counts}
    yield "## Verdicts"
    yield ""
    yield f"| Verdict | Controls (of {assessment.controls}) | Claims (of {assessment.claims}) |"
    yield "| --- | ---: | ---: |"
    for verdict in sorted({*controls, *claims}):
        word = verdict_word(verdict)
        yield f"| {word} | {controls.get(verdict, 0)} | {claims.get(verdict, 0)} |"
    yield ""
    if assessment.below_baseline:
        yield f"Claims with a threshold below their baseline: {assessment.below_baseline}."
        yield ""


def _missing(assessment: pb.Assessment) -> Iterator[str]:
    if not assessment.missing_actions:
        return
    yield "## Reads that were denied"
    yield ""
    yield "Grant these actions to the collecting role to turn unread evidence into answers:"
    yield ""
    yield from (f"- {escaped(action)}" for action in assessment.missing_actions)
    yield ""


def _unseen(assessment: pb.Assessment) -> Iterator[str]:
    for each in unseen(assessment):
        yield f"## {each.heading}"
        yield ""
        yield each.told
        yield ""
        yield from (f"- {escaped(line)}" for line in each.lines)
        yield ""


def _details(report: Report) -> Iterator[str]:
    written: pb.Verdict.ValueType | None = None
    # Contradictions first: they are what a reader must act on.
    ordered = sorted(report.verdicts, key=lambda each: each.verdict != pb.VERDICT_CONTRADICTED)
    for verdict in ordered:
        if verdict.verdict not in DETAILED:
            continue
        if verdict.verdict != written:
            written = verdict.verdict
            yield f"## {verdict_word(written).capitalize()}"
            yield ""
        yield from _detail(report, verdict)


def _detail(report: Report, verdict: pb.ClaimVerdict) -> Iterator[str]:
    yield f"### {_claim_title(verdict)}"
    yield ""
    yield escaped(verdict.reason)
    yield ""
    if verdict.source:
        yield f"- In the plan: {escaped(verdict.source)}"
    yield from _demanded(report, verdict)
    for note in verdict.below_baseline:
        yield f"- Below the baseline: {escaped(note)}"
    for result in verdict.check_results:
        if result.failed or result.excepted or not result.complete:
            yield from _result(result)
    yield ""


def _demanded(report: Report, verdict: pb.ClaimVerdict) -> Iterator[str]:
    found = demands(report.texts, report.claims, verdict)
    if found:
        yield f"- {HEADING}:"
    yield from (f"{'  ' * (each.depth + 1)}- {escaped(each.text)}" for each in found)


def _result(result: pb.CheckResult) -> Iterator[str]:
    counts = (
        f"{result.passed} pass, {result.failed} fail, {result.unread} unread, {result.stale} stale"
    )
    if result.excepted:
        counts = f"{counts}, {result.excepted} excepted"
    yield f"- **{escaped(result.check_id)}**: {counts}"
    for evidence in result.evidence[:MAX_SHOWN]:
        values = ", ".join(f"{name} = {value}" for name, value in sorted(evidence.values.items()))
        actions = ", ".join(sorted({gap.action for gap in evidence.unread if gap.action}))
        facts = "; ".join(part for part in (values, actions and f"needs {actions}") if part)
        since = f", since {moment_words(evidence.since)}" if evidence.HasField("since") else ""
        word = escaped(
            outcome_told(result, evidence, OUTCOME_WORDS.get(evidence.outcome, "weighed"))
        )
        because = f": {escaped(facts)}" if facts else ""
        yield f"  - {escaped(evidence.subject)} {word}{since}{because}"
    hidden = outcomes_told(result) - min(len(result.evidence), MAX_SHOWN)
    if hidden > 0:
        yield f"  - and {hidden} more"
    for gap in result.gaps[:MAX_SHOWN]:
        what = gap.operation or result.collection
        place = "/".join(part for part in (gap.cloud_account_id, gap.region) if part)
        yield f"  - not read: {escaped(what)} in {escaped(place)}: {_ending(gap)}"
    if result.failed and result.remediation:
        yield f"  - To mend: {escaped(result.remediation)}"


def outcomes_told(result: pb.CheckResult) -> int:
    """Count the outcomes that evidence is given of."""
    return result.failed + result.unread + result.stale + result.excepted


def _notices(assessment: pb.Assessment) -> Iterator[str]:
    for heading, lines in notices(assessment):
        yield f"## {heading}"
        yield ""
        yield from (f"- {escaped(line)}" for line in lines)
        yield ""


def _exceptions(verdicts: Iterable[pb.ClaimVerdict]) -> Iterator[str]:
    found = used(verdicts)
    if not found:
        return
    yield "## Exceptions"
    yield ""
    yield EXPLAINED
    yield ""
    yield "| Exception | Check | Failures | Why | Decided in |"
    yield "| --- | --- | ---: | --- | --- |"
    for each in found:
        yield f"| {' | '.join(escaped(cell) for cell in row(each))} |"
    yield ""


def _ending(gap: pb.ManifestGap) -> str:
    return escaped(gap.code) if gap.code else outcome_word(gap.outcome)


def _all(verdicts: Iterable[pb.ClaimVerdict]) -> Iterator[str]:
    yield "## Every claim"
    yield ""
    yield "| Control | Part | Component | Claimed | Verdict | Why |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for verdict in verdicts:
        cells = (
            control_label(verdict.control_id),
            verdict.statement_id,
            verdict.component_title,
            state_word(verdict),
            verdict_word(verdict.verdict),
            verdict.reason,
        )
        yield f"| {' | '.join(escaped(cell) for cell in cells)} |"


def _claim_title(verdict: pb.ClaimVerdict) -> str:
    known = load_controls().get(verdict.control_id)
    title = f"{known.label} {known.title}" if known else verdict.control_id
    parts = [verdict.statement_id, verdict.component_title]
    rest = ", ".join(part for part in parts if part)
    return escaped(f"{title} ({rest})" if rest else title)


def control_label(control_id: str) -> str:
    """Give a control as people write it, such as ``AC-2(3)``."""
    known = load_controls().get(control_id)
    return known.label if known else control_id


def state_word(verdict: pb.ClaimVerdict) -> str:
    """Give what the plan says of the control, in words."""
    if not verdict.claim:
        return "nothing"
    word = ssp_pb2.ClaimState.Name(verdict.state).removeprefix("CLAIM_STATE_")
    return "no status" if word == "UNSPECIFIED" else word.lower().replace("_", " ")


def moment_words(stamp: Timestamp) -> str:
    """Write a moment for people, in UTC."""
    return stamp.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M UTC")
