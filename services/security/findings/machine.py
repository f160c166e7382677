"""The declared lives of findings: which status may follow which, and what a step must have.

The declaration is states.yaml; it is held against the contract when it is read. Which kinds are
findings follows from the contract: those with a status of a declared enum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from google.protobuf.descriptor import Descriptor, EnumDescriptor

from mesh.contract.catalogue import Catalogue
from mesh.errors import FieldInvalid
from services.security.errors import TransitionRefused

STATUS, RESOLUTION = "status", "resolution"
"""Fields of a finding that only its machine changes."""
JUSTIFICATION, EXPIRE_TIME = "justification", "expire_time"
_FIELDS = frozenset({JUSTIFICATION, EXPIRE_TIME, RESOLUTION})
_KEYS = frozenset({"first", "closed", "requires", "takes", "verb", "reopens", "to"})
_UNSPECIFIED = "UNSPECIFIED"


@dataclass(frozen=True)
class State:
    """One status a finding can have."""

    name: str
    """Value of the enum, such as ``FINDING_STATUS_OPEN``."""
    number: int
    to: tuple[str, ...]
    first: bool = False
    closed: bool = False
    requires: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    """What the step into it may have beside."""
    verb: str = ""
    reopens: bool = False


@dataclass(frozen=True)
class Step:
    """What is asked of a finding: a status, and what is said about it."""

    status: str
    justification: str = ""
    expire_time: int | None = None
    """Microseconds since 1970 UTC."""
    resolution: str = ""


class Machine:
    """The life of the kinds whose status is of one enum."""

    def __init__(self, enum: EnumDescriptor, declared: Mapping[str, Mapping[str, Any]]) -> None:
        """Take a declaration; ValueError says where it is not about the enum."""
        prefix = enum.values_by_number[0].name.removesuffix(_UNSPECIFIED)
        known = {value.name: value.number for value in enum.values if value.number}
        self.states = {
            state.name: state
            for short, rules in declared.items()
            for state in [_state(prefix + short, prefix, rules, known)]
        }
        if missing := known.keys() - self.states.keys():
            raise ValueError(f"{enum.name}: no state is declared for {min(missing)}")
        self._numbers = {state.number: state for state in self.states.values()}
        self.first = tuple(state.name for state in self.states.values() if state.first)
        (self.reopened,) = (state for state in self.states.values() if state.reopens)
        self.accepted = next(
            (state for state in self.states.values() if EXPIRE_TIME in state.requires), None
        )
        """The status of an accepted risk; None where the kind has none."""

    def state(self, number: int) -> State | None:
        """Give the state of a value; None for one that the enum lacks."""
        return self._numbers.get(number)

    def step(self, current: State, wanted: Step, moment: int) -> State:
        """Give the state that a step leads to; ``moment`` is now.

        Raises TransitionRefused if the life has no such step, and FieldInvalid for what the
        step must have, or must not.
        """
        target = self.states.get(wanted.status)
        if target is None:
            raise FieldInvalid.of(STATUS, f"must be one of {', '.join(self.states)}", "ENUM")
        if target.name not in current.to:
            raise TransitionRefused(current.name, target.name, current.to)
        given = {
            JUSTIFICATION: bool(wanted.justification.strip()),
            EXPIRE_TIME: wanted.expire_time is not None,
            RESOLUTION: bool(wanted.resolution),
        }
        # A reason can always be given.
        allowed = {JUSTIFICATION} | target.requires | target.takes
        for field in sorted(_FIELDS):
            if field in target.requires and not given[field]:
                raise FieldInvalid.of(field, f"must be set for {target.name}", "REQUIRED")
            if given[field] and field not in allowed:
                raise FieldInvalid.of(field, f"is not of {target.name}", "NOT_ALLOWED")
        if wanted.expire_time is not None and wanted.expire_time <= moment:
            raise FieldInvalid.of(EXPIRE_TIME, "must lie in the future", "PAST")
        return target


def _state(name: str, prefix: str, rules: Mapping[str, Any], known: Mapping[str, int]) -> State:
    to = tuple(prefix + short for short in rules.get("to", ()))
    for each in (name, *to):
        if each not in known:
            raise ValueError(f"{each} is no value of its enum")
    requires, takes = (frozenset(rules.get(key, ())) for key in ("requires", "takes"))
    if unknown := (rules.keys() - _KEYS) | ((requires | takes) - _FIELDS):
        raise ValueError(f"{name}: {min(unknown)!r} is nothing that a state has")
    return State(
        name=name,
        number=known[name],
        to=to,
        first=rules.get("first", False),
        closed=rules.get("closed", False),
        requires=requires,
        takes=takes,
        verb=rules.get("verb", ""),
        reopens=rules.get("reopens", False),
    )


@cache
def declared_lives() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Read states.yaml: by enum, by state."""
    text = (files("services.security.findings") / "states.yaml").read_text(encoding="utf-8")
    lives: Mapping[str, Mapping[str, Mapping[str, Any]]] = yaml.load(text, yaml.CSafeLoader)
    return lives


def finding_machines(catalogue: Catalogue) -> Mapping[str, Machine]:
    """Give the machines of all kinds that are findings, by collection.

    Raises ValueError where the declaration and the contract differ.
    """
    lives, machines, found = dict(declared_lives()), {}, {}
    for collection, kind in catalogue.record_kinds.items():
        enum = _status_enum(kind.descriptor)
        if enum is not None and enum.name in lives:
            if enum.name not in machines:
                machines[enum.name] = Machine(enum, lives[enum.name])
            found[collection] = machines[enum.name]
    if unused := lives.keys() - machines.keys():
        raise ValueError(f"{min(unused)} is the status of no kind")
    return found


def _status_enum(body: Descriptor) -> EnumDescriptor | None:
    field = body.fields_by_name.get(STATUS)
    return None if field is None else field.enum_type
