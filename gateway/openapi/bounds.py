"""Bounds of the contracts (protovalidate) as JSON Schema (draft 2020-12) keywords."""

import json
import re
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2

Json = dict[str, Any]

_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
_NUMBERS = ("float", "double", "int32", "uint32", "sint32", "fixed32", "sfixed32")
_LONG_NUMBERS = ("int64", "uint64", "sint64", "fixed64", "sfixed64")
_RANGE = {
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
}


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Give the bounds a contract sets on a field, empty if none."""
    return field.GetOptions().Extensions[validate_pb2.field]


def value_bounds(
    rules: validate_pb2.FieldRules, enum: EnumDescriptor | None = None, *, presence: bool = False
) -> Json:
    """Give the keywords for one value.

    Args:
        rules: The bounds in the contract.
        enum: The enum the value is of, if any.
        presence: Whether the field tells zero from absent, so that zero is bound too.
    """
    kind = rules.WhichOneof("type")
    if kind is None:
        return {}
    bounds = getattr(rules, kind)
    if kind == "string":
        keywords = _string(bounds)
    elif kind == "bytes":
        keywords = _bytes(bounds)
    elif kind == "enum" and enum is not None:
        keywords = _enum(bounds, enum)
    elif kind in _NUMBERS:
        keywords = _number(bounds)
    elif kind in (*_LONG_NUMBERS, "duration"):
        keywords = _described(bounds)
    elif kind == "bool" and bounds.HasField("const"):
        keywords = {"const": bounds.const}
    else:
        keywords = {}
    skips_zero = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE and not presence
    if keywords and skips_zero and (kind == "string" or kind in _NUMBERS):
        return {"anyOf": [{"const": "" if kind == "string" else 0}, keywords]}
    return keywords


def list_bounds(rules: validate_pb2.RepeatedRules) -> Json:
    """Give the keywords for a list, without those for its items."""
    keywords: Json = {}
    if rules.HasField("min_items"):
        keywords["minItems"] = rules.min_items
    if rules.HasField("max_items"):
        keywords["maxItems"] = rules.max_items
    if rules.unique:
        keywords["uniqueItems"] = True
    return keywords


def map_bounds(rules: validate_pb2.MapRules) -> Json:
    """Give the keywords for a map and its keys, without those for its values."""
    keywords: Json = {}
    if rules.HasField("min_pairs"):
        keywords["minProperties"] = rules.min_pairs
    if rules.HasField("max_pairs"):
        keywords["maxProperties"] = rules.max_pairs
    if names := value_bounds(rules.keys):
        keywords["propertyNames"] = names
    return keywords


def _string(bounds: validate_pb2.StringRules) -> Json:
    keywords: Json = {}
    if bounds.HasField("len"):
        keywords["minLength"] = keywords["maxLength"] = bounds.len
    if bounds.HasField("min_len"):
        keywords["minLength"] = bounds.min_len
    if bounds.HasField("max_len"):
        keywords["maxLength"] = bounds.max_len
    patterns = [bounds.pattern] if bounds.pattern else []
    patterns += [f"^{re.escape(bounds.prefix)}"] if bounds.prefix else []
    patterns += [f"{re.escape(bounds.suffix)}$"] if bounds.suffix else []
    patterns += [re.escape(bounds.contains)] if bounds.contains else []
    if len(patterns) == 1:
        keywords["pattern"] = patterns[0]
    elif patterns:
        keywords["allOf"] = [{"pattern": pattern} for pattern in patterns]
    known = bounds.WhichOneof("well_known")
    if known in _FORMATS and getattr(bounds, known):
        keywords["format"] = _FORMATS[known]
    return keywords | _listed(bounds)


def _bytes(bounds: validate_pb2.BytesRules) -> Json:
    """Bound the base64 text: four characters for every three bytes."""
    keywords: Json = {}
    if bounds.HasField("min_len"):
        keywords["minLength"] = -(-bounds.min_len * 4 // 3)
    if bounds.HasField("max_len"):
        keywords["maxLength"] = -(-bounds.max_len // 3) * 4
    return keywords


def _number(bounds: Message) -> Json:
    keywords = {
        keyword: getattr(bounds, rule) for rule, keyword in _RANGE.items() if bounds.HasField(rule)
    }
    return keywords | _listed(bounds)


def _listed(bounds: Any) -> Json:
    keywords: Json = {}
    if bounds.HasField("const"):
        keywords["const"] = bounds.const
    if allowed := getattr(bounds, "in"):
        keywords["enum"] = list(allowed)
    if bounds.not_in:
        keywords["not"] = {"enum": list(bounds.not_in)}
    return keywords


def _enum(bounds: validate_pb2.EnumRules, enum: EnumDescriptor) -> Json:
    def names(numbers: Any) -> list[str]:
        return [enum.values_by_number[number].name for number in numbers]

    keywords: Json = {}
    if bounds.HasField("const"):
        keywords["const"] = names([bounds.const])[0]
    if allowed := getattr(bounds, "in"):
        keywords["enum"] = names(allowed)
    if bounds.not_in:
        keywords["not"] = {"enum": names(bounds.not_in)}
    return keywords


def _described(bounds: Message) -> Json:
    """Bound what JSON writes as a string, which JSON Schema cannot compare."""
    found = {rule: _plain(getattr(bounds, rule)) for rule in _RANGE if bounds.HasField(rule)}
    return {"x-bounds": found} if found else {}


def _plain(value: Any) -> str:
    if isinstance(value, Message):
        seconds, nanos = value.seconds, value.nanos  # type: ignore[attr-defined] # a Duration
        return f"{seconds + nanos / 1e9:g}s" if nanos else f"{seconds}s"
    return json.dumps(value)
