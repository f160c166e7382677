"""References between kinds: full names on the wire, ids and foreign keys in tables."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from mesh.contract.catalogue import Kind, field_option
from mesh.contract.names import NamePattern
from mesh.errors import FieldInvalid, ReferenceNotFound
from mesh.sql.triggers import Maker, Trigger, declare
from secmesh.options.v1 import field_pb2

TENANT, ID = "tenant_id", "id"
_ACTIONS = {
    field_pb2.ON_DELETE_UNSPECIFIED: "RESTRICT",
    field_pb2.ON_DELETE_RESTRICT: "RESTRICT",
    field_pb2.ON_DELETE_CASCADE: "CASCADE",
}
REFERENCE = "reference"
"""What a foreign key remembers of its field."""


DATABASE = "database"
"""What a foreign key remembers of the only database that has it."""
PARTIAL = "partial"
"""What an index remembers that leaves out the rows without a key."""


def referred_id(field: str, pattern: NamePattern, name: str, tenant: str) -> str:
    """Give the id that stands for a name; FieldInvalid if it is none of the right collection.

    Another tenant's resource is ReferenceNotFound, as one that does not exist.
    """
    ids = pattern.parse(name)
    if ids is None:
        raise FieldInvalid.of(field, f"must be of the form {pattern.text}", "REFERENCE_INVALID")
    if ids[0] != tenant:
        raise ReferenceNotFound(field, name)
    return ids[-1]


def full_name(column: sa.ColumnElement[Any], pattern: NamePattern, tenant: Any) -> Any:
    """Write the name that a column of ids stands for; NULL where the column is."""
    before, between, _ = pattern.format("{}", "{}").split("{}")
    prefix = sa.literal(before, sa.Text()).concat(tenant)
    return prefix.concat(sa.literal(between, sa.Text())).concat(column)


def shown(rows: Any, kind: Kind, column: str) -> sa.ColumnElement[Any]:
    """Give a column of rows as callers see it: of a reference, the full name."""
    pattern = kind.references.get(column)
    found: sa.ColumnElement[Any] = rows.c[column]
    return found if pattern is None else full_name(found, pattern, rows.c[TENANT])


def add_foreign_keys(
    tables: Mapping[str, sa.Table], kinds: Mapping[str, Kind], name: Callable[..., str]
) -> None:
    """Add the foreign keys of all kinds, led by the tenant, to tables that exist all."""
    for collection, kind in kinds.items():
        for field in (*kind.descriptor.fields, *kind.envelope_fields):
            option = field_option(field)
            if field.name in kind.references:
                table, target = tables[collection], tables[option.references]
                if not _indexed(table, field.name):
                    # Deleting what is referred to looks here.
                    index = name("ix", collection, field.name)
                    sa.Index(index, table.c[TENANT], table.c[field.name])
                _add(table, target, field.name, option, name("fk", collection, field.name))


def _indexed(table: sa.Table, field: str) -> bool:
    """Tell whether an index of all rows begins with a field, after the tenant."""
    whole = (index for index in table.indexes if not index.info.get(PARTIAL))
    first = (list(index.columns)[1:2] for index in whole)
    return any(column is table.c[field] for columns in first for column in columns)


def _add(table: sa.Table, target: sa.Table, field: str, option: field_pb2.Field, name: str) -> None:
    if option.on_delete != field_pb2.ON_DELETE_SET_NULL:
        table.append_constraint(_key(table, target, field, _ACTIONS[option.on_delete], name))
        return
    # The tenant stays: the standard's SET NULL would take both columns.
    for database, action in (("postgresql", f"SET NULL ({field})"), ("sqlite", "NO ACTION")):
        key = _key(table, target, field, action, name)
        key.info[DATABASE] = database
        table.append_constraint(key.ddl_if(dialect=database))
    declare(target, _emptying(table, target, field, name))


def _key(
    table: sa.Table, target: sa.Table, field: str, action: str, name: str
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [table.c[TENANT], table.c[field]],
        [target.c[TENANT], target.c[ID]],
        name=name,
        ondelete=action,
        info={REFERENCE: field},
    )


def _emptying(table: sa.Table, target: sa.Table, field: str, name: str) -> Maker:
    """Empty the reference before the row goes: SQLite cannot name the column to set NULL."""

    def make(dialect: sa.Dialect) -> Iterator[Trigger]:
        if dialect.name == "sqlite":
            emptied = sa.update(table).values({field: None})
            which = sa.and_(
                table.c[TENANT] == sa.literal_column(f"OLD.{TENANT}"),
                table.c[field] == sa.literal_column(f"OLD.{ID}"),
            )
            options = {"literal_binds": True}
            statement = emptied.where(which).compile(dialect=dialect, compile_kwargs=options)
            before = f'TRIGGER "{name}" BEFORE DELETE ON "{target.name}"'
            yield Trigger(name, target.name, f"CREATE {before} BEGIN {statement}; END")

    return make


def referrers(kinds: Mapping[str, Kind], collection: str) -> Iterator[tuple[str, str]]:
    """Give the collections and fields whose rows keep those of a collection from being deleted."""
    for other, kind in kinds.items():
        for field in (*kind.descriptor.fields, *kind.envelope_fields):
            option = field_option(field)
            if option.references == collection and _ACTIONS.get(option.on_delete) == "RESTRICT":
                yield other, field.name
