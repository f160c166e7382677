"""Triggers that write the change feed, in the transaction of each write and whatever its way.

PostgreSQL: one statement for all rows that a statement touched (transition tables), so that
bulk writes stay sets; the function switches nested loops off, since a plan that was made for
one row is kept for many. SQLite: one for each row. Rows that are the same afterwards write
nothing. What is kept of a row is JSON of its columns without fields of SECRET sensitivity, at
any depth; timestamps and bytes are as the database writes them (``mesh.sql.change_rows``). Of
what a row was before an update PostgreSQL keeps the columns that differ: most rows stay short
enough to be stored in one piece.
"""

# ruff: noqa: S608 - all names are of the contract, and nothing is a caller's

from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa

from mesh.contract.catalogue import Kind
from mesh.sql.change_columns import json_columns
from mesh.sql.change_table import (
    ACTOR,
    AFTER,
    BEFORE,
    CHANGE,
    CHANGES,
    COLLECTION,
    FLOORS,
    RECORD,
    REQUEST,
    SEQUENCE,
    TENANT,
    TIME,
    TRANSACTION,
    Change,
)
from mesh.sql.codec import Codec
from mesh.sql.settings import ACTING, SILENT
from mesh.sql.settings import REQUEST as CALLING
from mesh.sql.sightings import GROUP, sightings_of
from mesh.sql.triggers import Maker, Trigger

CHANNEL = "secmesh_record_changes"
"""PostgreSQL's channel of notifications that changes were committed."""
_NOW = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"
_TARGET = (
    f"INSERT INTO {CHANGES} ({TENANT}, {TRANSACTION}, {COLLECTION}, {RECORD}, "
    f"{CHANGE}, {TIME}, {ACTOR}, {REQUEST}, {BEFORE}, {AFTER})"
)
_ARGUMENTS = 90
"""Of one call of a function; PostgreSQL takes 100."""
_PRINTED = 90
"""Columns in one call of a function; SQLite takes 100 arguments or more."""
Named = Callable[..., str]


def change_triggers(table: sa.Table, kind: Kind, codec: Codec, named: Named) -> Maker:
    """Give the triggers of a record kind's table."""

    def make(dialect: sa.Dialect) -> Iterator[Trigger]:
        text = _Postgres if dialect.name == "postgresql" else _Sqlite
        return text(table, kind, codec, named).triggers()

    return make


class _Text:
    """What both databases have in common."""

    def __init__(self, table: sa.Table, kind: Kind, codec: Codec, named: Named) -> None:
        self.table = table
        self.kind = kind
        self.codec = codec
        self.name = named("changes", table.name)
        self._named = named
        self.history = kind.option.history
        self._sightings = sightings_of(table)

    def trigger_name(self, event: str) -> str:
        return self._named("changes", self.table.name, event)


class _Postgres(_Text):
    def triggers(self) -> Iterator[Trigger]:
        head = (
            f'CREATE OR REPLACE FUNCTION "{self.name}"() RETURNS trigger LANGUAGE plpgsql '
            "SET enable_nestloop = off"
        )
        tables = {
            "INSERT": "NEW TABLE AS new_rows",
            "UPDATE": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
            "DELETE": "OLD TABLE AS old_rows",
        }
        for event, rows in tables.items():
            name = self.trigger_name(event.lower())
            text = (
                f'CREATE TRIGGER "{name}" AFTER {event} ON "{self.table.name}" '
                f'REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION "{self.name}"()'
            )
            yield Trigger(name, self.table.name, text, self.name, self._body(), head)

    def _body(self) -> str:
        return f"""
BEGIN
  IF current_setting('{SILENT}', true) = 'on' THEN
    RETURN NULL;
  ELSIF TG_OP = 'INSERT' THEN
    {self._inserted()};
  ELSIF TG_OP = 'UPDATE' THEN
    {self._updated()};
  ELSE
    {self._deleted()};
  END IF;
  IF FOUND THEN
    PERFORM pg_notify('{CHANNEL}', '');
  END IF;
  RETURN NULL;
END
"""

    def _inserted(self) -> str:
        if not self.history:
            made = self._whole("n") or self._json("n", new=True)
            select = self._select("n", str(Change.CREATED.value), "NULL", made)
            return f"{select} FROM new_rows n"
        # The version that ended when this one began, if one did.
        before = (
            f'(SELECT {self._json("p")} FROM "{self.table.name}" p WHERE p.tenant_id = n.tenant_id '
            "AND p.id = n.id AND p.valid_to = n.valid_from LIMIT 1)"
        )
        change = f"CASE WHEN v.{BEFORE} IS NULL THEN {Change.CREATED} ELSE {Change.UPDATED} END"
        rows = (
            f"(SELECT n.tenant_id, n.id, {before} AS {BEFORE}, {self._json('n')} AS {AFTER} "
            "FROM new_rows n WHERE n.valid_to IS NULL) v"
        )
        return f"{self._select('v', change, f'v.{BEFORE}', f'v.{AFTER}')} FROM {rows}"

    def _updated(self) -> str:
        change, before, after = str(Change.UPDATED.value), self._differing(), self._json("n")
        condition = "o IS DISTINCT FROM n"
        if self.history:
            current = "CASE WHEN n.valid_to IS NULL THEN"
            change = f"{current} {Change.UPDATED} ELSE {Change.CLOSED} END"
            before = f"{current} {self._json('o')} ELSE {self._json('n')} END"
            after = f"{current} {self._json('n')} END"
            condition += " AND o.valid_to IS NULL"
        key = ", ".join(f'"{column.name}"' for column in self.table.primary_key.columns)
        rows = f"FROM old_rows o JOIN new_rows n USING ({key}) WHERE {condition}"
        return f"{self._select('n', change, before, after)} {rows}"

    def _deleted(self) -> str:
        select = self._select("o", str(Change.DELETED.value), self._json("o"), "NULL")
        return f"{select} FROM old_rows o" + (" WHERE o.valid_to IS NULL" if self.history else "")

    def _select(self, row: str, change: str, before: str, after: str) -> str:
        return (
            f"{_TARGET} SELECT {row}.tenant_id, pg_current_xact_id()::text::bigint, "
            f"'{self.kind.collection}', {row}.id, {change}, statement_timestamp(), "
            f"NULLIF(current_setting('{ACTING}', true), ''), "
            f"NULLIF(current_setting('{CALLING}', true), ''), {before}, {after}"
        )

    def _differing(self) -> str:
        """Write JSON of the columns that an update changed, as they were."""
        parts = [
            f"""CASE WHEN {self._read("o", name)} IS DISTINCT FROM {self._read("n", name)} """
            f"""THEN '"{name}":' || coalesce(to_json({text})::text, 'null') END"""
            for name, text in self._columns("o")
        ]
        joined = [
            f"nullif(concat_ws(',', {', '.join(parts[start : start + _ARGUMENTS])}), '')"
            for start in range(0, len(parts), _ARGUMENTS)
        ]
        return f"'{{' || concat_ws(',', {', '.join(joined)}) || '}}'"

    def _whole(self, row: str) -> str:
        """Write JSON of a row with its ids, if all of it may be shown: the fastest way."""
        plain = dict(json_columns(self.codec, row, "postgresql"))
        fields = set(self.codec.columns) - set(self.kind.pattern.columns)
        bare = all(text == f'{row}."{name}"' for name, text in plain.items())
        return f"row_to_json({row})::text" if bare and set(plain) == fields else ""

    def _json(self, row: str, *, new: bool = False) -> str:
        columns = ", ".join(f'{text} AS "{name}"' for name, text in self._columns(row, new=new))
        return f"(SELECT row_to_json(r)::text FROM (SELECT {columns}) r)"

    def _columns(self, row: str, *, new: bool = False) -> Iterator[tuple[str, str]]:
        """Give what is kept of a row: a new one says itself by what it was last seen."""
        for name, text in json_columns(self.codec, row, "postgresql"):
            yield name, text if new or not self._is_seen(name) else self._read(row, name)
        if self._sightings is not None:
            # For its past: ``mesh.sql.past``.
            yield GROUP, f'{row}."{GROUP}"'

    def _is_seen(self, name: str) -> bool:
        seen = self._sightings
        return seen is not None and name in (seen.time, seen.by)

    def _read(self, row: str, name: str) -> str:
        if self._sightings is not None and self._is_seen(name):
            return self._sightings.text(row, name)
        return f'{row}."{name}"'


class _Sqlite(_Text):
    """Every connection parses all triggers and keeps them: what is short costs it less.

    A column costs three nodes as NEW."a" and one as "a", so that a row that is there is read back.
    """

    def triggers(self) -> Iterator[Trigger]:
        new, old = self._stored("rowid = NEW.rowid"), self._json("OLD")
        if not self.history:
            yield self._trigger("INSERT", "NEW", "", str(Change.CREATED.value), "NULL", new)
            yield self._trigger(
                "UPDATE", "NEW", self._differs(), str(Change.UPDATED.value), old, new
            )
            yield self._trigger("DELETE", "OLD", "", str(Change.DELETED.value), old, "NULL")
            return
        ended = "tenant_id = NEW.tenant_id AND id = NEW.id AND valid_to = NEW.valid_from LIMIT 1"
        replaces = f'(SELECT 1 FROM "{self.table.name}" WHERE {ended})'
        change = f"CASE WHEN {replaces} IS NULL THEN {Change.CREATED} ELSE {Change.UPDATED} END"
        before = self._stored(ended)
        yield self._trigger("INSERT", "NEW", "NEW.valid_to IS NULL", change, before, new)
        current = "CASE WHEN NEW.valid_to IS NULL THEN"
        yield self._trigger(
            "UPDATE",
            "NEW",
            f"OLD.valid_to IS NULL AND {self._differs()}",
            f"{current} {Change.UPDATED} ELSE {Change.CLOSED} END",
            f"{current} {old} ELSE n.j END",
            f"{current} n.j END",
            f" FROM {new} n",
        )
        deleted = str(Change.DELETED.value)
        yield self._trigger("DELETE", "OLD", "OLD.valid_to IS NULL", deleted, old, "NULL")

    def _stored(self, which: str) -> str:
        """Read the JSON of a row that is in the table."""
        text = self._json(f'"{self.table.name}"', alone=True)
        return f'(SELECT {text} AS j FROM "{self.table.name}" WHERE {which})'

    def _differs(self) -> str:
        new, old = (
            ", ".join(f'{row}."{column.name}"' for column in self.table.columns)
            for row in ("NEW", "OLD")
        )
        return f"({new}) IS NOT ({old})"

    def _trigger(
        self,
        event: str,
        row: str,
        when: str,
        change: str,
        before: str,
        after: str,
        source: str = "",
    ) -> Trigger:
        name = self.trigger_name(event.lower())
        condition = f" WHEN {when}" if when else ""
        target = _TARGET.replace(f"{TRANSACTION}, ", f"{TRANSACTION}, {SEQUENCE}, ", 1)
        text = (
            f'CREATE TRIGGER "{name}" AFTER {event} ON "{self.table.name}"{condition} BEGIN '
            # Of a result without a name SQLite keeps the whole text as one.
            f"{target} SELECT {row}.tenant_id, 0, {_next(row)} AS s, '{self.kind.collection}', "
            f"{row}.id, {change} AS c, {_NOW} AS t, NULL, NULL, {before} AS b, {after} AS a"
            f"{source}; END"
        )
        return Trigger(name, self.table.name, text)

    def _json(self, row: str, *, alone: bool = False) -> str:
        columns = list(json_columns(self.codec, row, "sqlite", alone=alone))
        parts = (columns[at : at + _PRINTED] for at in range(0, len(columns), _PRINTED))
        return f"""'{{' || {" || ',' || ".join(map(_printed, parts))} || '}}'"""


def _printed(columns: Sequence[tuple[str, str]]) -> str:
    """Write columns as members of an object: no name in a contract holds a quote or a per cent."""
    members = ",".join(f'"{name}":%s' for name, _ in columns)
    return f"printf('{members}', {', '.join(text for _, text in columns)})"


def _next(row: str) -> str:
    """Count on from the last change of a tenant, forgotten ones too."""
    which = f"{TENANT} = {row}.tenant_id"
    last = f"(SELECT max({SEQUENCE}) FROM {CHANGES} WHERE {which} AND {TRANSACTION} = 0)"
    forgotten = f"(SELECT {SEQUENCE} FROM {FLOORS} WHERE {which})"
    return f"coalesce({last}, {forgotten}, 0) + 1"
