"""Spans of time in SQL, where the databases differ: the start of the hour, day, week..."""

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from mesh.contract.storage import MICROSECONDS


class Unit(StrEnum):
    """Length of a span; the values are PostgreSQL's."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


_HOUR = 3600 * MICROSECONDS
_DAY = 24 * _HOUR
_MONDAY = 3 * _DAY
"""1970-01-01 was a Thursday, three days after a Monday."""
_FIXED = {Unit.HOUR: (_HOUR, 0), Unit.DAY: (_DAY, 0), Unit.WEEK: (7 * _DAY, _MONDAY)}


class span_start(FunctionElement[int]):  # noqa: N801  # named as SQL functions are
    """The start in UTC of the span that a moment lies in."""

    inherit_cache = True

    def __init__(self, moment: sa.ColumnElement[Any], unit: Unit) -> None:
        self.type = moment.type
        # Text of the statement, not a parameter: statements are remembered by their text.
        super().__init__(moment, sa.literal_column(f"'{unit.value}'", sa.Text()))


@compiles(span_start, "sqlite")
def _sqlite(element: "span_start", compiler: SQLCompiler, **more: Any) -> str:
    moment, unit = element.clauses
    number = sa.type_coerce(moment, sa.BigInteger())
    return compiler.process(_of_number(number, Unit(str(unit).strip("'"))), **more)


@compiles(span_start, "postgresql")
def _postgresql(element: "span_start", compiler: SQLCompiler, **more: Any) -> str:
    moment, unit = (compiler.process(each, **more) for each in element.clauses)
    return f"date_trunc({unit}, {moment}, 'UTC')"


def _of_number(number: sa.ColumnElement[int], unit: Unit) -> sa.ColumnElement[int]:
    """Compute with microseconds since 1970, which may be negative."""
    if unit in _FIXED:
        length, offset = _FIXED[unit]
        return number - _rest(number + _whole(offset), length)
    seconds = (number - _rest(number, MICROSECONDS)) / _whole(MICROSECONDS)
    start = sa.func.strftime(
        sa.text("'%s'"), seconds, sa.text("'unixepoch'"), sa.text(f"'start of {unit.value}'")
    )
    return sa.cast(start, sa.BigInteger()) * _whole(MICROSECONDS)


def _whole(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(number), sa.BigInteger())


def _rest(number: sa.ColumnElement[int], length: int) -> sa.ColumnElement[int]:
    """Give what is beyond a multiple; SQL's own remainder is negative before 1970."""
    size = _whole(length)
    return (number % size + size) % size
