"""OSCAL assessment results (NIST OSCAL 1.1): the findings of every result."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from services.security.importing.model import ControlFinding, Item, Tool
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# OSCAL metaschema, finding target, status/state.
STATES = {"satisfied": True, "not-satisfied": False}


def read(spool: Spool) -> Iterator[Item]:
    """A Tool for each result with its time, and its findings."""
    reading = Reading(spool)
    for root in reading.cursor.members():
        if root == "assessment-results" and reading.cursor.peek() == "{":
            yield from _assessment(reading)
    reading.cursor.finish()


def _assessment(reading: Reading) -> Iterator[Item]:
    base = "/assessment-results"
    tool = Tool("OSCAL")
    for key in reading.cursor.members():
        if key == "uuid":
            tool = replace(tool, serial_number=str(reading.small_value(f"{base}/uuid")))
        elif key == "metadata":
            metadata = reading.small(f"{base}/metadata")
            tool = replace(
                tool, title=metadata.text("title"), version=metadata.text("oscal-version")
            )
        elif key == "import-ap":
            tool = replace(tool, target=reading.small(f"{base}/import-ap").text("href"))
        elif key == "results":
            for number in reading.cursor.elements():
                yield from _result(reading, replace(tool, run=number), f"{base}/results/{number}")


def _result(reading: Reading, tool: Tool, pointer: str) -> Iterator[Item]:
    if reading.cursor.peek() != "{":
        raise BadResult(pointer, "is no object")
    for key in reading.cursor.members():
        if key in ("start", "end"):
            said = str(reading.small_value(f"{pointer}/{key}"))
            tool = (
                replace(tool, start_time=said) if key == "start" else replace(tool, end_time=said)
            )
        elif key == "findings":
            yield from reading.each(f"{pointer}/findings", partial(_finding, tool))
    yield tool


def _finding(tool: Tool, node: Node, count: Count) -> Iterator[Item]:
    target = node.node("target")
    status = target.node("status")
    state = status.needed("state")
    if state not in STATES:
        raise BadResult(status.at("state"), f"is no state of a target: {state[:40]!r}")
    finding = ControlFinding(
        index=count.index + 1,
        pointer=node.pointer,
        uuid=node.needed("uuid"),
        title=node.needed("title"),
        description=node.text("description"),
        target=target.needed("target-id"),
        target_type=target.needed("type"),
        satisfied=STATES[state],
        reason=status.text("reason"),
        remarks=status.text("remarks") or node.text("remarks"),
        observations=tuple(
            each.needed("observation-uuid") for each in node.nodes("related-observations")
        ),
        risks=tuple(each.needed("risk-uuid") for each in node.nodes("related-risks")),
        collected_time=tool.end_time or tool.start_time,
        run=tool.run,
    )
    count.next()
    yield finding
