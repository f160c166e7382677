"""Query parameters, read without mercy."""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.contracts import field_named
from gateway.edge.expectation import TEXT_MESSAGES, expects
from gateway.edge.strict_json import fits_field
from gateway.refusals import JsonInvalid
from gateway.routes import EscapeInvalid, Match, unescape

MAX_PARAMETERS = 200
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT64,
}
_FLOATS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}
FIELD_MASK = "google.protobuf.FieldMask"
_MASK = re.compile(r"[A-Za-z0-9_.*,]*")  # in both forms of names, as the transcoder takes them
_TRUTH = {"true": True, "false": False}


def check_query(query: str, match: Match) -> None:
    """Check a query string, without its question mark, against the method it is for.

    Raises JsonInvalid for a parameter that is unknown, malformed, given twice,
    or belongs to the path or the body.
    """
    request = match.method.descriptor.input_type
    seen: set[str] = set()
    for name, value in _pairs(query):
        field, path = _field(request, name)
        if match.route.body == "*" or _within(path, match.route.body):
            raise JsonInvalid.of(name, "belongs to the body", "PARAMETER_MISPLACED")
        if any(_within(path, bound) for bound in match.variables):
            raise JsonInvalid.of(name, "belongs to the path", "PARAMETER_MISPLACED")
        if path in seen and not field.is_repeated:
            raise JsonInvalid.of(name, "is given twice", "PARAMETER_TWICE")
        seen.add(path)
        _check_value(value, field, name)


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    pieces = [piece for piece in query.split("&") if piece]
    if len(pieces) > MAX_PARAMETERS:
        raise JsonInvalid(f"there are more than {MAX_PARAMETERS} query parameters")
    for piece in pieces:
        name, _, value = piece.partition("=")
        try:
            yield unescape(name, plus_is_space=True), unescape(value, plus_is_space=True)
        except EscapeInvalid as error:
            raise JsonInvalid(f"query: {error}") from None


def _field(request: Descriptor, name: str) -> tuple[FieldDescriptor, str]:
    """Find the field of a parameter and its path in proto names."""
    holder: Descriptor | None = request
    path: list[str] = []
    field: FieldDescriptor | None = None
    for part in name.split("."):
        field = field_named(holder, part) if holder is not None else None
        if field is None:
            raise JsonInvalid.of(name, "there is no such query parameter", "PARAMETER_UNKNOWN")
        path.append(field.name)
        holder = None if field.is_repeated or _is_text(field) else field.message_type
    if field is None or not _is_text(field):
        raise JsonInvalid.of(name, "cannot be given in a query", "PARAMETER_UNKNOWN")
    return field, ".".join(path)


def _is_text(field: FieldDescriptor) -> bool:
    return field.message_type is None or field.message_type.full_name in TEXT_MESSAGES


def _within(path: str, bound: str) -> bool:
    return bool(bound) and (path == bound or path.startswith(f"{bound}."))


def _check_value(value: str, field: FieldDescriptor, name: str) -> None:
    if not _is_value(value, field):
        raise JsonInvalid.of(name, f"must be {expects(field)}", "TYPE_WRONG")


def _is_value(value: str, field: FieldDescriptor) -> bool:
    """Tell whether a text is a value of the field, as the transcoder reads texts."""
    json_value: Any = value
    if field.message_type is not None and field.message_type.full_name == FIELD_MASK:
        return _MASK.fullmatch(value) is not None
    if field.cpp_type in _INTEGERS and not _INTEGER.fullmatch(value):
        return False
    if field.cpp_type in _FLOATS and not _NUMBER.fullmatch(value):
        return False
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if value not in _TRUTH:
            return False
        json_value = _TRUTH[value]
    return fits_field([json_value] if field.is_repeated else json_value, field)
