"""The tables of a catalogue's kinds: columns, keys, checks and indexes from the contract."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor, OneofDescriptor
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.contract.catalogue import Catalogue, CatalogueError, Kind, field_option
from mesh.contract.storage import is_kept_plain
from mesh.sealing.keyring import KeyRing
from mesh.sql.answer_table import answers_table
from mesh.sql.bounds import bounds
from mesh.sql.change_table import change_tables
from mesh.sql.change_triggers import change_triggers
from mesh.sql.codec import Codec
from mesh.sql.counting import add_counting
from mesh.sql.engine import WRITE, lock_schema, translated
from mesh.sql.isolation import isolate
from mesh.sql.members import add_members, is_indexed_list, keep_members
from mesh.sql.partitions import PARTITION, PARTITION_KEY, partition_of, prepare_partitions
from mesh.sql.references import DATABASE, PARTIAL, add_foreign_keys
from mesh.sql.removed_tenants import removed_tenants_table
from mesh.sql.settings import ISOLATED, LEASE, RIGHTS
from mesh.sql.sightings import Rows, add_sightings, rows_of
from mesh.sql.triggers import declare, prepare_triggers
from mesh.sql.types import Timestamp, column_type, id_type, nullable

VALID_FROM, VALID_TO = "valid_from", "valid_to"
"""Fields of the envelope that every kind with history has."""
FIELD, RULE = "field", "rule"
"""What a CHECK remembers of the bound it states."""
UNIQUE_FIELDS, NEEDED = "unique_fields", "needed"
"""What a unique index remembers of the fields it is over, and which of them a row must have."""
_LONGEST_NAME = 63
"""Bytes of an identifier in PostgreSQL."""


@dataclass(frozen=True)
class KindTable:
    """The table of one kind, and the codec of its rows."""

    kind: Kind
    table: sa.Table
    codec: Codec

    @cached_property
    def rows(self) -> Rows:
        """The rows as they are read: see ``mesh.sql.sightings``."""
        return rows_of(self.table)

    @property
    def current(self) -> sa.ColumnElement[bool] | None:
        """The condition that a row is the current version; None where no other is kept."""
        return _is_current(self.table) if self.kind.option.history else None


class Tables:
    """All tables of a catalogue, by collection."""

    def __init__(
        self, catalogue: Catalogue, *, isolated: bool = False, keys: KeyRing | None = None
    ) -> None:
        """Derive the tables; CatalogueError names what SQL cannot hold.

        ``isolated``: PostgreSQL itself keeps tenants apart (``mesh.sql.isolation``).
        ``keys`` seal and hash the fields that are kept so; without, these cannot be written.
        """
        self.metadata = sa.MetaData(info={ISOLATED: True} if isolated else {})
        self.isolated = isolated
        self.kinds = catalogue.kinds
        self.keys = keys
        self._tables: Mapping[str, KindTable] = MappingProxyType(
            {
                collection: _kind_table(kind, self.metadata, keys)
                for collection, kind in sorted(catalogue.kinds.items())
            }
        )

        add_foreign_keys(
            {collection: each.table for collection, each in self._tables.items()},
            catalogue.kinds,
            _identifier,
        )
        plain = {collection: each.table for collection, each in self._tables.items()}
        for each in self._tables.values():
            add_sightings(each.table, each.kind, plain, _identifier)
            add_members(each.table, each.kind, _identifier)
            add_counting(each.table, each.kind, _identifier)
        sa.event.listen(self.metadata, "after_create", _keep_members)
        repeatable = any(method.repeatable for method in catalogue.methods.values())
        self.answers = answers_table(self.metadata) if repeatable else None
        """Answers to requests that named themselves; None where none can."""
        removes = any(method.of_removed_tenants for method in catalogue.methods.values())
        self.removed = removed_tenants_table(self.metadata) if removes else None
        """Tenants that were removed and are kept from coming back; None where none ever are."""
        self.changes = change_tables(self.metadata) if catalogue.watched else None
        """Changes of records, and up to where they were forgotten; None where none are kept."""
        for collection in catalogue.record_kinds if catalogue.watched else ():
            each = self._tables[collection]
            declare(each.table, change_triggers(each.table, each.kind, each.codec, _identifier))

    def __getitem__(self, collection: str) -> KindTable:
        return self._tables[collection]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __contains__(self, collection: object) -> bool:
        return collection in self._tables


def _keep_members(metadata: sa.MetaData, connection: sa.Connection, **_: object) -> None:
    keep_members(connection, metadata)


async def create_tables(
    engine: AsyncEngine, tables: Tables, *, application: str | None = None
) -> None:
    """Create the tables and indexes that are missing; safe to run in several processes.

    ``application`` is the role that uses isolated tables.
    """
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(**{WRITE: True})
            async with connection.begin():
                await connection.run_sync(lock_schema)
                await connection.run_sync(tables.metadata.create_all)
                await connection.run_sync(prepare_partitions, tables.metadata)
                await connection.run_sync(prepare_triggers, tables.metadata)
                await connection.run_sync(isolate, tables.metadata, application)


def _kind_table(kind: Kind, metadata: sa.MetaData, keys: KeyRing | None) -> KindTable:
    codec = Codec(kind, keys)
    ids = kind.pattern.columns
    if clash := set(ids) & set(codec.fields):
        raise CatalogueError(
            kind.descriptor.full_name, f"its field {min(clash)!r} is a column of its name"
        )
    history = kind.option.history
    partition = partition_of(kind)
    if history:
        _check_history(kind, codec)
    moments = [VALID_FROM] if history else []
    table = sa.Table(
        kind.collection,
        metadata,
        *(sa.Column(column, id_type(), nullable=False) for column in ids),
        *(_column(field, key=field.name in moments) for field in codec.fields.values()),
        sa.PrimaryKeyConstraint(*ids, *moments),
        info={RIGHTS: kind.option.rights} | ({PARTITION: partition} if partition else {}),
        postgresql_partition_by=PARTITION_KEY if partition else None,
    )
    _add_checks(table, codec)
    _add_indexes(table, kind)
    return KindTable(kind, table, codec)


def _check_history(kind: Kind, codec: Codec) -> None:
    for name in (VALID_FROM, VALID_TO):
        field = codec.fields.get(name)
        if field is None or not isinstance(column_type(field), Timestamp):
            raise CatalogueError(
                kind.descriptor.full_name, f"keeps history and has no timestamp {name!r}"
            )


def _column(field: FieldDescriptor, *, key: bool) -> "sa.Column[object]":
    return sa.Column(
        field.name,
        column_type(field),
        nullable=nullable(field) and not key,
        info={LEASE: field_option(field).lease},
    )


def _is_current(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c[VALID_TO].is_(None)


def _add_checks(table: sa.Table, codec: Codec) -> None:
    for name, field in codec.fields.items():
        if field_option(field).references or not is_kept_plain(field):
            # Bounds are of the full name, and the column holds an id; or of what was sent.
            continue
        for rule, condition in bounds(field, table.c[name]):
            _check(table, condition, name, rule)
    for oneof, members in _oneofs(codec).items():
        present = [sa.case((table.c[name].is_not(None), 1), else_=0) for name in members]
        if len(present) > 1:
            _check(table, sum(present[1:], start=present[0]) <= 1, oneof.name, "oneof")


def _check(table: sa.Table, condition: sa.ColumnElement[bool], field: str, rule: str) -> None:
    table.append_constraint(
        sa.CheckConstraint(
            condition,
            name=_identifier("ck", table.name, field, rule),
            info={FIELD: field, RULE: rule},
        )
    )


def broken_bound(table: sa.Table, check: str) -> tuple[str, str]:
    """Give the field and the rule of a CHECK by its name."""
    for constraint in table.constraints:
        if constraint.name == check:
            return constraint.info[FIELD], constraint.info[RULE]
    return check, "presence"


def _oneofs(codec: Codec) -> dict[OneofDescriptor, list[str]]:
    found: dict[OneofDescriptor, list[str]] = {}
    for name, field in codec.fields.items():
        if field.containing_oneof is not None:
            found.setdefault(field.containing_oneof, []).append(name)
    return found


def _add_indexes(table: sa.Table, kind: Kind) -> None:
    _, *rest = kind.pattern.columns
    if kind.option.history:
        _index(table, kind, (*rest,), unique=True)
    fields = (*kind.envelope_fields, *kind.descriptor.fields)
    for field in fields:
        option = field_option(field)
        if (option.indexed or option.unique) and not is_indexed_list(field):
            _index(table, kind, (field.name,), unique=option.unique)
    for index in kind.option.indexes:
        _index(table, kind, tuple(index.fields), unique=index.unique)
    if kind.option.natural_key:
        _natural_key(table, kind, tuple(kind.option.natural_key))


def _natural_key(table: sa.Table, kind: Kind, fields: tuple[str, ...]) -> None:
    """Add the unique index of a natural key: an absent part is a value like others, but the last.

    Where that may be absent, a row without it has no key, and the index leaves it out.
    SQLite, where NULL never equals NULL, has it over expressions that are not NULL.
    """
    name = _identifier("uq", table.name, *fields)
    tenant = table.c[kind.pattern.columns[0]]
    columns = [table.c[field] for field in fields]
    optional = [column for column in columns if column.nullable and column.name != kind.key_needs]
    if not optional and not kind.key_needs:
        _index(table, kind, fields, unique=True)
        return
    needed = (kind.key_needs,) if kind.key_needs else ()
    conditions: list[sa.ColumnElement[bool]] = [table.c[each].is_not(None) for each in needed]
    if kind.option.history:
        conditions.append(_is_current(table))
    where = sa.and_(*conditions) if conditions else None
    info: dict[str, Any] = {UNIQUE_FIELDS: fields, NEEDED: needed, PARTIAL: bool(needed)}
    plain = [_never_null(each) if each in optional else each for each in columns]
    for database, parts in (
        ("postgresql", columns),
        ("sqlite", [*plain, *(each.is_(None) for each in optional)]),
    ):
        index = sa.Index(
            name,
            tenant,
            *parts,
            unique=True,
            info=info | {DATABASE: database},
            sqlite_where=where,
            postgresql_where=where,
            postgresql_nulls_not_distinct=True,
        )
        index.ddl_if(dialect=database)


def _never_null(column: "sa.Column[Any]") -> "sa.ColumnElement[Any]":
    return sa.func.ifnull(column, sa.literal_column("''"))


def _index(table: sa.Table, kind: Kind, fields: tuple[str, ...], *, unique: bool) -> None:
    """Add an index led by the tenant; with history it covers the current versions."""
    prefix = "uq" if unique else "ix"
    current = _is_current(table) if kind.option.history else None
    sa.Index(
        _identifier(prefix, table.name, *fields),
        table.c[kind.pattern.columns[0]],
        *(table.c[field] for field in fields),
        unique=unique,
        info={UNIQUE_FIELDS: fields, NEEDED: fields} if unique else None,
        sqlite_where=current,
        postgresql_where=current,
    )


def _identifier(*parts: str) -> str:
    """Give the name of a constraint or index, shortened with a digest if too long."""
    name = "_".join(parts)
    if len(name) <= _LONGEST_NAME:
        return name
    digest = sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9]}_{digest}"
