"""Where a condition in SQL finds the fields of a kind."""

from collections.abc import Mapping
from typing import Any, Protocol

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor

from mesh.cel.dialect import SQLITE, Dialect
from mesh.cel.lowering import RECORD
from mesh.contract.catalogue import Kind, is_map
from mesh.sql.members import MEMBERS, VALUE
from mesh.sql.references import TENANT, shown
from mesh.sql.sightings import GROUP, Rows, SeenRows, sightings_of


class Columns(Protocol):
    """The fields of a kind as SQL expressions; a caller may mask those that were not read."""

    def value(self, field: str) -> sa.ColumnElement[Any]:
        """Give a field's stored value; NULL where it is absent or unread.

        ``field`` is a name of the body, or of the envelope as ``record.region``.
        """

    def present(self, field: str) -> sa.ColumnElement[bool]:
        """Tell whether a field is there, as ``has()`` does; NULL where it is unread."""


class TableColumns:
    """The columns of a kind's own table."""

    def __init__(self, rows: Rows, kind: Kind, dialect: Dialect = SQLITE) -> None:
        self._table = rows
        self._base = rows.table if isinstance(rows, SeenRows) else rows
        self._kind = kind
        self._dialect = dialect
        self._fields: Mapping[str, FieldDescriptor] = {
            **{field.name: field for field in kind.descriptor.fields},
            **{f"{RECORD}.{field.name}": field for field in kind.envelope_fields},
        }

    def value(self, field: str) -> sa.ColumnElement[Any]:
        """Give a field's column; KeyError for a name that is no field."""
        descriptor = self._fields[field]
        if self._kind.is_resource_name(descriptor):
            return self._resource_name()
        return shown(self._table, self._kind, descriptor.name)

    def present(self, field: str) -> sa.ColumnElement[bool]:
        """Tell whether a field is there; without presence, whether it is not its default."""
        descriptor = self._fields[field]
        if self._kind.is_resource_name(descriptor):
            return sa.true()
        column = self.value(field)
        if descriptor.has_presence:
            return column.is_not(None)
        if descriptor.is_repeated:
            return self._dialect.length(column, of_object=is_map(descriptor)) > 0
        default: sa.ColumnElement[bool] = column != sa.literal(descriptor.default_value)
        return default

    def equal(self, field: str, name: str) -> sa.ColumnElement[bool] | None:
        """Compare a reference, or the name itself, by the ids that are stored: indexes hold those.

        None for other fields, and for a text that is no such name. NULL where the field is.
        """
        descriptor = self._fields[field]
        own, is_name = descriptor.name, self._kind.is_resource_name(descriptor)
        pattern = self._kind.pattern if is_name else self._kind.references.get(own)
        ids = pattern.parse(name) if pattern is not None else None
        if pattern is None or ids is None:
            return None
        if is_name:
            pairs = zip(pattern.columns, ids, strict=True)
            return sa.and_(*(self._table.c[column] == value for column, value in pairs))
        column = self._table.c[own]
        # An absent reference is unknown, whoever the tenant is.
        own_tenant = sa.or_(self._table.c[TENANT] == ids[0], column.is_(None))
        return sa.and_(self._refers(own, ids[-1], ids[0]), own_tenant)

    def _refers(self, field: str, wanted: str, tenant: str) -> sa.ColumnElement[bool]:
        """Tell whether a reference holds an id; of what saw a row last, the group has it."""
        column: sa.ColumnElement[Any] = self._table.c[field]
        sightings = sightings_of(self._table.table) if isinstance(self._table, SeenRows) else None
        if sightings is None or field != sightings.by:
            return column == wanted
        plain, by = self._base.c, sightings.table.c[field]
        return sa.or_(
            sa.and_(plain[GROUP].is_(None), plain[field] == wanted),
            sightings.last_seen_by(self._table, tenant, by == wanted),
            # Unknown where what saw it is gone.
            sa.and_(sightings.last_seen_by(self._table, tenant, by.is_(None)), sa.null()),
        )

    def holds(self, field: str, value: str | int) -> sa.ColumnElement[bool] | None:
        """Tell whether a list holds a value, by the index of its values; None if it has none."""
        members = self._base.info.get(MEMBERS, {}) if isinstance(self._base, sa.Table) else {}
        values = members.get(self._fields[field].name)
        if values is None:
            return None
        kind = sa.Text() if isinstance(value, str) else sa.BigInteger()
        rows: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(values)
        own = (values.c[column] == self._table.c[column] for column in self._kind.pattern.columns)
        rows = rows.where(*own, values.c[VALUE] == sa.literal(value, kind))
        return sa.exists(rows.correlate_except(values))

    def _resource_name(self) -> sa.ColumnElement[Any]:
        """Write the name from its ids, which stand in the table instead of it."""
        pattern = self._kind.pattern
        # Names hold no brace but around variables, so marks cannot be mistaken for text.
        pieces = pattern.format(*["{}"] * len(pattern.variables)).split("{}")
        name: sa.ColumnElement[Any] = sa.literal(pieces[0], sa.Text())
        for column, piece in zip(pattern.columns, pieces[1:], strict=True):
            name = name.concat(self._table.c[column])
            if piece:
                name = name.concat(sa.literal(piece, sa.Text()))
        return name
