"""Bounds of single fields (``buf.validate.field``) as plain functions, for the many valid records.

protovalidate is the judge of what is refused, and of all rules that are not known here. These
functions only spare its call where a value surely is valid: whatever they do not affirm, it is
asked about. A property test holds both against each other.
"""

import math
from collections.abc import Callable
from enum import Enum, auto
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from mesh.contract.catalogue import is_map

Affirms = Callable[[Any], bool]
"""Tells whether a value surely is valid."""


class Verdict(Enum):
    """What needs no function."""

    FREE = auto()
    """Any value is valid."""
    UNKNOWN = auto()
    """protovalidate is to be asked."""


_NUMBERS = frozenset({"int32", "int64", "uint32", "uint64", "sint32", "sint64", "float", "double"})
_LIST_RULES = {"min_items", "max_items", "unique", "items"}
_MAP_RULES = {"min_pairs", "max_pairs", "keys", "values"}


def verdict(field: FieldDescriptor) -> Affirms | Verdict:
    """Give the verdict on values of a field that is set."""
    rules = _rules(field)
    if rules.ignore == validate_pb2.IGNORE_ALWAYS:
        return Verdict.FREE
    if field.message_type is not None and not is_map(field) and has_rules(field.message_type):
        return Verdict.UNKNOWN
    return _of_rules(rules, field)


def affirms_absence(field: FieldDescriptor) -> bool:
    """Tell whether a field surely may be unset, or empty if it has no presence."""
    rules = _rules(field)
    if rules.ignore == validate_pb2.IGNORE_ALWAYS:
        return True
    if rules.required:
        return False
    if field.has_presence:
        return True
    if field.is_repeated:
        return _affirms_empty(rules)
    found = verdict(field)
    if callable(found):
        return found(field.default_value)
    return found is Verdict.FREE


def _affirms_empty(rules: Any) -> bool:
    """Tell whether a list or map surely may be empty: only its least size is about that."""
    told = [each.name for each, _ in rules.ListFields()]
    if told == ["repeated"]:
        return not rules.repeated.min_items and _stated(rules.repeated).keys() <= _LIST_RULES
    if told == ["map"]:
        return not rules.map.min_pairs and _stated(rules.map).keys() <= _MAP_RULES
    return not told


@cache
def has_rules(message: Descriptor) -> bool:
    """Tell whether messages of a type have bounds, at any depth."""
    return _has_rules(message, set())


def has_own_rules(message: Descriptor) -> bool:
    """Tell whether a message has rules that are of no single field."""
    options = message.GetOptions()
    return bool(options.Extensions[validate_pb2.message].ListFields()) or any(
        oneof.GetOptions().Extensions[validate_pb2.oneof].ListFields() for oneof in message.oneofs
    )


def _has_rules(message: Descriptor, seen: set[str]) -> bool:
    if message.full_name in seen:
        return False
    seen.add(message.full_name)
    return has_own_rules(message) or any(
        bool(_rules(field).ListFields())
        or (field.message_type is not None and _has_rules(field.message_type, seen))
        for field in message.fields
    )


def _rules(field: FieldDescriptor) -> Any:
    return field.GetOptions().Extensions[validate_pb2.field]


def _of_rules(rules: Any, field: FieldDescriptor) -> Affirms | Verdict:
    told = {each.name: value for each, value in rules.ListFields()}
    told.pop("required", None)
    if not told:
        return Verdict.FREE
    if len(told) > 1:
        return Verdict.UNKNOWN
    kind, stated = told.popitem()
    if kind in _NUMBERS:
        return _number(stated)
    known = {"string": _string, "enum": _enum, "repeated": _repeated}
    return known[kind](stated, field) if kind in known else Verdict.UNKNOWN


def _stated(rules: Any) -> dict[str, Any]:
    return {each.full_name.rpartition(".")[2]: value for each, value in rules.ListFields()}


def _string(rules: Any, _field: FieldDescriptor) -> Affirms | Verdict:
    told = _stated(rules)
    least, most = told.pop("min_len", 0), told.pop("max_len", None)
    if told:
        return Verdict.UNKNOWN
    if most is None:
        return lambda text: len(text) >= least
    return lambda text: least <= len(text) <= most


def _number(rules: Any) -> Affirms | Verdict:
    told = _stated(rules)
    told.pop("finite", None)
    finite = bool(getattr(rules, "finite", False))
    low = told.pop("gte", -math.inf)
    high = told.pop("lte", math.inf)
    if told or low > high:
        return Verdict.UNKNOWN
    if finite:
        return lambda value: math.isfinite(value) and low <= value <= high
    return lambda value: low <= value <= high


def _enum(rules: Any, field: FieldDescriptor) -> Affirms | Verdict:
    told = _stated(rules)
    defined, refused = told.pop("defined_only", False), told.pop("not_in", ())
    if told or not defined or field.enum_type is None:
        return Verdict.UNKNOWN
    return (frozenset(field.enum_type.values_by_number) - frozenset(refused)).__contains__


def _repeated(rules: Any, field: FieldDescriptor) -> Affirms | Verdict:
    told = _stated(rules)
    least, most = told.pop("min_items", 0), told.pop("max_items", math.inf)
    items = told.pop("items", None)
    if told:
        return Verdict.UNKNOWN
    each = Verdict.FREE if items is None else _of_rules(items, field)
    if each is Verdict.UNKNOWN:
        return each
    if each is Verdict.FREE:
        return lambda values: least <= len(values) <= most
    affirms: Affirms = each
    return lambda values: least <= len(values) <= most and all(map(affirms, values))
