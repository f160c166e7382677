"""`npm audit --json`: advisories (npm 6) and vulnerabilities (npm 7 and later)."""

from collections.abc import Iterator

from msgspec import structs

from services.security.importing import words
from services.security.importing.model import (
    Component,
    Finding,
    Item,
    Location,
    Severity,
    Subject,
    Tool,
)
from services.security.importing.node import Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# npm docs, npm-audit, "audit-level"; npm 6 has "none" too.
SEVERITIES = {
    "none": Severity.INFO,
    "info": Severity.INFO,
    "low": Severity.LOW,
    "moderate": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}


def read(spool: Spool) -> Iterator[Item]:
    """Findings of one version of a package each."""
    reading = Reading(spool)
    yield Tool("npm audit")
    for key in reading.cursor.members():
        parse = {"advisories": _advisory, "vulnerabilities": _vulnerability}.get(key)
        if parse and reading.cursor.peek() == "{":
            for name in reading.cursor.members():
                yield from reading.one(Node({}, f"/{key}").at(name), parse)
    reading.cursor.finish()


def _advisory(node: Node, count: Count) -> Iterator[Item]:
    """npm 6: every installed version that the advisory is about, with the paths to it."""
    name = node.needed("module_name")
    said = node.needed("severity")
    severity = words.severity(SEVERITIES, said, node.at("severity"))
    rating = node.node("cvss")
    score, vector = _score(rating)
    patched = node.text("patched_versions")
    versions = [(each.text("version"), each.texts("paths")) for each in node.nodes("findings")]
    found = [
        Finding(
            index=count.index + 1 + position,
            pointer=node.pointer,
            subject=Subject.DEPENDENCY,
            rule_key=node.text("github_advisory_id") or f"npm:{node.scalar('id')}",
            title=node.needed("title"),
            severity=severity,
            severity_said=said,
            message=node.text("overview"),
            score=score,
            cvss_vector=vector,
            cve_id=words.cve_id(node.texts("cves")),
            cwe_ids=words.cwe_ids(node.texts("cwe")),
            references=node.texts("url"),
            remediation=node.text("recommendation"),
            locations=tuple(Location(logical_name=path) for path in paths),
            # `<0.0.0` is npm's way to say that no version is patched.
            component=_component(name, version, "" if patched == "<0.0.0" else patched),
        )
        for position, (version, paths) in enumerate(versions or [("", ())])
    ]
    for finding in found:
        count.next()
        yield finding


def _vulnerability(node: Node, count: Count) -> Iterator[Item]:
    """npm 7: what is `via` another package is that package's finding, and not told twice."""
    name = node.needed("name")
    nodes = node.texts("nodes")
    fix = node.members.get("fixAvailable")
    remediation = ""
    if isinstance(fix, dict):
        fixed = node.node("fixAvailable")
        remediation = f"Install {fixed.text('name')} {fixed.text('version')}."
    found = [
        _via(Node.of(via, f"{node.at('via')}/{position}"), name, nodes, remediation)
        for position, via in enumerate(node.array("via"))
        if not isinstance(via, str)
    ]
    for finding in found:
        yield _numbered(finding, count.next())


def _via(via: Node, name: str, nodes: tuple[str, ...], remediation: str) -> Finding:
    said = via.needed("severity")
    url = via.text("url")
    score, vector = _score(via.node("cvss"))
    advisory = (
        url.rpartition("/")[2] if "/advisories/GHSA" in url else f"npm:{via.scalar('source')}"
    )
    return Finding(
        index=0,
        pointer=via.pointer,
        subject=Subject.DEPENDENCY,
        rule_key=advisory,
        title=via.needed("title"),
        severity=words.severity(SEVERITIES, said, via.at("severity")),
        severity_said=said,
        message=via.text("title"),
        score=score,
        cvss_vector=vector,
        cwe_ids=words.cwe_ids(via.texts("cwe")),
        references=(url,) if url else (),
        remediation=remediation,
        locations=tuple(Location(path=each) for each in nodes),
        component=_component(via.text("name") or name, via.text("range"), ""),
    )


def _score(rating: Node) -> tuple[float | None, str]:
    """npm writes 0 and no vector where it knows no score."""
    vector = rating.text("vectorString")
    return (rating.number("score") if vector else None), vector


def _component(name: str, version: str, fixed: str) -> Component:
    exact = version[:1].isdigit() and " " not in version
    # The purl specification writes the `@` of a scope as %40.
    path = name.replace("@", "%40", 1) if name.startswith("@") else name
    return Component(
        name,
        version,
        purl=f"pkg:npm/{path}@{version}" if exact else f"pkg:npm/{path}",
        kind="npm",
        fixed_version=fixed,
    )


def _numbered(finding: Finding, index: int) -> Finding:
    return structs.replace(finding, index=index)
