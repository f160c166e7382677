"""CycloneDX in XML, also with the vulnerability extension that came before 1.4."""

from collections.abc import Iterator
from functools import partial

from services.security.importing.cyclonedx import (
    Bill,
    component,
    components,
    described,
    vulnerability,
)
from services.security.importing.model import Item, Rejected, Tool
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, guarded, xml_elements
from services.security.importing.spool import Spool
from services.security.importing.xml_elements import Found, XmlElement


def read(spool: Spool) -> Iterator[Item]:
    """Components and vulnerabilities in the schema's order: what is affected stands before."""
    bill, count = Bill(spool.limits.rules), Count()
    tool = Tool("CycloneDX")
    for position, found in enumerate(xml_elements(spool, "metadata", "component", "vulnerability")):
        element, pointer = found.element, f"/{found.element.tag}/{position}"
        if element.tag == "metadata":
            tool = _tool(found, bill, pointer)
        elif element.too_large:
            yield Rejected(-1, pointer, f"is larger than {spool.limits.element_bytes} bytes")
        elif element.tag == "component":
            yield from _component(element, bill, count, pointer)
        else:
            node = Node(_vulnerability(element), pointer)
            yield from guarded(partial(vulnerability, node, count, bill), count, pointer)
    yield tool


def _tool(found: Found, bill: Bill, pointer: str) -> Tool:
    element = found.element
    root = found.within[0].attributes if found.within else {}
    tools = element.all("tools", "tool") or element.all("tools", "components", "component")
    about = element.find("component")
    members: dict[str, object] = {
        "timestamp": element.said("timestamp"),
        "tools": [{"name": each.said("name"), "version": each.said("version")} for each in tools],
    }
    if about:
        members["component"] = _members(about)
        if about.said("name"):
            bill.remember(component(Node(_members(about), pointer)))
    return described(
        Node(members, pointer), Tool("CycloneDX", serial_number=root.get("serialNumber", ""))
    )


def _component(element: XmlElement, bill: Bill, count: Count, pointer: str) -> Iterator[Item]:
    node = Node(_members(element), pointer)
    try:
        yield from components(node, bill)
    except BadResult as error:
        yield Rejected(-1, error.pointer, error.reason)
    for holder in _with_vulnerabilities(element):
        owner = (
            holder.attributes.get("bom-ref") or f"{holder.said('name')}@{holder.said('version')}"
        )
        for position, each in enumerate(holder.all("vulnerabilities", "vulnerability")):
            place = f"{pointer}/vulnerabilities/{position}"
            members = _vulnerability(each) | {"affects": [{"ref": owner}]}
            one = partial(vulnerability, Node(members, place), count, bill)
            yield from guarded(one, count, place)


def _with_vulnerabilities(element: XmlElement) -> Iterator[XmlElement]:
    waiting = [element]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(here.all("components", "component"))


def _members(element: XmlElement) -> dict[str, object]:
    """As JSON has them. A component without a reference gets its name and version for one."""
    name, version = element.said("name"), element.said("version")
    licenses = [
        {"license": {"id": each.said("id"), "name": each.said("name")}}
        for each in element.all("licenses", "license")
    ]
    expressions = [{"expression": each.text} for each in element.all("licenses", "expression")]
    return {
        "type": element.attributes.get("type", ""),
        "bom-ref": element.attributes.get("bom-ref") or f"{name}@{version}",
        "name": name,
        "version": version,
        "group": element.said("group"),
        "purl": element.said("purl"),
        "licenses": licenses + expressions,
        "hashes": [
            {"alg": each.attributes.get("alg", ""), "content": each.text}
            for each in element.all("hashes", "hash")
        ],
        "components": [_members(each) for each in element.all("components", "component")],
    }


def _vulnerability(element: XmlElement) -> dict[str, object]:
    """As JSON has it; the extension writes the score within `score/base` and CWEs as text."""
    analysis = element.find("analysis")
    advisories = element.all("advisories", "advisory")
    return {
        "id": element.said("id"),
        "source": {"url": element.said("source", "url")},
        "ratings": [_rating(each) for each in element.all("ratings", "rating")],
        "cwes": [int(each.text) for each in element.all("cwes", "cwe") if each.text.isdecimal()],
        "description": element.said("description"),
        "detail": element.said("detail"),
        "recommendation": element.said("recommendation")
        or "\n".join(each.text for each in element.all("recommendations", "recommendation")),
        "advisories": [{"url": each.said("url") or each.text} for each in advisories],
        "published": element.said("published"),
        "updated": element.said("updated"),
        "analysis": {
            key: analysis.said(key) if analysis else ""
            for key in ("state", "justification", "detail")
        },
        "affects": [{"ref": each.said("ref")} for each in element.all("affects", "target")],
    }


def _rating(element: XmlElement) -> dict[str, object]:
    score = element.find("score")
    said = (score.said("base") or score.text) if score else ""
    return {
        # The extension writes 0 where the severity alone is known.
        "score": None if score and score.parts and said in ("0", "0.0") else said,
        "severity": element.said("severity").lower(),
        "method": element.said("method"),
        "vector": element.said("vector"),
    }
