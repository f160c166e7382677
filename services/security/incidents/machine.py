"""The declared life of incidents: which status may follow which, and what a step must have.

The declaration is states.yaml; it is held against the contract when it is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mesh.errors import FieldInvalid
from secmesh.security.v1.incident_pb2 import Incident, IncidentStatus
from services.security.errors import TransitionRefused

REASON, RESOLUTION = "reason", "resolution"
_REQUIRABLE = frozenset({REASON, RESOLUTION})
_KEYS = frozenset({"to", "notes", "clears", "requires"})
_PREFIX = "INCIDENT_STATUS_"


@dataclass(frozen=True)
class State:
    """One status an incident can have."""

    name: str
    """Value of the enum, such as ``INCIDENT_STATUS_NEW``."""
    number: int
    to: tuple[str, ...]
    notes: tuple[str, ...]
    clears: tuple[str, ...]
    requires: frozenset[str]


class Machine:
    """The life of incidents."""

    def __init__(self, declared: Mapping[str, Mapping[str, Any]]) -> None:
        """Take a declaration; ValueError says where it does not fit the contract."""
        known = {name: number for name, number in IncidentStatus.items() if number}
        states = [_state(short, rules, known) for short, rules in declared.items()]
        self.states = {state.name: state for state in states}
        if missing := known.keys() - self.states.keys():
            raise ValueError(f"no state is declared for {min(missing)}")
        self._numbers = {state.number: state for state in states}

    @property
    def open(self) -> Sequence[int]:
        """Give the states in which something is left to do."""
        return [each.number for each in self.states.values() if RESOLUTION not in each.requires]

    def state(self, number: int) -> State:
        """Give the state of a value. Raises KeyError for one that the enum lacks."""
        return self._numbers[number]

    def step(self, current: int, wanted: int, given: Mapping[str, object]) -> State:
        """Give the state that a step leads to; TransitionRefused, FieldInvalid.

        ``given`` are the fields of the request that a state may require.
        """
        before, target = self.state(current), self.state(wanted)
        if target.name not in before.to:
            raise TransitionRefused(before.name, target.name, before.to)
        for field in sorted(target.requires):
            if not given.get(field):
                raise FieldInvalid.of(field, f"must be set for {target.name}", "REQUIRED")
        return target


def _state(short: str, rules: Mapping[str, Any], known: Mapping[str, int]) -> State:
    name = _PREFIX + short
    state = State(
        name,
        known.get(name, 0),
        tuple(_PREFIX + each for each in rules.get("to", ())),
        tuple(rules.get("notes", ())),
        tuple(rules.get("clears", ())),
        frozenset(rules.get("requires", ())),
    )
    for each in (name, *state.to):
        if each not in known:
            raise ValueError(f"{each} is no value of its enum")
    fields = set(Incident.DESCRIPTOR.fields_by_name)
    unknown = (rules.keys() - _KEYS) | (state.requires - _REQUIRABLE)
    if unknown := unknown | ({*state.notes, *state.clears} - fields):
        raise ValueError(f"{name}: {min(unknown)!r} is nothing that a state has")
    return state


@cache
def incident_machine() -> Machine:
    """Read states.yaml; ValueError where the declaration and the contract differ."""
    text = (files("services.security.incidents") / "states.yaml").read_text(encoding="utf-8")
    return Machine(yaml.load(text, yaml.CSafeLoader))
