"""Findings in code and their rules: `sast_rules` and `sast_issues`."""

from collections.abc import Iterator

from services.security.importing.fingerprint import Fingerprint, snippet_hash
from services.security.importing.model import Finding, Location, Rule, Severity, State, Suppression
from services.security.importing.rows import (
    GONE,
    SONAR_SEVERITIES,
    Context,
    Row,
    ours,
    present,
    seen,
)

# CodeQL's properties.precision.
_PRECISIONS = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "very-high": "VERY_HIGH"}
# SARIF 2.1.0, 3.35.2 and 3.35.3.
_KINDS = {"inSource": "IN_SOURCE", "external": "EXTERNAL"}
_DECISIONS = {
    "": "ACCEPTED",
    "accepted": "ACCEPTED",
    "underReview": "UNDER_REVIEW",
    "rejected": "REJECTED",
}
_RESOLUTIONS = {State.SUPPRESSED: "ACCEPTED", State.FALSE_POSITIVE: "FALSE_POSITIVE"}
# Where a scanner names no file, the finding is the repository's.
_ROOT = "."


def rule_key(context: Context, key: str) -> str:
    """Rules of several tools may have one id: the tool's name stands before it."""
    return f"{context.tool}:{key}"


def rule(rule: Rule, context: Context) -> Iterator[Row]:
    """A rule, as external: it cannot be configured here."""
    key = rule_key(context, rule.key)
    values = {
        "key": key,
        "repository": context.tool,
        "name": rule.name or rule.key,
        "description": rule.description,
        "help_text": rule.help_text,
        "help_uri": rule.help_uri,
        "rule_type": _type(context, rule.cwe_ids, rule.score, rule.tags),
        "severity": SONAR_SEVERITIES[rule.severity or Severity.MEDIUM],
        "security_severity": rule.score,
        "precision": _PRECISIONS.get(rule.precision),
        "status": "READY",
        "cwe_ids": list(rule.cwe_ids),
        "tags": list(rule.tags),
        "is_external": True,
    }
    yield Row("sast_rules", key, present(values))


def invented_rule(key: str, finding: Finding, issue: Row, context: Context) -> Row:
    """The rule of an issue that the report does not describe, as far as that tells of it."""
    values: dict[str, object] = {
        "key": key,
        "repository": context.tool,
        "name": finding.rule_key,
        "rule_type": issue.values["issue_type"],
        "severity": issue.values["severity"],
        "status": "READY",
        "is_external": True,
    }
    return Row("sast_rules", key, values)


def _type(
    context: Context, cwe_ids: tuple[str, ...], score: float | None, tags: tuple[str, ...]
) -> str:
    """A weakness if the tool looks for nothing else, or names a CWE, a score or the word."""
    if context.security_tool or cwe_ids or score is not None or "security" in tags:
        return "VULNERABILITY"
    return "CODE_SMELL"


def issue(
    finding: Finding, fingerprints: tuple[Fingerprint, ...], context: Context
) -> Iterator[Row]:
    """An issue of the project's branch; nothing for what passed or is gone."""
    if finding.state in GONE:
        return
    place = finding.locations[0] if finding.locations else Location()
    resolution = _RESOLUTIONS.get(finding.state)
    values = {
        "fingerprint": ours(fingerprints),
        "issue_type": _type(context, finding.cwe_ids, finding.score, finding.tags),
        "severity": SONAR_SEVERITIES[finding.severity],
        "security_severity": finding.score,
        "status": "RESOLVED" if resolution else "OPEN",
        "resolution": resolution,
        "baseline_state": finding.baseline,
        "message": finding.message or finding.title or finding.rule_key,
        "file_path": place.path or place.logical_name or _ROOT,
        "start_line": place.start_line,
        "end_line": place.end_line,
        "start_column": place.start_column,
        "end_column": place.end_column,
        "line_hash": snippet_hash(place.snippet) if place.snippet else None,
        "snippet": place.snippet,
        "cwe_ids": finding.cwe_ids and list(finding.cwe_ids),
        "tags": finding.tags and list(finding.tags),
        "code_flows": finding.code_flows and [_flow(each) for each in finding.code_flows],
        "partial_fingerprints": {each.algorithm: each.value for each in fingerprints},
        "suppression": finding.suppressions
        and [_suppression(each) for each in finding.suppressions],
        **seen(context),
    }
    refers = {"rule_id": ("sast_rules", rule_key(context, finding.rule_key))}
    yield Row("sast_issues", ours(fingerprints), present(values), refers)


def _flow(steps: tuple[Location, ...]) -> dict[str, object]:
    return {"thread_flows": [{"steps": [_step(each) for each in steps]}]}


def _step(step: Location) -> dict[str, object]:
    return present(
        {
            "file_path": step.path,
            "start_line": step.start_line,
            "end_line": step.end_line,
            "start_column": step.start_column,
            "end_column": step.end_column,
            "snippet": step.snippet,
        }
    )


def _suppression(each: Suppression) -> dict[str, object]:
    return present(
        {
            "kind": _KINDS.get(each.kind, "EXTERNAL"),
            "status": _DECISIONS.get(each.status),
            "justification": each.justification,
        }
    )
