"""Trivy's JSON reports: images and file systems (`Results`), clusters (`Resources`)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from msgspec import structs

from services.security.importing import words
from services.security.importing.fingerprint import normal_path
from services.security.importing.json_cursor import Unreadable
from services.security.importing.model import (
    Component,
    Finding,
    Item,
    Location,
    Severity,
    State,
    Subject,
    Tool,
)
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# trivy-db, types.SeverityNames.
SEVERITIES = {
    "unknown": Severity.INFO,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
# trivy, types.MisconfStatus.
STATES = {
    "": State.OPEN,
    "FAIL": State.OPEN,
    "PASS": State.PASSED,
    "EXCEPTION": State.SUPPRESSED,
}
# Clusters: by resource since 0.50, by kind of finding before.
_RESOURCES = ("Resources", "Vulnerabilities", "Misconfigurations", "Findings")
_SCORES = (("V40Score", "V40Vector"), ("V3Score", "V3Vector"), ("V2Score", "V2Vector"))


@dataclass(frozen=True, slots=True)
class Head:
    """What a result says before or after its lists, and the cluster's resource it belongs to."""

    target: str = ""
    kind: str = ""
    resource: str = ""


def read(spool: Spool) -> Iterator[Item]:
    """Targets first, then what was found in each: a sorted report names the target last."""
    about = Tool("Trivy")
    heads: list[Head] = []
    broken: Unreadable | None = None
    first = Reading(spool)
    try:
        for _, resource, seen in _each_result(first, about):
            about = seen
            heads.append(_head(first, resource))
    except Unreadable as error:
        broken = error
        heads.append(Head())
    yield about
    reading = Reading(spool)
    for (pointer, _, _), head in zip(_each_result(reading, about), heads, strict=False):
        for key in reading.cursor.members():
            if parse := _PARSERS.get(key):
                yield from reading.each(f"{pointer}/{key}", partial(_numbered, parse, head))
    # The second pass meets the same cut; it skips what else was wrong.
    if broken:
        raise broken
    reading.cursor.finish()


def _numbered(
    parse: Callable[[Node, Head], Finding], head: Head, node: Node, count: Count
) -> Iterator[Item]:
    finding = structs.replace(parse(node, head), index=count.index + 1)
    count.next()
    yield finding


def _each_result(reading: Reading, about: Tool) -> Iterator[tuple[str, str, Tool]]:
    """The cursor before each result object; its place, its resource, and the report so far."""
    for key in reading.cursor.members():
        if key in ("ArtifactName", "ClusterName"):
            about = replace(about, target=str(reading.small_value(f"/{key}") or ""))
        elif key == "Trivy":
            about = replace(about, version=reading.small("/Trivy").text("Version"))
        elif key == "CreatedAt":
            about = replace(about, end_time=str(reading.small_value(f"/{key}") or ""))
        elif key == "Results":
            for place in _objects(reading, "/Results"):
                yield place, "", about
        elif key in _RESOURCES:
            for place in _objects(reading, f"/{key}"):
                for result, resource in _resource(reading, place):
                    yield result, resource, about


def _objects(reading: Reading, pointer: str) -> Iterator[str]:
    if reading.cursor.peek() == "n":
        return
    for index in reading.cursor.elements():
        if reading.cursor.peek() != "{":
            raise BadResult(f"{pointer}/{index}", "is no object")
        yield f"{pointer}/{index}"


def _resource(reading: Reading, pointer: str) -> Iterator[tuple[str, str]]:
    named = {"Namespace": "", "Kind": "", "Name": ""}
    for key in reading.cursor.members():
        if key in named:
            named[key] = str(reading.small_value(f"{pointer}/{key}") or "")
        elif key == "Results":
            for place in _objects(reading, f"{pointer}/Results"):
                yield place, "/".join(each for each in named.values() if each)


def _head(reading: Reading, resource: str) -> Head:
    said = {"Target": "", "Type": ""}
    for key in reading.cursor.members():
        if key in said:
            said[key] = str(reading.small_value(key) or "")
    return Head(said["Target"], said["Type"], resource)


def _vulnerability(node: Node, head: Head) -> Finding:
    name, version = node.needed("PkgName"), node.text("InstalledVersion")
    identifier = node.needed("VulnerabilityID")
    said = node.text("Severity") or "UNKNOWN"
    score, vector = _score(node)
    return Finding(
        index=0,
        pointer=node.pointer,
        subject=Subject.DEPENDENCY,
        rule_key=identifier,
        title=node.text("Title") or f"{identifier} in {name}",
        severity=words.severity(SEVERITIES, said, node.at("Severity")),
        severity_said=said,
        message=node.text("Description"),
        score=score,
        cvss_vector=vector,
        cve_id=words.cve_id((identifier,)),
        cwe_ids=words.cwe_ids(node.texts("CweIDs")),
        references=_references(node),
        locations=(
            Location(
                path=normal_path(node.text("PkgPath") or head.target), logical_name=head.resource
            ),
        ),
        component=Component(
            name,
            version,
            purl=node.node("PkgIdentifier").text("PURL"),
            kind=head.kind,
            fixed_version=node.text("FixedVersion"),
        ),
        # One package may be installed in several places of one image or cluster.
        message_template="\n".join((head.resource, head.target, node.text("PkgPath"))),
        seen_time=node.text("PublishedDate"),
    )


def _score(node: Node) -> tuple[float | None, str]:
    """The source that gave the severity first, then NVD, then the others by name."""
    ratings = node.node("CVSS")
    preferred = (node.text("SeveritySource"), "nvd")
    for source in sorted(ratings.members, key=lambda name: (name not in preferred, name)):
        rating = ratings.node(source)
        for score, vector in _SCORES:
            if (found := rating.number(score)) is not None:
                return found, rating.text(vector)
    return None, ""


def _references(node: Node) -> tuple[str, ...]:
    first = node.text("PrimaryURL")
    return tuple(dict.fromkeys((*((first,) if first else ()), *node.texts("References"))))


def _misconfiguration(node: Node, head: Head) -> Finding:
    cause = node.node("CauseMetadata")
    said = node.text("Severity") or "UNKNOWN"
    status = node.text("Status")
    if status not in STATES:
        raise BadResult(node.at("Status"), f"is no status: {status[:40]!r}")
    lines = "\n".join(line.text("Content") for line in cause.node("Code").nodes("Lines"))
    return Finding(
        index=0,
        pointer=node.pointer,
        subject=Subject.CONFIGURATION,
        rule_key=node.text("AVDID") or node.needed("ID"),
        title=node.text("Title") or node.text("ID"),
        severity=words.severity(SEVERITIES, said, node.at("Severity")),
        severity_said=said,
        message=node.text("Message") or node.text("Description"),
        references=_references(node),
        remediation=node.text("Resolution"),
        locations=(
            Location(
                path=normal_path(head.target),
                start_line=cause.integer("StartLine") or None,
                end_line=cause.integer("EndLine") or None,
                snippet=lines,
                logical_name=cause.text("Resource") or head.resource,
            ),
        ),
        state=STATES[status],
    )


def _secret(node: Node, head: Head) -> Finding:
    """`Match` has the secret masked by Trivy; `Code` is not read: older releases do not mask it."""
    said = node.text("Severity") or "UNKNOWN"
    return Finding(
        index=0,
        pointer=node.pointer,
        subject=Subject.SECRET,
        rule_key=node.needed("RuleID"),
        title=node.text("Title") or node.text("RuleID"),
        severity=words.severity(SEVERITIES, said, node.at("Severity")),
        severity_said=said,
        message=node.text("Title"),
        locations=(
            Location(
                path=normal_path(head.target),
                start_line=node.integer("StartLine"),
                end_line=node.integer("EndLine"),
                snippet=node.text("Match"),
                logical_name=head.resource,
            ),
        ),
        categories=node.texts("Category"),
    )


_PARSERS: dict[str, Callable[[Node, Head], Finding]] = {
    "Vulnerabilities": _vulnerability,
    "Misconfigurations": _misconfiguration,
    "Secrets": _secret,
}
