"""What an SSP says of a claim beside its words: status, origin, dates, parameters.

OSCAL's own fields come first; FedRAMP's props (namespace ``https://fedramp.gov/ns/oscal``) fill
what they leave open, the nearest to the claim first.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Protocol

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.controls import parameter_id
from services.inventory.compliance.document import Node, at

FEDRAMP_NAMESPACES = frozenset({"https://fedramp.gov/ns/oscal", "http://fedramp.gov/ns/oscal"})
MAX_PARAMETERS = 500
MAX_PARAMETER_ID = 128
MAX_PARAMETER_VALUE = 4096

_STATES = {
    "implemented": ssp_pb2.CLAIM_STATE_IMPLEMENTED,
    "partial": ssp_pb2.CLAIM_STATE_PARTIAL,
    "partially-implemented": ssp_pb2.CLAIM_STATE_PARTIAL,
    "planned": ssp_pb2.CLAIM_STATE_PLANNED,
    "alternative": ssp_pb2.CLAIM_STATE_ALTERNATIVE,
    "alternative-implementation": ssp_pb2.CLAIM_STATE_ALTERNATIVE,
    "not-applicable": ssp_pb2.CLAIM_STATE_NOT_APPLICABLE,
}
# FedRAMP allows several statuses at once; the one that claims least is kept.
_LEAST_FIRST = (
    ssp_pb2.CLAIM_STATE_PARTIAL,
    ssp_pb2.CLAIM_STATE_PLANNED,
    ssp_pb2.CLAIM_STATE_ALTERNATIVE,
    ssp_pb2.CLAIM_STATE_NOT_APPLICABLE,
    ssp_pb2.CLAIM_STATE_IMPLEMENTED,
)
_DATE = re.compile(r"^(\d{4}-\d{2}-\d{2})(Z|[+-]\d{2}:\d{2})?$")


class Issues(Protocol):
    """Takes notes of what could not be taken as written."""

    def note(self, pointer: str, problem: str) -> None: ...


def claim_state(nearest_first: Sequence[Node], issues: Issues) -> ssp_pb2.ClaimState.ValueType:
    """Give the implementation status in force; unspecified if the plan names none."""
    for node in nearest_first:
        status = node.child("implementation-status")
        if status is not None:
            word = status.text("state", required=True)
            state = _STATES.get(_word(word))
            if state is not None:
                return state
            issues.note(at(status.pointer, "state"), f"{word!r} is no implementation status")
        found = _fedramp_states(node, issues)
        if found:
            return min(found, key=_LEAST_FIRST.index)
    return ssp_pb2.CLAIM_STATE_UNSPECIFIED


def _fedramp_states(node: Node, issues: Issues) -> list[ssp_pb2.ClaimState.ValueType]:
    found: list[ssp_pb2.ClaimState.ValueType] = []
    for prop in fedramp_props(node, "implementation-status"):
        word = prop.text("value")
        state = _STATES.get(_word(word))
        if state is None:
            issues.note(at(prop.pointer, "value"), f"{word!r} is no implementation status")
        else:
            found.append(state)
    return found


def fedramp_props(node: Node, name: str) -> list[Node]:
    """Give the props of FedRAMP's namespace with this name."""
    return [
        prop
        for prop in node.children("props")
        if prop.text("name") == name and prop.text("ns") in FEDRAMP_NAMESPACES
    ]


def originates_elsewhere(nearest_first: Sequence[Node]) -> bool:
    """Tell whether the nearest FedRAMP control-origination names inheritance and nothing else."""
    for node in nearest_first:
        values = {_word(prop.text("value")) for prop in fedramp_props(node, "control-origination")}
        if values:
            return values == {"inherited"}
    return False


def planned_completion(nearest_first: Sequence[Node], issues: Issues) -> datetime | None:
    """Give when planned work is due; a plain date is due at its end (UTC)."""
    for node in nearest_first:
        for prop in fedramp_props(node, "planned-completion-date"):
            text = prop.text("value")
            due = parse_due(text)
            if due is not None:
                return due
            issues.note(at(prop.pointer, "value"), f"{text!r} is no date")
    return None


def parse_due(text: str) -> datetime | None:
    """Read a date (ISO 8601, with or without offset) or a date-time (RFC 3339)."""
    text = text.strip()
    match = _DATE.match(text)
    try:
        if match is not None:
            end = datetime.combine(date.fromisoformat(match[1]), time(23, 59, 59), UTC)
            offset = match[2] or "Z"
            if offset == "Z":
                return end
            return datetime.fromisoformat(f"{match[1]}T23:59:59{offset}").astimezone(UTC)
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def set_parameters(node: Node, issues: Issues) -> dict[str, str]:
    """Give the parameters that one part of the document sets, by OSCAL id."""
    found: dict[str, str] = {}
    for setting in node.children("set-parameters"):
        parameter = parameter_id(setting.text("param-id", required=True))
        if len(parameter) > MAX_PARAMETER_ID:
            issues.note(at(setting.pointer, "param-id"), "the id is too long; it is left out")
            continue
        if parameter in found:
            issues.note(at(setting.pointer, "param-id"), f"{parameter} is set twice; last wins")
        found[parameter] = ", ".join(setting.texts("values"))[:MAX_PARAMETER_VALUE]
    return found


def effective_parameters(
    farthest_first: Iterable[Mapping[str, str]], pointer: str, issues: Issues
) -> dict[str, str]:
    """Merge settings, the nearest last and so in force."""
    merged: dict[str, str] = {}
    for settings in farthest_first:
        for parameter, value in settings.items():
            merged.pop(parameter, None)  # so that the nearest stand last
            merged[parameter] = value
    if len(merged) <= MAX_PARAMETERS:
        return merged
    issues.note(pointer, f"{len(merged)} parameters are in force; {MAX_PARAMETERS} are kept")
    return dict(list(merged.items())[-MAX_PARAMETERS:])


def _word(text: str) -> str:
    return re.sub(r"[\s_]+", "-", text.strip().lower())
