"""OpenVAS and Greenbone reports in XML (GMP, `get_reports`)."""

from collections.abc import Iterator
from functools import partial

from services.security.importing import words
from services.security.importing.model import (
    Asset,
    Finding,
    Item,
    Severity,
    State,
    Subject,
    Tool,
)
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, guarded, xml_elements
from services.security.importing.spool import Spool
from services.security.importing.xml_elements import XmlElement

# GMP, `threat`. Its "High" has no step above it: a score says more, and goes first.
SEVERITIES = {
    "critical": Severity.CRITICAL,
    "alarm": Severity.HIGH,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "low": Severity.LOW,
    "log": Severity.INFO,
    "debug": Severity.INFO,
    "false positive": Severity.INFO,
}
_FALSE_POSITIVE = "False Positive"


def read(spool: Spool) -> Iterator[Item]:
    """Every `result`, on whatever depth of nested reports."""
    count = Count()
    yield Tool("OpenVAS")
    for position, found in enumerate(xml_elements(spool, "result")):
        yield from guarded(
            partial(_result, found.element, f"/results/{position}", spool, count),
            count,
            f"/results/{position}",
        )


def _result(element: XmlElement, pointer: str, spool: Spool, count: Count) -> Iterator[Item]:
    if element.too_large:
        raise BadResult(pointer, f"is larger than {spool.limits.element_bytes} bytes")
    test = element.find("nvt")
    key = test.attributes.get("oid", "") if test else ""
    if not test or not key:
        raise BadResult(f"{pointer}/nvt/@oid", "is missing")
    threat = element.said("threat")
    said = Node({each: element.said(each) for each in ("severity",)}, pointer)
    base = Node({"cvss_base": test.said("cvss_base")}, f"{pointer}/nvt")
    score = said.number("severity")
    tags = _tags(test.said("tags"))
    finding = Finding(
        index=count.index + 1,
        pointer=pointer,
        subject=Subject.HOST,
        rule_key=key,
        title=element.said("name") or test.said("name") or key,
        severity=_severity(threat, score, pointer),
        severity_said=threat or str(score),
        message=element.said("description") or tags.get("summary", ""),
        message_template=element.said("port"),
        confidence=element.said("qod", "value"),
        score=score if score is None or score >= 0 else base.number("cvss_base"),
        cvss_vector=tags.get("cvss_base_vector", ""),
        cve_id=words.cve_id((*_references(test, "cve"), test.said("cve"))),
        references=_references(test, "url"),
        remediation=test.said("solution") or tags.get("solution", ""),
        assets=(_host(element, pointer),),
        state=State.FALSE_POSITIVE if threat == _FALSE_POSITIVE else State.OPEN,
        categories=(test.said("family"),) if test.said("family") else (),
        seen_time=element.said("creation_time"),
        evidence=element.said("port"),
    )
    count.next()
    yield finding


def _severity(threat: str, score: float | None, pointer: str) -> Severity:
    if score is not None and score >= 0 and threat != _FALSE_POSITIVE:
        return words.by_score(score)
    return words.severity(SEVERITIES, threat, f"{pointer}/threat")


def _host(element: XmlElement, pointer: str) -> Asset:
    """The address and the port: one test may fail on several ports of a host."""
    address = element.said("host")
    if not address:
        raise BadResult(f"{pointer}/host", "is missing")
    port = element.said("port")
    return Asset(f"{address}:{port}", element.said("host", "hostname") or address, "Host")


def _tags(said: str) -> dict[str, str]:
    """`name=value|name=value`."""
    pairs = (each.partition("=") for each in said.split("|"))
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def _references(test: XmlElement, kind: str) -> tuple[str, ...]:
    return tuple(
        each.attributes.get("id", "")
        for each in test.all("refs", "ref")
        if each.attributes.get("type", "").lower() == kind and each.attributes.get("id")
    )
