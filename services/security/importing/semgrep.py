"""Semgrep's JSON report (semgrep-interfaces, semgrep_output_v1)."""

from collections.abc import Iterator

from services.security.importing import words
from services.security.importing.fingerprint import normal_path
from services.security.importing.model import (
    Finding,
    Item,
    Location,
    Rule,
    Severity,
    State,
    Subject,
    Suppression,
    Tool,
)
from services.security.importing.node import Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# semgrep_output_v1: match_severity, the older three words and the newer four.
SEVERITIES = {
    "error": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "info": Severity.LOW,
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "low": Severity.LOW,
    "experiment": Severity.INFO,
    "inventory": Severity.INFO,
}
# What Semgrep writes in place of what only a logged-in run shows.
_WITHHELD = "requires login"


def read(spool: Spool) -> Iterator[Item]:
    """`results[]`. Semgrep describes its rules in the results only."""
    reading = Reading(spool)
    rules: set[str] = set()
    version = ""
    for key in reading.cursor.members():
        if key == "version":
            version = str(reading.small_value("/version"))
        elif key == "results":
            for item in reading.each("/results", _result):
                if isinstance(item, Finding) and item.rule_key not in rules:
                    rules.add(item.rule_key)
                    yield _rule(item)
                yield item
    yield Tool("Semgrep", version)
    reading.cursor.finish()


def _rule(finding: Finding) -> Rule:
    return Rule(
        finding.rule_key,
        finding.title,
        description=finding.message_template,
        help_uri=next(iter(finding.references), ""),
        severity=finding.severity,
        severity_said=finding.severity_said,
        cwe_ids=finding.cwe_ids,
        tags=finding.categories,
    )


def _result(node: Node, count: Count) -> Iterator[Item]:
    extra = node.node("extra")
    metadata = extra.node("metadata")
    said = extra.needed("severity")
    key = node.needed("check_id")
    shown = extra.text("fingerprint")
    ignored = extra.flag("is_ignored")
    message = extra.text("message")
    finding = Finding(
        index=count.index + 1,
        pointer=node.pointer,
        subject=Subject.CODE,
        rule_key=key,
        title=key.rpartition(".")[2],
        severity=words.severity(SEVERITIES, said, extra.at("severity")),
        severity_said=said,
        message=message,
        message_template=_template(message, extra),
        confidence=metadata.text("confidence"),
        cwe_ids=words.cwe_ids(metadata.texts("cwe")),
        references=(*metadata.texts("references"), *metadata.texts("source")),
        remediation=extra.text("fix"),
        locations=(_location(node, extra),),
        fingerprints=(("semgrep/fingerprint", shown),) if shown not in ("", _WITHHELD) else (),
        suppressions=(Suppression("inSource"),) if ignored else (),
        state=State.SUPPRESSED if ignored else State.OPEN,
        categories=metadata.texts("owasp"),
    )
    count.next()
    yield finding


def _location(node: Node, extra: Node) -> Location:
    lines = extra.text("lines")
    return Location(
        path=normal_path(node.needed("path")),
        start_line=node.node("start").integer("line"),
        end_line=node.node("end").integer("line"),
        start_column=node.node("start").integer("col"),
        end_column=node.node("end").integer("col"),
        snippet="" if lines == _WITHHELD else lines,
    )


def _template(message: str, extra: Node) -> str:
    """The message without what its variables matched: a renamed variable is no new finding."""
    variables = extra.node("metavars")
    for name in sorted(variables.members, key=len, reverse=True):
        matched = variables.node(name).text("abstract_content")
        # One letter stands in many a word.
        if len(matched) > 1:
            message = message.replace(matched, name)
    return message
