"""Counts and summaries of a kind's rows, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.storage import Storage, storage_of
from mesh.errors import FieldInvalid
from mesh.sql.buckets import Unit, span_start
from mesh.sql.order import may_sort
from mesh.sql.references import shown
from mesh.sql.store import Store
from mesh.sql.tables import KindTable

MAX_GROUPS = 10_000
_HALF = 32
"""Bits of the lower part of a sum; the parts cannot overflow."""
_WHOLE = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64})
_UNSIGNED = frozenset({FieldDescriptor.CPPTYPE_UINT32})
_REAL = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})


class Function(StrEnum):
    COUNT = "count"
    MIN = "min"
    MAX = "max"
    AVG = "avg"
    SUM = "sum"


@dataclass(frozen=True)
class Measure:
    """One thing to compute of each group."""

    function: Function
    field: FieldDescriptor


@dataclass(frozen=True)
class Question:
    """What to compute over which rows."""

    keys: Sequence[FieldDescriptor]
    bucket: tuple[FieldDescriptor, Unit] | None
    measures: Sequence[Measure]
    filter: str = ""
    read_time: int | None = None
    conditions: Sequence[sa.ColumnElement[bool]] = ()
    """What else rows must meet, beside the filter."""


@dataclass(frozen=True)
class Group:
    """One group; values are in their stored form, None where absent."""

    keys: Sequence[Any]
    count: int
    values: Sequence[Any]


def is_whole(field: FieldDescriptor) -> bool:
    """Tell whether a field holds whole numbers (lengths of time are, of microseconds)."""
    if storage_of(field) is Storage.DURATION:
        return True
    return storage_of(field) is Storage.SCALAR and field.cpp_type in _WHOLE | _UNSIGNED


def check_measure(measure: Measure, path: str) -> None:
    """Refuse what cannot be computed of a field; FieldInvalid names ``path``."""
    field, storage = measure.field, storage_of(measure.field)
    if measure.function is Function.COUNT:
        return
    number = is_whole(field) or (storage is Storage.SCALAR and field.cpp_type in _REAL)
    ordered = may_sort(field) and field.cpp_type != FieldDescriptor.CPPTYPE_BOOL
    fits = ordered if measure.function in (Function.MIN, Function.MAX) else number
    if not fits:
        raise FieldInvalid.of(path, f"{field.name} has no {measure.function.value}")


async def aggregate(
    store: Store,
    collection: str,
    tenant: str,
    question: Question,
    connection: AsyncConnection | None = None,
) -> list[Group]:
    """Compute the groups, in the order of their keys, absent ones first.

    With ``connection`` from what its snapshot shows.
    FieldInvalid if there are more than MAX_GROUPS; FilterInvalid.
    """
    target = store.target(collection)
    keys = _keys(target, question)
    parts = [_parts(target, measure) for measure in question.measures]
    columns = [sa.func.count().label("n"), *(part for group in parts for part in group)]
    labelled = [column.label(f"p{place}") for place, column in enumerate(columns)]
    statement = store.select(collection, tenant, read_time=question.read_time)
    statement = statement.with_only_columns(*keys, *labelled)
    if question.filter:
        statement = statement.where(store.condition(target, question.filter))
    statement = statement.where(*question.conditions)
    if keys:
        # By place, so that no database has to see that two expressions are one.
        places: list[sa.ColumnElement[Any]] = [
            sa.literal_column(str(place + 1)) for place in range(len(keys))
        ]
        statement = statement.group_by(*places)
        statement = statement.order_by(*(place.asc().nulls_first() for place in places))
    rows = await store.fetch(statement.limit(MAX_GROUPS + 1), connection)
    if len(rows) > MAX_GROUPS:
        raise FieldInvalid.of("group_by", f"makes more than {MAX_GROUPS} groups")
    return [_group(row, len(keys), question.measures, parts) for row in rows]


def _keys(target: KindTable, question: Question) -> list[sa.Label[Any]]:
    keys: list[sa.ColumnElement[Any]] = [
        shown(target.rows, target.kind, field.name) for field in question.keys
    ]
    if question.bucket is not None:
        field, unit = question.bucket
        keys.append(span_start(target.rows.c[field.name], unit))
    return [key.label(f"k{place}") for place, key in enumerate(keys)]


def _parts(target: KindTable, measure: Measure) -> list[sa.ColumnElement[Any]]:
    """Give what SQL computes for a measure; sums of whole numbers exactly, in two parts."""
    column = shown(target.rows, target.kind, measure.field.name)
    match measure.function:
        case Function.COUNT:
            return [sa.func.count(column)]
        case Function.MIN:
            return [sa.func.min(column)]
        case Function.MAX:
            return [sa.func.max(column)]
    if not is_whole(measure.field):
        compute = sa.func.avg if measure.function is Function.AVG else sa.func.sum
        return [compute(column, type_=sa.Double())]
    wide = sa.cast(column, sa.BigInteger())
    high = wide.bitwise_rshift(sa.literal_column(str(_HALF)))
    low = wide.bitwise_and(sa.literal_column(str(2**_HALF - 1)))
    return [sa.func.sum(high), sa.func.sum(low), sa.func.count(column)]


def _group(
    row: sa.Row[Any], keys: int, measures: Sequence[Measure], parts: Sequence[Sequence[Any]]
) -> Group:
    values: list[Any] = []
    place = keys + 1
    for measure, own in zip(measures, parts, strict=True):
        found = row[place : place + len(own)]
        values.append(found[0] if len(own) == 1 else _total(measure, found))
        place += len(own)
    return Group(list(row[:keys]), row[keys], values)


def _total(measure: Measure, found: Sequence[Any]) -> int | float | None:
    high, low, count = found
    if not count:
        return None
    total: int = (int(high) << _HALF) + int(low)
    if measure.function is Function.SUM:
        return total
    of_time = storage_of(measure.field) is Storage.DURATION
    mean: int | float = total // count if of_time else total / count
    return mean
