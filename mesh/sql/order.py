"""Total orders over the rows of a kind, and the place after a row in such an order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import NAME
from mesh.contract.storage import sortable
from mesh.errors import OrderInvalid
from mesh.sql.document import is_askable
from mesh.sql.sightings import Rows
from mesh.sql.tables import KindTable

RECORD = "record."
"""Prefix of the envelope's fields where the body's stand bare."""


@dataclass(frozen=True)
class OrderKey:
    """One column of an order."""

    column: str
    descending: bool = False
    optional: bool = False
    """Whether rows may hold NULL, which comes before every value (after, descending)."""


def may_sort(field: FieldDescriptor) -> bool:
    """Tell whether callers may order rows by a field; an order would give a secret away."""
    return sortable(field) and is_askable(field)


def parse_order(order_by: str, target: KindTable) -> tuple[OrderKey, ...]:
    """Read an AIP-132 order such as ``last_login desc, username``.

    ``record.name`` stands for the id, and ``name`` too unless the body has a name of its own;
    ids complete every order, so that it is total among the rows of one parent. Raises OrderInvalid.
    """
    keys: dict[str, OrderKey] = {}
    for part in order_by.split(",") if order_by.strip() else ():
        key = _parse_key(part, target)
        if key.column in keys:
            raise OrderInvalid(part.strip(), "is named twice")
        keys[key.column] = key
    last = target.kind.pattern.columns[-1]
    keys.setdefault(last, OrderKey(last))
    return tuple(keys.values())


def _parse_key(part: str, target: KindTable) -> OrderKey:
    name, *direction = part.split() or [""]
    if direction not in ([], ["desc"]):
        raise OrderInvalid(part.strip(), "is not a field with an optional ' desc'")
    descending = bool(direction)
    bare = _bare(name, target)
    if bare == NAME and (name.startswith(RECORD) or NAME not in target.codec.fields):
        return OrderKey(target.kind.pattern.columns[-1], descending)
    field = target.codec.fields.get(bare)
    if field is None or not may_sort(field):
        raise OrderInvalid(name, "is no sortable field")
    return OrderKey(bare, descending, optional=bool(target.table.c[bare].nullable))


def _bare(name: str, target: KindTable) -> str:
    if not name.startswith(RECORD):
        return name
    bare = name.removeprefix(RECORD)
    if bare not in {field.name for field in target.kind.envelope_fields}:
        raise OrderInvalid(name, "is no sortable field")
    return bare


def order_clauses(rows: Rows, keys: Iterable[OrderKey]) -> list[sa.ColumnElement[Any]]:
    """Give the ORDER BY; states where NULL comes, because dialects differ.

    Not where there is none: PostgreSQL would not read an index in an order that says more.
    """
    return [_clause(rows.c[key.column], key) for key in keys]


def _clause(column: sa.ColumnElement[Any], key: OrderKey) -> sa.ColumnElement[Any]:
    ordered = column.desc() if key.descending else column.asc()
    if not key.optional:
        return ordered
    return ordered.nulls_last() if key.descending else ordered.nulls_first()


def after(rows: Rows, keys: Sequence[OrderKey], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Give the condition that a row comes after the row with these key values."""
    alternatives: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for key, value in zip(keys, values, strict=True):
        column = rows.c[key.column]
        bound = None if value is None else sa.literal(value, column.type)
        beyond = _beyond(column, key, bound)
        if beyond is not None:
            alternatives.append(sa.and_(*equal, beyond))
        equal.append(column.is_(None) if bound is None else column == bound)
    anywhere_after = sa.or_(*alternatives)
    start = _start(rows, keys[0], values[0])
    return anywhere_after if start is None else sa.and_(start, anywhere_after)


def _start(rows: Rows, key: OrderKey, value: object) -> sa.ColumnElement[bool] | None:
    """Give what the rest implies for the first column: an index can seek by it."""
    if value is None or (key.descending and key.optional):
        return None
    column = rows.c[key.column]
    bound = sa.literal(value, column.type)
    return sa.and_(column <= bound if key.descending else column >= bound)


def _beyond(
    column: sa.ColumnElement[Any], key: OrderKey, value: sa.ColumnElement[Any] | None
) -> sa.ColumnElement[bool] | None:
    """Give the condition that one column lies beyond a value; None if nothing can."""
    if key.descending:
        if value is None:
            return None
        less = column < value
        return sa.or_(less, column.is_(None)) if key.optional else less
    return column.is_not(None) if value is None else column > value
