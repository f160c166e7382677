"""The store of one service: every statement begins from the rows of one tenant."""

import contextlib
import hmac
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.cel import Environment, TableColumns
from mesh.cel.dialects import DIALECTS
from mesh.contract.names import tenant_of
from mesh.errors import (
    FieldInvalid,
    KindUnknown,
    ResourceExists,
    ResourceNotFound,
)
from mesh.sql import engine as dialect
from mesh.sql.moments import valid_at
from mesh.sql.order import after, order_clauses, parse_order
from mesh.sql.paging import Page, PageTokens, page_limit
from mesh.sql.past import earliest, require_known, rows_at
from mesh.sql.removed_tenants import RemovedTenants
from mesh.sql.sightings import Rows
from mesh.sql.tables import KindTable, Tables, broken_bound
from mesh.sql.tenancy import ACTING_FOR
from mesh.sql.transactions import Transactions

TENANT = "tenant_id"
_BATCH = 500
"""Rows written at once."""


class Store(Transactions):
    """Reads and writes the messages of a catalogue.

    A database that does not answer is DependencyUnavailable from every call.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        tables: Tables,
        *,
        page_key: bytes,
        owner: AsyncEngine | None = None,
    ) -> None:
        """Use engines that the caller disposes of; ``page_key`` signs page tokens.

        ``owner`` sees the rows of all tenants, where the database keeps tenants apart.
        """
        removed = None if tables.removed is None else RemovedTenants(tables.removed)
        super().__init__(engine, owner, isolated=tables.isolated, removed=removed)
        self.tables = tables
        self.dialect = DIALECTS[self.database]
        """How conditions are written for this database."""
        self.tokens = PageTokens(page_key)
        self.etag_key = hmac.digest(page_key, b"etag", "sha256")
        """Keeps etags from telling what the secrets of a record are."""

    def target(self, collection: str) -> KindTable:
        """Give the table of a collection; KindUnknown if there is none."""
        if collection not in self.tables:
            raise KindUnknown(collection)
        return self.tables[collection]

    def select(
        self,
        collection: str,
        tenant: str,
        columns: Sequence[str] = (),
        *,
        past: bool = False,
        read_time: int | None = None,
    ) -> sa.Select[Any]:
        """Select a tenant's rows: current versions, or with ``past`` every version.

        With ``read_time`` (microseconds since 1970) the versions that were current then;
        FieldInvalid for a kind without history. Without ``columns`` all are selected, in
        the order of the codec.
        """
        target = self.target(collection)
        chosen = [target.rows.c[name] for name in columns or target.codec.columns]
        statement = sa.select(*chosen).where(target.table.c[TENANT] == tenant)
        if self.isolated:
            statement = statement.execution_options(**{ACTING_FOR: tenant})
        if read_time is not None:
            return statement.where(valid_at(target, read_time))
        if target.current is None or past:
            return statement
        return statement.where(target.current)

    def update(self, collection: str, tenant: str) -> sa.Update:
        """Update a tenant's rows; of kinds with history the current versions."""
        target = self.target(collection)
        statement = sa.update(target.table).where(target.table.c[TENANT] == tenant)
        return statement if target.current is None else statement.where(target.current)

    def delete(self, collection: str, tenant: str) -> sa.Delete:
        """Delete a tenant's rows, every version of them."""
        table = self.target(collection).table
        return sa.delete(table).where(table.c[TENANT] == tenant)

    async def messages(
        self,
        collection: str,
        statement: sa.Select[Any],
        *,
        connection: AsyncConnection | None = None,
        secrets: bool = False,
    ) -> list[Message]:
        """Run a SELECT of a collection's columns and give its messages."""
        rows = await self.fetch(statement, connection)
        return self.decoded(collection, statement, rows, secrets=secrets)

    def decoded(
        self,
        collection: str,
        statement: sa.Select[Any],
        rows: Iterable[sa.Row[Any]],
        *,
        secrets: bool = False,
    ) -> list[Message]:
        """Give the messages of the rows that a SELECT of a collection's columns gave."""
        columns = [column.name for column in statement.selected_columns]
        decode = self.target(collection).codec.decoder(columns, secrets=secrets)
        return [decode(row) for row in rows]

    async def get(
        self,
        collection: str,
        name: str,
        *,
        columns: Sequence[str] = (),
        read_time: int | None = None,
        connection: AsyncConnection | None = None,
        secrets: bool = False,
    ) -> Message:
        """Give the resource of a name, in its current version; ResourceNotFound if none.

        ``columns`` limits what is read. ``read_time`` asks for the past (see ``select``): that
        of kinds without history is read from the change feed, ReadTimeGone.
        Without ``secrets``, fields of SECRET sensitivity are left out.
        """
        target = self.target(collection)
        ids = target.kind.pattern.parse(name)
        if ids is None:
            raise ResourceNotFound(name)
        codec = target.codec
        shown = codec.columns if secrets else codec.public_columns
        source = self._source(target, ids[0], read_time)
        statement = self._under(target, source, ids, columns or shown, read_time)
        if connection is not None and dialect.locks_rows(connection):
            statement = statement.with_for_update()
        async with self._reader(source, ids[0], read_time, connection) as reader:
            found = await self.messages(collection, statement, connection=reader, secrets=secrets)
        if not found:
            raise ResourceNotFound(name)
        return found[0]

    async def page(
        self,
        collection: str,
        parent: str,
        *,
        filter: str = "",  # noqa: A002  # AIP-132's own name
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        columns: Sequence[str] = (),
        read_time: int | None = None,
        connection: AsyncConnection | None = None,
    ) -> Page:
        """Give one page of the resources under a parent, without fields of SECRET sensitivity.

        ``parent`` is the name before the collection (``tenants/t``, ``tenants/t/syncs/s``)
        or, for records, the collection itself (``tenants/t/iam_users``). Rows that were
        there when the first page was read come exactly once, whatever is added meanwhile.
        ``read_time`` (see ``get``) lists the past; tokens are bound to it.
        Raises FilterInvalid, OrderInvalid, PageTokenInvalid, FieldInvalid, ReadTimeGone.
        """
        target = self.target(collection)
        ids = _parent_ids(target, parent)
        limit = page_limit(page_size)
        keys = parse_order(order_by, target)
        request = (collection, *ids, filter, order_by, _told_moment(read_time))
        chosen = list(columns or target.codec.public_columns)
        fetched = [*chosen, *(key.column for key in keys if key.column not in chosen)]
        source = self._source(target, ids[0], read_time)
        statement = self._under(target, source, ids, fetched, read_time)
        read: Rows = target.rows if source is target.table else source
        if filter:
            statement = statement.where(self.condition(target, filter, read))
        if page_token:
            statement = statement.where(after(read, keys, self.tokens.read(request, page_token)))
        statement = statement.order_by(*order_clauses(read, keys)).limit(limit + 1)
        async with self._reader(source, ids[0], read_time, connection) as reader:
            rows = await self.fetch(statement, reader)
        token = ""
        if len(rows) > limit:
            last = rows[limit - 1]
            token = self.tokens.write(request, [last[fetched.index(k.column)] for k in keys])
        decode = target.codec.decoder(chosen)
        return Page([decode(row) for row in rows[:limit]], token)

    def _source(self, target: KindTable, tenant: str, read_time: int | None) -> sa.FromClause:
        """Give what is read: the table of a kind, or its rows as the change feed tells them."""
        changes, kind = self.tables.changes, target.kind
        kept = read_time is None or kind.option.history
        if kept or changes is None or kind.envelope is None or self.database != dialect.POSTGRESQL:
            return target.table
        return rows_at(target, changes[0], tenant, read_time or 0)

    @contextlib.asynccontextmanager
    async def _reader(
        self,
        source: sa.FromClause,
        tenant: str,
        read_time: int | None,
        connection: AsyncConnection | None,
    ) -> AsyncIterator[AsyncConnection | None]:
        """Give what to read a source with; ReadTimeGone if changes since then were forgotten."""
        changes = self.tables.changes
        if isinstance(source, sa.Table) or changes is None:
            yield connection
            return
        async with contextlib.AsyncExitStack() as stack:
            # What is known and what is read are of one snapshot.
            reader = (
                await stack.enter_async_context(self.connection(tenant))
                if connection is None
                else connection
            )
            for row in await self.fetch(earliest(changes[1], tenant), reader):
                require_known(read_time or 0, row[0])
            # Without statistics of a fresh table, rows and changes would be compared one by one.
            await reader.execute(sa.select(sa.func.set_config("enable_nestloop", "off", True)))
            yield reader

    def _under(
        self,
        target: KindTable,
        source: sa.FromClause,
        ids: Sequence[str],
        columns: Sequence[str],
        read_time: int | None = None,
    ) -> sa.Select[Any]:
        """Select the rows whose names begin with these ids, tenant first."""
        if source is target.table:
            statement = self.select(target.kind.collection, ids[0], columns, read_time=read_time)
        else:
            statement = sa.select(*(source.c[name] for name in columns))
        return statement.where(*_equal(source, target.kind.pattern.columns, ids))

    def condition(
        self, target: KindTable, expression: str, source: Rows | None = None
    ) -> sa.ColumnElement[bool]:
        """Write a CEL condition over the rows of a kind, read from its table; FilterInvalid."""
        condition = Environment.of_kind(target.kind).compile(expression)
        rows = target.rows if source is None else source
        columns = TableColumns(rows, target.kind, self.dialect)
        return condition.to_sql(columns, dialect=self.dialect)

    async def insert(
        self, connection: AsyncConnection, collection: str, messages: Iterable[Message]
    ) -> None:
        """Add resources. Raises ResourceExists and FieldInvalid, then the block must end."""
        await self._write(connection, collection, messages, replace=False)

    async def upsert(
        self, connection: AsyncConnection, collection: str, messages: Iterable[Message]
    ) -> None:
        """Add resources or replace those of the same name (and, with history, valid_from)."""
        await self._write(connection, collection, messages, replace=True)

    async def delete_under(
        self, connection: AsyncConnection, collection: str, parent_name: str
    ) -> int:
        """Delete every resource under a parent, all versions, and give how many rows."""
        target = self.target(collection)
        ids = _parent_ids(target, parent_name)
        statement = self.delete(collection, ids[0]).where(
            *_equal(target.table, target.kind.pattern.columns, ids)
        )
        return (await connection.execute(statement)).rowcount

    async def fetch(
        self, statement: sa.Select[Any], connection: AsyncConnection | None = None
    ) -> Sequence[sa.Row[Any]]:
        """Run a SELECT and give its rows."""
        if connection is not None:
            rows: Sequence[sa.Row[Any]] = (await connection.execute(statement)).all()
            return rows
        async with self.connection(statement.get_execution_options().get(ACTING_FOR)) as reader:
            return await self.fetch(statement, reader)

    async def _write(
        self,
        connection: AsyncConnection,
        collection: str,
        messages: Iterable[Message],
        *,
        replace: bool,
    ) -> None:
        target = self.target(collection)
        table, encode = target.table, target.codec.row
        statement = dialect.upsert(table, self.database) if replace else sa.insert(table)
        remaining = iter(messages)
        # Other calls are served between the batches.
        while batch := list(islice(remaining, _BATCH)):
            try:
                await connection.execute(statement, [encode(message) for message in batch])
            except sa.exc.IntegrityError as error:
                raise refusal(error, target, batch) from error


def _equal(
    table: sa.FromClause, columns: Sequence[str], ids: Sequence[str]
) -> list[sa.ColumnElement[bool]]:
    """Give the conditions that the first id columns have these values."""
    return [table.c[column] == value for column, value in zip(columns, ids, strict=False)]


def _told_moment(read_time: int | None) -> str:
    """Write a moment of the past as tokens are bound to it; empty for the present."""
    return "" if read_time is None else str(read_time)


def _parent_ids(target: KindTable, parent: str) -> tuple[str, ...]:
    pattern = target.kind.pattern
    ids = pattern.parent.parse(parent)
    if ids is None and target.kind.envelope is not None:
        ids = pattern.parent.parse(parent.removesuffix(f"/{target.kind.collection}"))
    if ids is None or tenant_of(parent) != ids[0]:
        raise FieldInvalid.of("parent", f"must be of the form {pattern.parent.text}")
    return ids


def refusal(
    error: sa.exc.IntegrityError, target: KindTable, messages: Sequence[Message]
) -> Exception:
    """Say in the caller's terms what a row broke."""
    if dialect.violates_unique(error):
        name: str = messages[0].name  # type: ignore[attr-defined]  # every kind has a name
        return ResourceExists(
            name if len(messages) == 1 else f"one of {len(messages)} {target.kind.collection}"
        )
    if check := dialect.violated_check(error):
        field, rule = broken_bound(target.table, check)
        return FieldInvalid.of(field, f"breaks its bound {rule}")
    return error
