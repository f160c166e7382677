"""AWS Security Finding Format: Security Hub's, and Prowler's of old (`BatchImportFindings`).

A JSON array, an object with `Findings` (as `GetFindings` answers), or one finding a line.
"""

from collections.abc import Iterator

from services.security.importing import words
from services.security.importing.model import (
    Asset,
    Finding,
    Item,
    Severity,
    State,
    Subject,
    Suppression,
    Tool,
)
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# Security Hub user guide, ASFF Severity.Label.
SEVERITIES = {
    "informational": Severity.INFO,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
# The same page: what the older Severity.Normalized means, each step from here on.
NORMALIZED = (
    (90, Severity.CRITICAL),
    (70, Severity.HIGH),
    (40, Severity.MEDIUM),
    (1, Severity.LOW),
    (0, Severity.INFO),
)
# Compliance.Status.
STATES = {
    "": State.OPEN,
    "PASSED": State.PASSED,
    "FAILED": State.OPEN,
    "WARNING": State.MANUAL,
    "NOT_AVAILABLE": State.MANUAL,
}


def read(spool: Spool) -> Iterator[Item]:
    """A Tool whenever the product changes, and each finding."""
    named: set[str] = set()

    def parse(node: Node, count: Count) -> Iterator[Item]:
        finding = _finding(node, count.index + 1)
        product = node.text("ProductName") or node.needed("ProductArn").rpartition("/")[2]
        if product not in named and len(named) < _TOOLS:
            named.add(product)
            yield Tool(product, node.node("ProductFields").text("ProviderVersion"))
        count.next()
        yield finding

    reading = Reading(spool)
    if reading.cursor.peek() == "{" and _wrapped(reading):
        reading = Reading(spool)
        for key in reading.cursor.members():
            if key == "Findings":
                yield from reading.each("/Findings", parse)
        reading.cursor.finish()
    else:
        yield from Reading(spool).documents(parse)


_TOOLS = 1000


def _wrapped(reading: Reading) -> bool:
    return next(reading.cursor.members(), "") in ("Findings", "NextToken")


def _finding(node: Node, index: int) -> Finding:
    recommendation = node.node("Remediation").node("Recommendation")
    severity, said = _severity(node)
    workflow = node.node("Workflow").text("Status") or node.text("WorkflowState")
    compliance = node.node("Compliance")
    weaknesses = [each.text("Id") for each in node.nodes("Vulnerabilities")]
    return Finding(
        index=index,
        pointer=node.pointer,
        subject=Subject.CLOUD,
        rule_key=node.needed("GeneratorId"),
        title=node.needed("Title"),
        severity=severity,
        severity_said=said,
        message=node.text("Description"),
        cve_id=words.cve_id(weaknesses),
        tags=node.texts("Types"),
        remediation=recommendation.text("Text"),
        remediation_url=recommendation.text("Url"),
        references=recommendation.texts("Url"),
        assets=tuple(_asset(each, node) for each in node.nodes("Resources")),
        fingerprints=(("asff/Id", node.needed("Id")),),
        suppressions=(Suppression("external"),) if workflow == "SUPPRESSED" else (),
        state=_state(node, workflow, compliance),
        requirements=_requirements(compliance),
        seen_time=node.text("UpdatedAt") or node.text("CreatedAt"),
    )


def _severity(node: Node) -> tuple[Severity, str]:
    rating = node.node("Severity")
    if label := rating.text("Label"):
        return words.severity(SEVERITIES, label, rating.at("Label")), label
    score = rating.integer("Normalized")
    if score is None or not 0 <= score <= 100:
        raise BadResult(rating.at("Normalized"), "is missing, and no Label stands for it")
    return next(step for least, step in NORMALIZED if score >= least), str(score)


def _state(node: Node, workflow: str, compliance: Node) -> State:
    if workflow == "SUPPRESSED":
        return State.SUPPRESSED
    if workflow == "RESOLVED" or node.text("RecordState") == "ARCHIVED":
        return State.RESOLVED
    status = compliance.text("Status")
    if status not in STATES:
        raise BadResult(compliance.at("Status"), f"is no status: {status[:40]!r}")
    return STATES[status]


def _asset(resource: Node, node: Node) -> Asset:
    kind = resource.text("Type")
    tags = resource.node("Tags")
    return Asset(
        uid=resource.needed("Id"),
        name=resource.text("Id").rpartition(":")[2].rpartition("/")[2],
        kind=kind,
        service=kind.removeprefix("Aws").partition("::")[0].lower(),
        region=resource.text("Region") or node.text("Region"),
        provider="aws",
        account_uid=node.needed("AwsAccountId"),
        account_name=node.text("AwsAccountName"),
        labels=tuple(f"{key}:{value}" for key, value in tags.members.items()),
    )


def _requirements(compliance: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`RelatedRequirements` are `framework version requirement` in Prowler's reports."""
    found: dict[str, list[str]] = {}
    for each in compliance.texts("RelatedRequirements"):
        framework, _, requirement = each.rpartition(" ")
        found.setdefault(framework or each, []).append(requirement)
    return tuple((name, tuple(requirements)) for name, requirements in found.items())
