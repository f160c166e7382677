"""The checks, read from ``checks/*.yaml`` and bound to the contract once at start-up.

``now`` in a condition is the moment its record was last read, so that old evidence is judged by
its own time; thresholds in days are durations, counts are ints.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import protovalidate
import yaml
from google.protobuf import json_format

from mesh.cel.language import MAX_LENGTH, Condition, Environment
from mesh.cel.types import CelType
from mesh.contract.catalogue import Catalogue, Kind
from mesh.errors import FilterInvalid
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.controls import load_controls, load_parameters
from services.inventory.compliance.failing_filter import failing_filter
from services.inventory.compliance.remedy_rules import remedy_problems
from services.inventory.compliance.remedy_template import remedy_fields
from services.inventory.compliance.thresholds import LARGEST

Bind = Callable[[Catalogue, check_pb2.Check], "BoundCheck"]

NOW = "now"
_UNIT_TYPES = {
    check_pb2.THRESHOLD_UNIT_DAYS: CelType.DURATION,
    check_pb2.THRESHOLD_UNIT_COUNT: CelType.INT,
    check_pb2.THRESHOLD_UNIT_DAY_COUNT: CelType.INT,
}


class CheckInvalid(Exception):
    """A check breaks a rule; the message names the file, the check and the rule."""


class RuleBroken(Exception):
    """A check breaks a rule: the field that does, and how."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


@dataclass(frozen=True)
class BoundCheck:
    """One check with its conditions compiled over its kind."""

    message: check_pb2.Check
    kind: Kind
    condition: Condition
    applies: Condition | None
    environment: Environment
    version: int = 0
    """Of a tenant's own control; 0 of those that come with the service."""

    @property
    def id(self) -> str:
        return self.message.id

    @cached_property
    def fields(self) -> frozenset[str]:
        """Body fields that decide an outcome."""
        read = self.condition.fields | (self.applies.fields if self.applies else frozenset())
        return frozenset(field for field in read if "." not in field)

    @cached_property
    def remedy_fields(self) -> tuple[str, ...]:
        """Body fields that the remedy names and the condition does not read, in order."""
        named = remedy_fields(self.message.remedy) - self.condition.fields
        return tuple(sorted(name for name in named if name in self.kind.descriptor.fields_by_name))

    @cached_property
    def uses_now(self) -> bool:
        """Whether an outcome depends on when the record was read."""
        bare = re.sub(r"\"[^\"]*\"|'[^']*'", "", f"{self.message.condition} {self.message.applies}")
        return re.search(rf"\b{NOW}\b", bare) is not None

    def parameters(self, thresholds: Mapping[str, int], now: datetime) -> dict[str, object]:
        """Give the values of the condition's variables."""
        values: dict[str, object] = {NOW: now}
        for parameter in self.message.parameters:
            value = thresholds[parameter.variable]
            in_days = parameter.unit == check_pb2.THRESHOLD_UNIT_DAYS
            values[parameter.variable] = timedelta(days=value) if in_days else value
        return values

    def defaults(self) -> dict[str, int]:
        """Give the thresholds where no plan sets any."""
        return {each.variable: each.default_value for each in self.message.parameters}

    def filter(self, thresholds: Mapping[str, int], now: datetime) -> str:
        """Give the CEL filter of every failing record."""
        if self.uses_now:
            return self._filter(thresholds, now)
        return self._timeless_filter(tuple(sorted(thresholds.items())))

    @cached_property
    def _timeless_filter(self) -> Callable[[tuple[tuple[str, int], ...]], str]:
        """Write the filter of a check without a clock, once for the same thresholds."""
        written = lru_cache(maxsize=16)
        return written(lambda thresholds: self._filter(dict(thresholds), datetime.now(UTC)))

    def _filter(self, thresholds: Mapping[str, int], now: datetime) -> str:
        fails_if_met = self.message.quantifier == check_pb2.QUANTIFIER_NONE
        return failing_filter(
            self.environment,
            self.message.applies,
            self.message.condition,
            self.parameters(thresholds, now),
            fails_if_met=fails_if_met,
        )


@dataclass(frozen=True)
class CheckCatalogue:
    """All checks by id."""

    checks: Mapping[str, BoundCheck]

    def with_more(self, checks: Iterable[BoundCheck]) -> "CheckCatalogue":
        """Give these checks and more of them."""
        more = {check.id: check for check in checks}
        return CheckCatalogue(MappingProxyType({**self.checks, **more})) if more else self

    @cached_property
    def by_control(self) -> Mapping[str, tuple[BoundCheck, ...]]:
        """Checks of each control, by control id."""
        found: dict[str, list[BoundCheck]] = {}
        for check in self.checks.values():
            for mapping in check.message.controls:
                found.setdefault(mapping.control_id, []).append(check)
        return MappingProxyType({control: tuple(checks) for control, checks in found.items()})

    def of(self, control_id: str) -> tuple[BoundCheck, ...]:
        """Give the checks bound to a control."""
        return self.by_control.get(control_id, ())

    def chosen(self, collection: str, control_id: str) -> list[check_pb2.Check]:
        """Give the checks of a collection and a control, each if not empty, by id."""
        checks = self.of(control_id) if control_id else tuple(self.checks.values())
        found = (each.message for each in checks)
        kept = [each for each in found if collection in ("", each.collection)]
        return sorted(kept, key=lambda each: each.id)


def load_checks(catalogue: Catalogue) -> CheckCatalogue:
    """Read the checks that come with the service. Raises CheckInvalid naming the culprit.

    Their filters of failures are tried before a release, not at each start.
    """
    return bind_checks(catalogue, _shipped_files(), _bound)


@cache
def shipped_ids() -> frozenset[str]:
    """Give the ids of the checks that come with the service. Raises CheckInvalid."""
    return frozenset(
        _message(file, entry).id
        for file, text in _shipped_files().items()
        for entry in _entries(file, text)
    )


def _shipped_files() -> Mapping[str, str]:
    folder = resources.files(__package__) / "checks"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".yaml")),
        key=lambda file: file.name,
    )
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def bind_checks(
    catalogue: Catalogue, files: Mapping[str, str], bind: Bind | None = None
) -> CheckCatalogue:
    """Bind checks written in YAML, by file name. Raises CheckInvalid naming the culprit."""
    found: dict[str, BoundCheck] = {}
    for file, text in files.items():
        for entry in _entries(file, text):
            check = _bind(catalogue, _message(file, entry), file, bind or bind_check)
            if check.id in found:
                raise CheckInvalid(f"{file}: {check.id} stands there twice")
            found[check.id] = check
    return CheckCatalogue(MappingProxyType(found))


def _entries(file: str, text: str) -> Iterable[Any]:
    try:
        # It builds what the safe loader does; libyaml reads it ten times faster.
        entries = yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise CheckInvalid(f"{file}: {error}") from error
    if not isinstance(entries, list):
        raise CheckInvalid(f"{file}: must be a list of checks")
    return entries


def _message(file: str, entry: Any) -> check_pb2.Check:
    if not isinstance(entry, dict):
        raise CheckInvalid(f"{file}: an entry is no check: {entry!r}")
    check = check_pb2.Check()
    try:
        json_format.ParseDict(entry, check)
        protovalidate.validate(check)
    except (json_format.ParseError, protovalidate.ValidationError) as error:
        raise CheckInvalid(f"{file}: {entry.get('id', 'a check without id')}: {error}") from error
    return check


def _bind(catalogue: Catalogue, check: check_pb2.Check, file: str, bind: Bind) -> BoundCheck:
    culprit = f"{file}: {check.id}"
    if not check.id:
        raise CheckInvalid(f"{file}: a check without id")
    if any(mapping.source in ("", "tenant") for mapping in check.controls):
        raise CheckInvalid(f"{culprit}: a control without a source")
    try:
        return bind(catalogue, check)
    except RuleBroken as broken:
        raise CheckInvalid(f"{culprit}: {broken}") from broken


def bind_check(catalogue: Catalogue, check: check_pb2.Check, version: int = 0) -> BoundCheck:
    """Bind one check to the contract. Raises RuleBroken."""
    bound = _bound(catalogue, check, version)
    # The filter is written with real thresholds later; that it compiles is known now.
    written = bound.filter(bound.defaults(), datetime.fromisoformat("2030-01-01T00:00:00Z"))
    if len(written) <= MAX_LENGTH:
        compiled(Environment.of_kind(bound.kind), "condition", written)
    return bound


def _bound(catalogue: Catalogue, check: check_pb2.Check, version: int = 0) -> BoundCheck:
    """Bind all of a check but its filter of failures."""
    kind = catalogue.record_kinds.get(check.collection)
    if kind is None:
        raise RuleBroken("collection", f"there is no collection {check.collection!r}")
    _check_rules(check)
    variables = {NOW: CelType.TIMESTAMP} | {
        parameter.variable: _UNIT_TYPES[parameter.unit] for parameter in check.parameters
    }
    try:
        environment = Environment.of_kind(kind, variables)
    except ValueError as error:
        raise RuleBroken("parameters", str(error)) from error
    bound = BoundCheck(
        message=check,
        kind=kind,
        condition=compiled(environment, "condition", check.condition),
        applies=compiled(environment, "applies", check.applies) if check.applies else None,
        environment=environment,
        version=version,
    )
    for problem in remedy_problems(check, kind):
        raise RuleBroken("remedy", problem)
    return bound


def compiled(environment: Environment, field: str, expression: str) -> Condition:
    """Compile a condition of a field. Raises RuleBroken with the place of what is wrong."""
    try:
        return environment.compile(expression)
    except FilterInvalid as error:
        place = "line {line}, column {column}".format_map(error.metadata)
        problem = str(error).partition(": ")[2]
        raise RuleBroken(field, f"{place}: {problem}") from error


def _check_rules(check: check_pb2.Check) -> None:
    together = check.scope != check_pb2.CHECK_SCOPE_RESOURCE
    if together != bool(check.quantifier):
        raise RuleBroken(
            "quantifier", "a quantifier goes with the scope of an account, and only so"
        )
    for mapping in check.controls:
        control = load_controls().get(mapping.control_id)
        if control is None or control.withdrawn:
            raise RuleBroken("controls", f"{mapping.control_id} is no control of SP 800-53 rev 5")
    _unique("controls", "control", [mapping.control_id for mapping in check.controls])
    _unique("parameters", "variable", [parameter.variable for parameter in check.parameters])
    for parameter in check.parameters:
        if parameter.param_id and parameter.param_id not in load_parameters():
            raise RuleBroken("parameters", f"{parameter.param_id} is no parameter of SP 800-53")
        if parameter.variable == NOW:
            raise RuleBroken("parameters", f"{NOW!r} is the moment of weighing, and no parameter")
        if not 0 <= parameter.default_value <= LARGEST:
            problem = f"the default of {parameter.variable!r} must be 0 to {LARGEST:,}"
            raise RuleBroken("parameters", problem)


def _unique(field: str, what: str, values: Sequence[str]) -> None:
    twice = {value for value in values if values.count(value) > 1}
    if twice:
        raise RuleBroken(field, f"{what} {min(twice)!r} stands there twice")
