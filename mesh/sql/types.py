"""How each protobuf field is stored, and the SQL types that stand for it.

Columns:

- integers, bool, double, string and bytes natively; uint64 and fixed64 are refused,
  because no SQL integer holds them;
- enums as SMALLINT with a CHECK;
- ``google.protobuf.Timestamp`` as ``Timestamp``, whose Python value is an int of
  microseconds since 1970 UTC in every database (finer parts are cut off);
- ``google.protobuf.Duration`` as BIGINT microseconds (finer parts are cut off);
- messages of our own packages, lists and maps as ``Json``, which is ``jsonb`` on PostgreSQL;
- messages of other packages (``google.rpc.Status``, ...) as their serialized bytes,
  so that an ``Any`` inside survives; conditions can only ask whether they are present.

Fields that are sealed or hashed are texts, whatever they are (``mesh.sql.at_rest``).

NULL means absent. A scalar without presence, a list and a map are never NULL: they hold
their value, ``[]`` or ``{}``.

JSON form, which conditions over JSON rely on:

- an object's keys are the proto field names;
- a field with presence is left out when absent; every other field is always written,
  empty lists and maps too (a row older than the field lacks it: read that as its default);
- enums are their numbers, 64-bit integers are JSON numbers, bytes are base64 (RFC 4648);
- timestamps and durations are integers of microseconds, as in columns;
- map keys are strings (``true``/``false`` for bool), in ascending order;
- messages of other packages are the base64 of their serialized bytes.

Refused in both forms: NaN and infinity, which neither JSON nor SQL compares alike, and
the character NUL, which PostgreSQL does not keep and at which SQLite stops counting.
Negative zero is kept as zero.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from mesh.contract.catalogue import CatalogueError
from mesh.contract.storage import MICROSECONDS, Storage, enum_numbers, is_kept_plain, storage_of


class Timestamp(TypeDecorator[int]):
    """A moment, in Python an int of microseconds since 1970 UTC.

    SQLite keeps that number itself, PostgreSQL a ``timestamptz``.
    """

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Give the type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.BigInteger())

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Hand a number over as it is: spares SQLite a call per value."""
        return _to_moment if dialect.name == "postgresql" else None

    def result_processor(
        self,
        dialect: Dialect,
        coltype: object,  # noqa: ARG002  # SQLAlchemy's own signature
    ) -> Callable[[Any], Any] | None:
        """Take a number as it is: spares SQLite a call per value."""
        return _from_moment if dialect.name == "postgresql" else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_OF_DAY = 86_400


def _to_moment(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def _from_moment(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    since = moment - _EPOCH
    seconds = since.days * _SECONDS_OF_DAY + since.seconds
    return seconds * MICROSECONDS + since.microseconds


class Json(TypeDecorator[str]):
    """JSON, in Python a str in the form that the module describes.

    SQLite keeps the text, PostgreSQL ``jsonb``: what it gives back means the same, its
    keys may stand in another order.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Give the type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.Text())


_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compares by code points in every dialect; SQLite does so by itself."""

_SCALARS: dict[int, TypeEngine[Any]] = {
    FieldDescriptor.TYPE_INT32: sa.Integer(),
    FieldDescriptor.TYPE_SINT32: sa.Integer(),
    FieldDescriptor.TYPE_SFIXED32: sa.Integer(),
    FieldDescriptor.TYPE_UINT32: sa.BigInteger(),
    FieldDescriptor.TYPE_FIXED32: sa.BigInteger(),
    FieldDescriptor.TYPE_INT64: sa.BigInteger(),
    FieldDescriptor.TYPE_SINT64: sa.BigInteger(),
    FieldDescriptor.TYPE_SFIXED64: sa.BigInteger(),
    FieldDescriptor.TYPE_FLOAT: sa.Double(),
    FieldDescriptor.TYPE_DOUBLE: sa.Double(),
    FieldDescriptor.TYPE_BOOL: sa.Boolean(create_constraint=False),
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BYTES: sa.LargeBinary(),
}
_STORED: dict[Storage, TypeEngine[Any]] = {
    Storage.TIMESTAMP: Timestamp(),
    Storage.DURATION: sa.BigInteger(),
    Storage.MESSAGE: Json(),
    Storage.OPAQUE: sa.LargeBinary(),
    Storage.LIST: Json(),
    Storage.MAP: Json(),
}


def id_type() -> TypeEngine[Any]:
    """Give the type of the columns that a resource name fills."""
    return _TEXT


@cache
def column_type(field: FieldDescriptor) -> TypeEngine[Any]:
    """Give the column type of a field; CatalogueError if SQL has none for it."""
    if not is_kept_plain(field):
        return _TEXT
    storage = storage_of(field)
    if storage is Storage.ENUM:
        return _enum_type(enum_numbers(field))
    if storage is not Storage.SCALAR:
        return _STORED[storage]
    if field.type not in _SCALARS:
        raise CatalogueError(field.full_name, "no SQL integer holds it; use int64")
    return _SCALARS[field.type]


def member_type(field: FieldDescriptor) -> TypeEngine[Any] | None:
    """Give the type of one value of a list, as a column holds it; None but for texts and enums."""
    if field.enum_type is not None:
        return _enum_type(enum_numbers(field))
    return _TEXT if field.type == FieldDescriptor.TYPE_STRING else None


def _enum_type(numbers: list[int]) -> TypeEngine[Any]:
    fits = all(-(2**15) <= number < 2**15 for number in numbers)
    return sa.SmallInteger() if fits else sa.Integer()


def nullable(field: FieldDescriptor) -> bool:
    """Tell whether a field can be absent, which is NULL."""
    return bool(field.has_presence)
