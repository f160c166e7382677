"""OCSF findings as Prowler writes them: class 2004 Detection Finding, and 2003 Compliance Finding.

A JSON array, or one object a line.
"""

from collections.abc import Iterator

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

# OCSF dictionary, severity_id; 0 is unknown, 6 fatal, 99 another.
SEVERITIES = {
    0: Severity.INFO,
    1: Severity.INFO,
    2: Severity.LOW,
    3: Severity.MEDIUM,
    4: Severity.HIGH,
    5: Severity.CRITICAL,
    6: Severity.CRITICAL,
    99: Severity.INFO,
}
# Prowler's status_code.
STATES = {"PASS": State.PASSED, "FAIL": State.OPEN, "MANUAL": State.MANUAL, "WARNING": State.MANUAL}
_MUTED = "suppressed"


def read(spool: Spool) -> Iterator[Item]:
    """A Tool whenever the product changes, and each finding."""
    named: set[tuple[str, str]] = set()

    def parse(node: Node, count: Count) -> Iterator[Item]:
        finding = _finding(node, count.index + 1)
        product = node.node("metadata").node("product")
        tool = (product.text("name") or "OCSF", product.text("version"))
        if tool not in named and len(named) < _TOOLS:
            named.add(tool)
            yield Tool(*tool)
        count.next()
        yield finding

    yield from Reading(spool).documents(parse)


_TOOLS = 1000


def _finding(node: Node, index: int) -> Finding:
    information = node.node("finding_info")
    unmapped = node.node("unmapped")
    remediation = node.node("remediation")
    step = node.integer("severity_id")
    if step not in SEVERITIES:
        raise BadResult(node.at("severity_id"), f"is no severity of this format: {step}")
    key = node.node("metadata").text("event_code") or information.needed("uid")
    muted = node.text("status").lower() == _MUTED or unmapped.flag("muted")
    return Finding(
        index=index,
        pointer=node.pointer,
        subject=Subject.CLOUD,
        rule_key=key,
        title=information.text("title") or node.text("message") or key,
        severity=SEVERITIES[step],
        severity_said=node.text("severity") or str(step),
        message=information.text("desc") or node.text("message"),
        evidence=node.text("status_detail") or node.text("message"),
        risk=node.text("risk_details"),
        remediation=remediation.text("desc"),
        references=remediation.texts("references"),
        remediation_url=next(
            (each for each in remediation.texts("references") if "://" in each), ""
        ),
        assets=tuple(_asset(each, node) for each in node.nodes("resources")),
        fingerprints=(("ocsf/finding_info.uid", information.needed("uid")),),
        suppressions=(Suppression("external"),) if muted else (),
        state=State.SUPPRESSED if muted else _state(node),
        requirements=_requirements(node, unmapped),
        categories=unmapped.texts("categories"),
        seen_time=node.text("time_dt") or information.text("created_time_dt"),
    )


def _state(node: Node) -> State:
    code = node.text("status_code") or node.node("compliance").text("status")
    if not code:
        return State.OPEN
    if code.upper() not in STATES:
        raise BadResult(node.at("status_code"), f"is no status of a check: {code[:40]!r}")
    return STATES[code.upper()]


def _asset(resource: Node, node: Node) -> Asset:
    cloud = node.node("cloud")
    account = cloud.node("account")
    return Asset(
        uid=resource.text("uid") or resource.needed("name"),
        name=resource.text("name"),
        kind=resource.text("type"),
        service=resource.node("group").text("name"),
        region=resource.text("region") or cloud.text("region"),
        provider=cloud.text("provider") or _provider(resource),
        account_uid=account.scalar("uid") or resource.text("namespace"),
        account_name=account.text("name"),
        organization_uid=cloud.node("org").text("uid"),
        labels=_labels(resource),
    )


def _provider(resource: Node) -> str:
    """Kubernetes has no `cloud`: what has a namespace is a cluster's."""
    return "kubernetes" if resource.has("namespace") else resource.text("cloud_partition")


def _labels(resource: Node) -> tuple[str, ...]:
    if isinstance(resource.members.get("labels"), dict):
        return tuple(f"{key}:{value}" for key, value in resource.node("labels").members.items())
    return resource.texts("labels")


def _requirements(node: Node, unmapped: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Frameworks and their requirements; the standard's place since OCSF 1.1 is `compliance`."""
    mapped = unmapped.node("compliance")
    found = {name: mapped.texts(name) for name in mapped.members}
    standard = node.node("compliance")
    for name in standard.texts("standards"):
        found.setdefault(name, standard.texts("requirements"))
    return tuple(found.items())
