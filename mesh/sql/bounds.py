"""The bounds of ``buf.validate.field`` that SQL can state, as conditions for a CHECK.

Patterns and the bounds of list items are left to request validation: dialects have
no common regular expressions.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor

from buf.validate import validate_pb2
from mesh.contract.storage import Storage, enum_numbers, storage_of

Bound = tuple[str, sa.ColumnElement[bool]]

_NUMBERS = frozenset(
    {
        *("float", "double"),
        *("int32", "int64", "uint32", "sint32", "sint64", "fixed32", "sfixed32", "sfixed64"),
    }
)


def bounds(field: FieldDescriptor, column: sa.Column[Any]) -> Iterator[Bound]:
    """Give the bounds of a field, each with the name of its rule; NULL meets them all."""
    storage = storage_of(field)
    if storage is Storage.ENUM:
        yield "defined", column.in_(enum_numbers(field))
    rules = field.GetOptions().Extensions[validate_pb2.field]
    kind = rules.WhichOneof("type")
    if kind is None or storage not in (Storage.SCALAR, Storage.ENUM):
        return
    stated = getattr(rules, kind)
    if kind in _NUMBERS:
        yield from _range(stated, column)
    if kind in ("string", "bytes"):
        yield from _length(stated, column)
    yield from _sets(stated, column)


def _range(rules: Any, column: sa.Column[Any]) -> Iterator[Bound]:
    least, most = rules.WhichOneof("greater_than"), rules.WhichOneof("less_than")
    lower = _lower(rules, least, column) if least else None
    upper = _upper(rules, most, column) if most else None
    if lower is not None and upper is not None:
        # protovalidate: a lower bound above the upper one excludes what lies between.
        inside = getattr(rules, least) <= getattr(rules, most)
        yield "range", sa.and_(lower, upper) if inside else sa.or_(lower, upper)
        return
    for rule, condition in ((least, lower), (most, upper)):
        if condition is not None:
            yield rule, condition


def _lower(rules: Any, rule: str, column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    limit = getattr(rules, rule)
    return sa.and_(column >= limit if rule == "gte" else column > limit)


def _upper(rules: Any, rule: str, column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    limit = getattr(rules, rule)
    return sa.and_(column <= limit if rule == "lte" else column < limit)


def _length(rules: Any, column: sa.Column[Any]) -> Iterator[Bound]:
    size = sa.func.length(column)
    if rules.HasField("len"):
        yield "len", size == rules.len
    if rules.HasField("min_len"):
        yield "min_len", size >= rules.min_len
    if rules.HasField("max_len"):
        yield "max_len", size <= rules.max_len


def _sets(rules: Any, column: sa.Column[Any]) -> Iterator[Bound]:
    known = rules.DESCRIPTOR.fields_by_name
    if "const" in known and rules.HasField("const"):
        yield "const", column == rules.const
    if "in" in known and (wanted := getattr(rules, "in")):
        yield "in", column.in_(list(wanted))
    if "not_in" in known and rules.not_in:
        yield "not_in", column.not_in(list(rules.not_in))
