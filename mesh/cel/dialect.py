"""How each database writes what SQL leaves open: JSON, text, moments, overflows."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson
import sqlalchemy as sa

from mesh.cel import functions
from mesh.cel.types import RANGES, CelType, Value

Expression = sa.ColumnElement[Any]
Operand = tuple[Expression, CelType]

ARITHMETIC: Mapping[str, Callable[..., Expression]] = {
    "_+_": operator.add,
    "_-_": operator.sub,
    "_*_": operator.mul,
    "_%_": operator.mod,
    functions.NEGATE: operator.neg,
}
"""Operators of SQL that mean in every database what they mean in CEL, overflows aside."""

_TYPES: dict[CelType, sa.types.TypeEngine[Any]] = {
    CelType.BOOL: sa.Boolean(),
    CelType.INT: sa.BigInteger(),
    CelType.UINT: sa.BigInteger(),
    CelType.DOUBLE: sa.Double(),
    CelType.STRING: sa.Text(),
    CelType.BYTES: sa.LargeBinary(),
    # On SQLite both are numbers of microseconds.
    CelType.TIMESTAMP: sa.BigInteger(),
    CelType.DURATION: sa.BigInteger(),
}
_INFINITY = float("inf")
_HUGE = 1e300
"""A real far beyond every integer."""


class Domain:
    """The rows of a JSON list or object, to be selected from."""

    def __init__(self, source: sa.TableValuedAlias, value: Expression) -> None:
        self.source = source
        self.value = value
        """An item of the list, or a key of the object."""

    def select(self, *columns: Expression) -> sa.Select[Any]:
        """Select from these rows; all else belongs to the statement around."""
        return sa.select(*columns).select_from(self.source).correlate_except(self.source)


class Dialect(Protocol):
    """What a translation needs of one database. JSON has the form of ``mesh.sql.types``."""

    def literal(self, value: Value, kind: CelType) -> Expression:
        """Bind a value."""

    def typed(self, expression: Expression, kind: CelType | None) -> Expression:
        """Take a column or JSON value as this type; None stands for JSON."""

    def member(self, document: Expression, path: Sequence[str], kind: CelType | None) -> Expression:
        """Give what stands under these keys of an object, NULL if nothing does."""

    def items(self, document: Expression, kind: CelType | None) -> Domain:
        """Give the items of a list."""

    def keys(self, document: Expression, kind: CelType) -> Domain:
        """Give the keys of an object."""

    def item(self, document: Expression, place: Expression, kind: CelType | None) -> Expression:
        """Give one item of a list by its place from 0, NULL if there is none."""

    def entry(
        self, document: Expression, key: Expression, key_kind: CelType, kind: CelType | None
    ) -> Expression:
        """Give the value of a key of an object, NULL if there is none."""

    def among(self, value: Expression, domain: Domain) -> Expression:
        """Tell whether a value is in a domain; NULL for NULL, even if the domain is empty."""

    def length(self, document: Expression, *, of_object: bool) -> Expression:
        """Count the items of a list or the keys of an object."""

    def listed(self, values: Sequence[Value]) -> Expression:
        """Bind a list of scalars as JSON."""

    def empty_object(self) -> Expression:
        """Bind an object without keys as JSON."""

    def opaque(self, value: str | int) -> Expression:
        """Bind what JSON holds for a value that cannot be compared but with its default."""

    def text_length(self, text: Expression) -> Expression:
        """Count code points."""

    def byte_length(self, data: Expression) -> Expression:
        """Count bytes."""

    def starts_with(self, text: Expression, part: Expression) -> Expression:
        """Compare exactly, without patterns."""

    def ends_with(self, text: Expression, part: Expression) -> Expression:
        """Compare exactly, without patterns; ``part`` may be written twice."""

    def contains(self, text: Expression, part: Expression) -> Expression:
        """Compare exactly, without patterns."""

    def compute(self, function: str, operands: Sequence[Operand], kind: CelType) -> Expression:
        """Write arithmetic whose result ``within`` or ``fitting`` takes.

        Operands that are arithmetic on ints may be such results themselves.
        """

    def fitting(self, number: Expression, kind: CelType) -> Expression:
        """Give a result of ``compute`` that cannot overflow."""

    def within(self, number: Expression, kind: CelType) -> Expression:
        """Give NULL for an overflow of arithmetic, else the number; write it once."""


class Sqlite:
    """SQLite 3.38 or later: JSON is text, booleans and moments are integers."""

    def literal(self, value: Value, kind: CelType) -> Expression:
        return sa.literal(value, _TYPES[kind])

    def typed(self, expression: Expression, kind: CelType | None) -> Expression:
        return sa.type_coerce(expression, sa.Text() if kind is None else _TYPES[kind])

    def member(self, document: Expression, path: Sequence[str], kind: CelType | None) -> Expression:
        # Keys are names of proto fields, which need no quotes.
        found: Expression = sa.func.json_extract(document, ".".join(("$", *path)))
        return self.typed(found, kind)

    def _rows(self, document: Expression) -> sa.TableValuedAlias:
        return sa.func.json_each(document).table_valued("key", "value", "type")

    def items(self, document: Expression, kind: CelType | None) -> Domain:
        rows = self._rows(document)
        return Domain(rows, self.typed(rows.c.value, kind))

    def keys(self, document: Expression, kind: CelType) -> Domain:
        rows = self._rows(document)
        return Domain(rows, self._key(rows.c.key, kind))

    def _key(self, key: Expression, kind: CelType) -> Expression:
        if kind is CelType.BOOL:
            return self.typed(key == "true", kind)
        return self.typed(key if kind is CelType.STRING else sa.cast(key, sa.BigInteger), kind)

    def item(self, document: Expression, place: Expression, kind: CelType | None) -> Expression:
        domain = self.items(document, kind)
        return domain.select(domain.value).where(domain.source.c.key == place).scalar_subquery()

    def entry(
        self, document: Expression, key: Expression, key_kind: CelType, kind: CelType | None
    ) -> Expression:
        domain = self.items(document, kind)
        found = self._key(domain.source.c.key, key_kind) == key
        return domain.select(domain.value).where(found).scalar_subquery()

    def among(self, value: Expression, domain: Domain) -> Expression:
        # NULL IN () is false; with one blob, equal to nothing that JSON holds, it is NULL.
        never = sa.select(sa.literal(b"", sa.LargeBinary()))
        return value.in_(sa.union_all(domain.select(domain.value), never))

    def length(self, document: Expression, *, of_object: bool) -> Expression:
        if not of_object:
            return sa.func.json_array_length(document, type_=sa.BigInteger())
        rows = Domain(self._rows(document), sa.null())
        count = rows.select(sa.func.count(rows.source.c.key)).scalar_subquery()
        return sa.case((document.is_not(None), count))

    def listed(self, values: Sequence[Value]) -> Expression:
        return sa.literal(orjson.dumps(values).decode(), sa.Text())

    def empty_object(self) -> Expression:
        return sa.literal("{}", sa.Text())

    def opaque(self, value: str | int) -> Expression:
        return sa.literal(value)

    def text_length(self, text: Expression) -> Expression:
        return sa.func.length(text, type_=sa.BigInteger())

    def byte_length(self, data: Expression) -> Expression:
        return sa.func.length(data, type_=sa.BigInteger())

    def starts_with(self, text: Expression, part: Expression) -> Expression:
        return sa.func.instr(text, part) == 1

    def ends_with(self, text: Expression, part: Expression) -> Expression:
        length = sa.func.length(part, type_=sa.BigInteger())
        return sa.func.substr(text, -length, length, type_=sa.Text()) == part

    def contains(self, text: Expression, part: Expression) -> Expression:
        return sa.func.instr(text, part) > 0

    def compute(self, function: str, operands: Sequence[Operand], kind: CelType) -> Expression:
        values = [value for value, _ in operands]
        if kind is CelType.STRING:
            return values[0].concat(values[1])
        if function == "_/_":
            # SQLAlchemy's own / would not divide integers as integers.
            left, right = values
            return left.op("/", return_type=left.type, precedence=8)(right)
        return ARITHMETIC[function](*values)

    def fitting(self, number: Expression, kind: CelType) -> Expression:  # noqa: ARG002  # every type is a number
        return number

    def within(self, number: Expression, kind: CelType) -> Expression:
        if kind is CelType.DOUBLE:
            return sa.func.nullif(sa.func.nullif(number, _INFINITY), -_INFINITY, type_=sa.Double())
        # Integers that overflow turn into reals in SQLite, and stay so through arithmetic.
        # JSON tells the types apart; infinity, which it cannot hold, is cut.
        least, greatest = RANGES[kind]
        finite = sa.func.min(sa.func.max(number, -_HUGE), _HUGE)
        domain = self.items(sa.func.json_array(finite), kind)
        fits = sa.and_(domain.source.c.type == "integer", domain.value.between(least, greatest))
        return domain.select(domain.value).where(fits).scalar_subquery()


SQLITE: Dialect = Sqlite()
