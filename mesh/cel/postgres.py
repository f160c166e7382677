"""How PostgreSQL writes what conditions need. Where CEL knows an error, it must give NULL."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from mesh.cel import functions, reals
from mesh.cel.dialect import ARITHMETIC, Domain, Expression, Operand
from mesh.cel.types import RANGES, CelType, Value
from mesh.contract.storage import MICROSECONDS
from mesh.sql.types import Json, Timestamp

_BINARY = "C"
"""The collation that compares by code points, as columns of text do."""
_TYPES: dict[CelType, sa.types.TypeEngine[Any]] = {
    CelType.BOOL: sa.Boolean(),
    CelType.INT: sa.BigInteger(),
    CelType.UINT: sa.BigInteger(),
    CelType.DOUBLE: sa.Double(),
    CelType.STRING: sa.Text(),
    CelType.BYTES: sa.LargeBinary(),
    CelType.TIMESTAMP: Timestamp(),
    CelType.DURATION: sa.BigInteger(),
}
_JSON = Json()
_NUMBER = sa.Numeric(asdecimal=False)
_LAST_PLACE = 2**31 - 1


class Postgresql:
    """PostgreSQL 15 or later: JSON is ``jsonb``, a moment ``timestamptz``, a length bigint."""

    def literal(self, value: Value, kind: CelType) -> Expression:
        return sa.literal(value, _TYPES[kind])

    def typed(self, expression: Expression, kind: CelType | None) -> Expression:
        wanted = _JSON if kind is None else _TYPES[kind]
        if isinstance(expression, sa.ColumnClause):
            return sa.type_coerce(expression, wanted)
        # An untyped NULL would leave the database guessing.
        return sa.cast(expression, wanted)

    def _of_text(self, text: Expression, kind: CelType | None) -> Expression:
        """Read what JSON holds for a scalar."""
        match kind:
            case CelType.STRING:
                return sa.type_coerce(text, sa.Text()).collate(_BINARY)
            case CelType.TIMESTAMP:
                return _moment(text)
            case None:
                return sa.type_coerce(text, _JSON)
            case _:
                return sa.cast(text, _TYPES[kind])

    def member(self, document: Expression, path: Sequence[str], kind: CelType | None) -> Expression:
        # Keys are names of proto fields, which need no quotes.
        where = sa.literal("{" + ",".join(path) + "}", sa.Text())
        found = document.op("#>" if kind is None else "#>>")(sa.cast(where, sa.ARRAY(sa.Text())))
        return self._of_text(found, kind)

    def items(self, document: Expression, kind: CelType | None) -> Domain:
        if kind is None:
            rows = sa.func.jsonb_array_elements(document).table_valued(sa.column("value", _JSON))
            return Domain(rows, rows.c.value)
        rows = sa.func.jsonb_array_elements_text(document).table_valued(
            sa.column("value", sa.Text())
        )
        return Domain(rows, self._of_text(rows.c.value, kind))

    def keys(self, document: Expression, kind: CelType) -> Domain:
        rows = sa.func.jsonb_each_text(document).table_valued(
            sa.column("key", sa.Text()), sa.column("value", sa.Text())
        )
        return Domain(rows, self._of_text(rows.c.key, kind))

    def item(self, document: Expression, place: Expression, kind: CelType | None) -> Expression:
        arrow = document.op("->" if kind is None else "->>")
        found = self._of_text(arrow(sa.cast(place, sa.Integer())), kind)
        # A negative place would count from the end; one too large is no integer there.
        return sa.case((place.between(0, _LAST_PLACE), found))

    def entry(
        self,
        document: Expression,
        key: Expression,
        key_kind: CelType,  # noqa: ARG002  # its text is what PostgreSQL makes of it
        kind: CelType | None,
    ) -> Expression:
        arrow = document.op("->" if kind is None else "->>")
        return self._of_text(arrow(sa.cast(key, sa.Text())), kind)

    def among(self, value: Expression, domain: Domain) -> Expression:
        # NULL IN () is false: the value is looked at first, in a place of its own.
        (sought,), inner = once(value)
        found = sought.in_(domain.select(domain.value))
        return inner(sa.case((sought.is_not(None), found)), sa.Boolean())

    def length(self, document: Expression, *, of_object: bool) -> Expression:
        if not of_object:
            return sa.cast(sa.func.jsonb_array_length(document), sa.BigInteger())
        domain = self.keys(document, CelType.STRING)
        count = domain.select(sa.func.count()).scalar_subquery()
        return sa.case((document.is_not(None), count))

    def listed(self, values: Sequence[Value]) -> Expression:
        return sa.literal(orjson.dumps(values).decode(), _JSON)

    def empty_object(self) -> Expression:
        return sa.literal("{}", _JSON)

    def opaque(self, value: str | int) -> Expression:
        return sa.literal(orjson.dumps(value).decode(), _JSON)

    def text_length(self, text: Expression) -> Expression:
        return sa.cast(sa.func.char_length(text), sa.BigInteger())

    def byte_length(self, data: Expression) -> Expression:
        return sa.cast(sa.func.octet_length(data), sa.BigInteger())

    def starts_with(self, text: Expression, part: Expression) -> Expression:
        return sa.func.starts_with(text, part, type_=sa.Boolean())

    def ends_with(self, text: Expression, part: Expression) -> Expression:
        end: Expression = sa.func.right(text, sa.func.char_length(part), type_=sa.Text())
        return end == part

    def contains(self, text: Expression, part: Expression) -> Expression:
        return sa.func.strpos(text, part) > 0

    def compute(self, function: str, operands: Sequence[Operand], kind: CelType) -> Expression:
        if kind is CelType.STRING:
            (left, _), (right, _) = operands
            return left.concat(right)
        if kind is CelType.DOUBLE:
            return self._real(function, [value for value, _ in operands])
        # Numbers of any length: nothing overflows before it is held against its range.
        numbers = [_number(value, each) for value, each in operands]
        if function == "_/_":
            return sa.func.div(numbers[0], sa.func.nullif(numbers[1], 0), type_=_NUMBER)
        if function == "_%_":
            return sa.func.mod(numbers[0], sa.func.nullif(numbers[1], 0), type_=_NUMBER)
        return ARITHMETIC[function](*numbers)

    def _real(self, function: str, operands: Sequence[Expression]) -> Expression:
        if function == functions.NEGATE:
            return -operands[0]
        (left, right), inner = once(*operands)
        return inner(reals.GUARDED[function](left, right), sa.Double())

    def fitting(self, number: Expression, kind: CelType) -> Expression:
        whole = sa.cast(number, sa.BigInteger())
        return _moment(whole) if kind is CelType.TIMESTAMP else whole

    def within(self, number: Expression, kind: CelType) -> Expression:
        if kind is CelType.DOUBLE:
            # Its arithmetic is guarded already.
            return number
        return self.fitting(_cut(number, kind), kind)


def once(
    *values: Expression,
) -> tuple[list[Expression], Callable[[Expression, sa.types.TypeEngine[Any]], Expression]]:
    """Name values, so that they are written and computed once.

    Gives the names, and the function that makes an expression over them one of its own.
    """
    # A bare NULL in a list of columns would be a text.
    known = (
        each if isinstance(each.type, sa.Text) else sa.cast(each, each.type) for each in values
    )
    columns = [value.label(f"value{place}") for place, value in enumerate(known)]
    # OFFSET keeps the planner from writing the values out again; every row that the values
    # are of belongs to the statement around.
    rows = sa.select(*columns).correlate_except(None).offset(0).lateral()

    def inner(expression: Expression, kind: sa.types.TypeEngine[Any]) -> Expression:
        chosen = sa.select(sa.type_coerce(expression, kind)).select_from(rows)
        return chosen.correlate_except(rows).scalar_subquery()

    return list(rows.c), inner


def _cut(number: Expression, kind: CelType) -> Expression:
    """Give NULL for a number beyond its type's range."""
    least, greatest = RANGES[kind]
    # Whatever lies outside becomes one of the two numbers next to the range, then NULL.
    below, above = _bound(least - 1), _bound(greatest + 1)
    kept = sa.func.least(sa.func.greatest(number, below), above)
    return sa.func.nullif(sa.func.nullif(kept, below), above, type_=_NUMBER)


def _bound(number: int) -> Expression:
    return sa.cast(sa.literal(str(number), sa.Text()), _NUMBER)


def _number(value: Expression, kind: CelType) -> Expression:
    """Give an int, or the microseconds of a moment or length, as a number of any length."""
    if kind is CelType.TIMESTAMP:
        return sa.type_coerce(sa.extract("epoch", value), _NUMBER) * MICROSECONDS
    # What is a number already is arithmetic within arithmetic.
    return _cut(value, kind) if isinstance(value.type, sa.Numeric) else sa.cast(value, _NUMBER)


def _moment(micros: Expression) -> Expression:
    """Give the moment of microseconds since 1970; exact, as functions of seconds are not."""
    since = sa.cast(sa.cast(micros, sa.Text()).concat(" microseconds"), sa.Interval())
    epoch = sa.literal(0, Timestamp())
    return sa.type_coerce(epoch.op("+")(since), Timestamp())


POSTGRESQL = Postgresql()
