"""Bandit's JSON report (bandit.readthedocs.io, formatters/json)."""

from collections.abc import Iterator

from services.security.importing import words
from services.security.importing.fingerprint import normal_path
from services.security.importing.model import Finding, Item, Location, Rule, Severity, Subject, Tool
from services.security.importing.node import Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# Bandit's constants.RANKING.
SEVERITIES = {
    "undefined": Severity.INFO,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
}


def read(spool: Spool) -> Iterator[Item]:
    """`results[]`. Bandit names its rules in the results only."""
    reading = Reading(spool)
    rules: set[str] = set()
    generated = ""
    for key in reading.cursor.members():
        if key == "generated_at":
            generated = str(reading.small_value("/generated_at"))
        elif key == "results":
            for item in reading.each("/results", _result):
                if isinstance(item, Finding) and item.rule_key not in rules:
                    rules.add(item.rule_key)
                    yield _rule(item)
                yield item
    yield Tool("Bandit", end_time=generated)
    reading.cursor.finish()


def _rule(finding: Finding) -> Rule:
    """A finding's severity is that of one use; the rule's own is not in the report."""
    return Rule(
        finding.rule_key,
        finding.title,
        help_uri=next(iter(finding.references), ""),
        cwe_ids=finding.cwe_ids,
    )


def _result(node: Node, count: Count) -> Iterator[Item]:
    said = node.needed("issue_severity")
    weakness = node.node("issue_cwe").integer("id")
    lines = [each for each in node.array("line_range") if isinstance(each, int)]
    start = node.integer("line_number")
    finding = Finding(
        index=count.index + 1,
        pointer=node.pointer,
        subject=Subject.CODE,
        rule_key=node.needed("test_id"),
        title=node.text("test_name") or node.text("test_id"),
        severity=words.severity(SEVERITIES, said, node.at("issue_severity")),
        severity_said=said,
        message=node.text("issue_text"),
        confidence=node.text("issue_confidence"),
        cwe_ids=(f"CWE-{weakness}",) if weakness else (),
        references=node.texts("more_info"),
        locations=(
            Location(
                path=normal_path(node.needed("filename")),
                start_line=start,
                end_line=max(lines, default=start),
                snippet=_code(node.text("code")),
            ),
        ),
    )
    count.next()
    yield finding


def _code(numbered: str) -> str:
    """Bandit writes a line's number before it; the number would move with every edit above."""
    lines = (line.partition(" ")[2] for line in numbered.splitlines())
    return "\n".join(lines)
