"""Which versions of a record stood at a moment."""

import sqlalchemy as sa

from mesh.errors import FieldInvalid
from mesh.sql.tables import VALID_FROM, VALID_TO, KindTable

READ_TIME = "read_time"
"""The request field that asks for the past."""


def valid_at(target: KindTable, micros: int) -> sa.ColumnElement[bool]:
    """Give the condition that a version stood at a moment, in microseconds since 1970.

    FieldInvalid for a kind whose past versions are not kept.
    """
    require_history(target, READ_TIME)
    opened, closed = target.table.c[VALID_FROM], target.table.c[VALID_TO]
    return sa.and_(opened <= micros, sa.or_(closed.is_(None), closed > micros))


def require_history(target: KindTable, field: str) -> None:
    """Refuse a request about the past of a kind that keeps none; ``field`` asked for it."""
    if not target.kind.option.history:
        raise FieldInvalid.of(field, f"past versions of {target.kind.collection} are not kept")
