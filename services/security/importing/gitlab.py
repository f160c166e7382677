"""GitLab's SAST and secret detection reports (security-report-schemas, 2.x to 15.x)."""

from collections.abc import Iterator

from services.security.importing import words
from services.security.importing.fingerprint import normal_path
from services.security.importing.model import Finding, Item, Location, Rule, Severity, Subject, Tool
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# security-report-schemas, `severity`; before 15 it was optional and had "Undefined" too.
SEVERITIES = {
    "": Severity.INFO,
    "undefined": Severity.INFO,
    "unknown": Severity.INFO,
    "info": Severity.INFO,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}


def read(spool: Spool) -> Iterator[Item]:
    """`vulnerabilities[]`; `scan` may stand after them."""
    reading = Reading(spool)
    rules: set[str] = set()
    tool = Tool("GitLab SAST")
    for key in reading.cursor.members():
        if key == "scan":
            tool = _tool(reading.small("/scan"))
        elif key == "vulnerabilities":
            for item in reading.each("/vulnerabilities", _vulnerability):
                if isinstance(item, Finding) and item.rule_key not in rules:
                    rules.add(item.rule_key)
                    yield Rule(item.rule_key, item.title, cwe_ids=item.cwe_ids)
                yield item
    yield tool
    reading.cursor.finish()


def _tool(scan: Node) -> Tool:
    scanner = scan.node("scanner")
    return Tool(
        scanner.text("name") or "GitLab SAST",
        scanner.text("version"),
        start_time=scan.text("start_time"),
        end_time=scan.text("end_time"),
    )


def _vulnerability(node: Node, count: Count) -> Iterator[Item]:
    identifiers = list(node.nodes("identifiers"))
    if not identifiers:
        raise BadResult(node.at("identifiers"), "is missing")
    said = node.text("severity")
    # Before 15 a vulnerability could be without any text: then its identifier has one.
    texts = (*map(node.text, ("message", "name", "description")), identifiers[0].text("name"))
    message = next(filter(None, texts), identifiers[0].text("value"))
    tracked = tuple(_tracked(node))
    cves = [each.text("value") for each in identifiers if each.text("type") == "cve"]
    finding = Finding(
        index=count.index + 1,
        pointer=node.pointer,
        subject=Subject.SECRET if node.text("category") == "secret_detection" else Subject.CODE,
        # The first identifier is the primary one: by it GitLab itself tells findings apart.
        rule_key=f"{identifiers[0].needed('type')}:{identifiers[0].needed('value')}",
        title=node.text("name") or message,
        severity=words.severity(SEVERITIES, said, node.at("severity")),
        severity_said=said,
        message=node.text("description") or message,
        message_template=message,
        confidence=node.text("confidence"),
        cve_id=words.cve_id(cves),
        cwe_ids=words.cwe_ids(
            f"CWE-{each.text('value')}" for each in identifiers if each.text("type") == "cwe"
        ),
        references=tuple(each.text("url") for each in node.nodes("links") if each.text("url")),
        remediation=node.text("solution"),
        locations=(_location(node),),
        fingerprints=tracked or _compared(node),
    )
    count.next()
    yield finding


def _location(node: Node) -> Location:
    place = node.node("location")
    return Location(
        path=normal_path(place.needed("file")),
        start_line=place.integer("start_line"),
        end_line=place.integer("end_line"),
        logical_name=place.text("method") or place.text("class"),
        snippet=node.text("raw_source_code_extract"),
    )


def _tracked(node: Node) -> Iterator[tuple[str, str]]:
    """`tracking.items[].signatures[]`: GitLab's own fingerprints, several algorithms of each."""
    for item in node.node("tracking").nodes("items"):
        for signature in item.nodes("signatures"):
            yield f"gitlab/{signature.needed('algorithm')}", signature.needed("value")


def _compared(node: Node) -> tuple[tuple[str, str], ...]:
    """Before 15, `cve` held a key to compare reports by, whatever its name says."""
    key = node.text("cve")
    return (("gitlab/compare-key", key),) if key else ()
