"""ZAP's traditional reports, JSON and XML: one finding for each instance of an alert.

Both forms say the same, so XML is read into the shape of JSON. Numbers are strings in both.
"""

from collections.abc import Iterator
from functools import partial
from typing import TypeVar

from services.security.importing import words
from services.security.importing.model import (
    Finding,
    Item,
    Severity,
    State,
    Subject,
    Tool,
    Web,
)
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading, guarded, xml_elements
from services.security.importing.spool import Spool
from services.security.importing.xml_elements import XmlElement

_Step = TypeVar("_Step")
# ZAP's Alert.java: RISK_INFO 0 to RISK_HIGH 3.
RISKS = {0: Severity.INFO, 1: Severity.LOW, 2: Severity.MEDIUM, 3: Severity.HIGH}
# ZAP's Alert.java: CONFIDENCE_FALSE_POSITIVE 0 to CONFIDENCE_USER_CONFIRMED 4.
CONFIDENCES = {0: "FALSE_POSITIVE", 1: "LOW", 2: "MEDIUM", 3: "HIGH", 4: "CONFIRMED"}


def read_json(spool: Spool) -> Iterator[Item]:
    """`site[].alerts[].instances[]`; one site may stand without its array."""
    reading = Reading(spool)
    version = generated = ""
    for key in reading.cursor.members():
        if key == "@version":
            version = str(reading.small_value("/@version"))
        elif key == "@generated":
            generated = str(reading.small_value("/@generated"))
        elif key == "site" and reading.cursor.peek() == "[":
            for index in reading.cursor.elements():
                yield from _site(reading, f"/site/{index}")
        elif key == "site" and reading.cursor.peek() == "{":
            yield from _site(reading, "/site")
    yield Tool("ZAP", version, end_time=generated)
    reading.cursor.finish()


def _site(reading: Reading, pointer: str) -> Iterator[Item]:
    if reading.cursor.peek() != "{":
        raise BadResult(pointer, "is no object")
    for key in reading.cursor.members():
        if key == "alerts":
            yield from reading.each(f"{pointer}/alerts", _alert)


def read_xml(spool: Spool) -> Iterator[Item]:
    """`site/alerts/alertitem/instances/instance`; older reports have one alertitem per request."""
    count = Count()
    tool: Tool | None = None
    for position, found in enumerate(xml_elements(spool, "alertitem")):
        if tool is None:
            root = found.within[0].attributes if found.within else {}
            tool = Tool("ZAP", root.get("version", ""), end_time=root.get("generated", ""))
            yield tool
        pointer = f"/alertitem/{position}"
        if found.element.too_large:
            raise BadResult(pointer, f"is larger than {spool.limits.element_bytes} bytes")
        node = Node(_members(found.element), pointer)
        yield from guarded(partial(_alert, node, count), count, pointer)


def _members(element: XmlElement) -> dict[str, object]:
    members: dict[str, object] = {part.tag: part.text for part in element.parts if not part.parts}
    if holder := element.find("instances"):
        members["instances"] = [_members(each) for each in holder.all("instance")]
    return members


def _alert(node: Node, count: Count) -> Iterator[Item]:
    """What is wrong with the alert itself is so once; its instances fail one by one."""
    instances = list(enumerate(node.array("instances")))
    # Reports before ZAP 2.4 have no instances: the alert is its own.
    nodes: list[object] = [each for _, each in instances] or [node.members]
    risk = _step(node, "riskcode", RISKS)
    confidence = _step(node, "confidence", CONFIDENCES)
    for position, each in enumerate(nodes):
        pointer = f"{node.pointer}/instances/{position}" if instances else node.pointer
        one = partial(_instance, node, each, pointer, risk, confidence, count)
        yield from guarded(one, count, pointer)


def _step(node: Node, key: str, table: dict[int, _Step]) -> _Step:
    code = node.integer(key)
    if code is None:
        raise BadResult(node.at(key), "is missing")
    if code not in table:
        raise BadResult(node.at(key), f"is not among {min(table)} to {max(table)}: {code}")
    return table[code]


def _instance(
    node: Node, value: object, pointer: str, risk: Severity, confidence: str, count: Count
) -> Iterator[Item]:
    instance = Node.of(value, pointer)
    cwe = node.integer("cweid")
    wasc = node.integer("wascid")
    name = node.text("alert") or node.text("name")
    if not name:
        raise BadResult(node.at("alert"), "is missing")
    reference = node.text("alertRef") or node.needed("pluginid")
    finding = Finding(
        index=count.index + 1,
        pointer=instance.pointer,
        subject=Subject.WEB,
        rule_key=reference,
        title=name,
        severity=risk,
        severity_said=node.scalar("riskcode"),
        message=words.without_markup(node.text("desc")),
        message_template=name,
        confidence=confidence,
        # ZAP writes -1 where it knows no weakness.
        cwe_ids=(f"CWE-{cwe}",) if cwe and cwe > 0 else (),
        references=tuple(words.without_markup(node.text("reference")).splitlines()),
        remediation=words.without_markup(node.text("solution")),
        web=_web(node, instance, wasc),
        state=State.FALSE_POSITIVE if confidence == "FALSE_POSITIVE" else State.OPEN,
    )
    count.next()
    yield finding


def _web(node: Node, instance: Node, wasc: int | None) -> Web:
    return Web(
        url=instance.needed("uri"),
        method=instance.text("method"),
        parameter=instance.text("param"),
        attack=instance.text("attack"),
        evidence=instance.text("evidence"),
        other=words.without_markup(instance.text("otherinfo") or node.text("otherinfo")),
        request_header=words.without_credentials(
            instance.text("request-header") or instance.text("requestheader")
        ),
        response_header=words.without_credentials(
            instance.text("response-header") or instance.text("responseheader")
        ),
        instance_count=node.integer("count"),
        wasc_id=wasc if wasc and wasc > 0 else None,
        plugin_id=node.text("pluginid"),
    )
