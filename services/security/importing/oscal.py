"""OSCAL assessment results (NIST OSCAL 1.1): the findings of every result."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from services.security.importing.model import (
    Assessment,
    ControlFinding,
    Item,
    Observation,
    Tool,
)
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

MOST_OBSERVATIONS = 10_000
"""As many as the contract keeps of one assessment."""
# OSCAL metaschema, finding target, status/state.
STATES = {"satisfied": True, "not-satisfied": False}


def read(spool: Spool) -> Iterator[Item]:
    """The findings of each result, then a Tool with its time and what the result is."""
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
    """The findings of a result, and the result itself once it is whole."""
    if reading.cursor.peek() != "{":
        raise BadResult(pointer, "is no object")
    said = dict.fromkeys(("uuid", "title", "description", "start", "end"), "")
    reviewed = Node.of({}, pointer)
    observations: list[Observation] = []
    for key in reading.cursor.members():
        if key in said:
            said[key] = str(reading.small_value(f"{pointer}/{key}"))
        elif key == "reviewed-controls":
            reviewed = reading.small(f"{pointer}/{key}")
        elif key == "observations":
            yield from reading.each(f"{pointer}/{key}", partial(_observation, observations))
        elif key == "findings":
            dated = replace(tool, start_time=said["start"], end_time=said["end"])
            yield from reading.each(f"{pointer}/{key}", partial(_finding, dated))
    yield replace(tool, start_time=said["start"], end_time=said["end"])
    yield Assessment(
        # What has no uuid of its own is known by its document and its place there.
        uuid=said["uuid"] or f"{tool.serial_number or 'result'}.{tool.run}",
        title=said["title"],
        description=said["description"],
        plan=tool.target,
        document=tool.title,
        control_ids=tuple(_selected(reviewed, "include-controls")),
        excluded_control_ids=tuple(_selected(reviewed, "exclude-controls")),
        observations=tuple(observations),
        start_time=said["start"],
        end_time=said["end"],
        run=tool.run,
    )


def _selected(reviewed: Node, how: str) -> Iterator[str]:
    """Ids of the controls that are selected one by one; `include-all` names none."""
    for selection in reviewed.nodes("control-selections"):
        for control in selection.nodes(how):
            yield control.text("control-id")


def _observation(kept: list[Observation], node: Node, _count: Count) -> Iterator[Item]:
    """Remembered, up to what one record can hold; one that cannot be read is rejected."""
    observation = Observation(
        uuid=node.needed("uuid"),
        methods=node.texts("methods"),
        description=node.text("description") or node.text("remarks"),
        subjects=tuple(each.text("subject-uuid") for each in node.nodes("subjects")),
        collected_time=node.text("collected"),
    )
    if len(kept) < MOST_OBSERVATIONS:
        kept.append(observation)
    yield from ()


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
