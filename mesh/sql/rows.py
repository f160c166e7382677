"""Single resources written one at a time, and what stands in their way in the caller's terms."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ReferenceNotFound, ResourceExists, ResourceNotFound, ResourceReferenced
from mesh.sql import engine as dialect
from mesh.sql.counting import COUNTED
from mesh.sql.references import ID, referrers
from mesh.sql.store import Store, refusal
from mesh.sql.tables import NEEDED, UNIQUE_FIELDS, VALID_FROM, VALID_TO, KindTable
from mesh.sql.values import timestamp_parts


class Rows:
    """Finds, adds, replaces and removes resources within a transaction.

    What is refused leaves the transaction as it was before. Of kinds with history, replacing
    and removing close the current version at a moment, in microseconds since 1970, and
    nothing that was ever written is lost.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(
        self, connection: AsyncConnection, target: KindTable, name: str
    ) -> Message | None:
        """Give a resource with its secrets, None if there is none; it is ours until the end."""
        try:
            return await self._store.get(
                target.kind.collection, name, connection=connection, secrets=True
            )
        except ResourceNotFound:
            return None

    async def add(
        self, connection: AsyncConnection, target: KindTable, message: Message, moment: int
    ) -> None:
        """Add a resource; ResourceExists names the one that is there already."""
        row = self._row(target, message, moment)
        if target.current is not None:
            # The id alone is no key here: several versions have it.
            self._open(row, await self._last_closed(connection, target, row), message)
        statement = sa.insert(target.table).values(row)
        counted = target.table.info[COUNTED]
        if not counted:
            await self._run(connection, target, statement, message, row)
            return
        returning = statement.returning(*(target.table.c[name] for name in counted))
        [numbers] = await self._run(connection, target, returning, message, row)
        for name, number in zip(counted, numbers, strict=True):
            setattr(getattr(message, target.kind.body_field or ""), name, number)

    async def replace(
        self, connection: AsyncConnection, target: KindTable, message: Message, moment: int
    ) -> None:
        """Write a resource that ``find`` gave anew; with history, as a version of its own."""
        row = self._row(target, message, moment)
        if target.current is None:
            keys = target.kind.pattern.columns
            values = {name: value for name, value in row.items() if name not in keys}
            statement = self._of(self._update(target, row), target, row).values(values)
            await self._run(connection, target, statement, message, row)
            return
        async with connection.begin_nested():
            self._open(row, await self._close(connection, target, row), message)
            await self._run(connection, target, sa.insert(target.table).values(row), message, row)

    async def remove(
        self, connection: AsyncConnection, target: KindTable, name: str, moment: int
    ) -> None:
        """Delete a resource that ``find`` gave; with history, end it."""
        row: dict[str, Any] = {**target.codec.ids(name), VALID_FROM: moment}
        if target.current is not None:
            await self._close(connection, target, row)
            return
        statement = self._of(
            self._store.delete(target.kind.collection, self._tenant(target, row)), target, row
        )
        try:
            async with connection.begin_nested():
                await connection.execute(statement)
        except sa.exc.IntegrityError as error:
            if not dialect.violates_reference(error):
                raise
            referrer = await self._referrer(connection, target, row)
            raise ResourceReferenced(name, referrer) from error

    async def _referrer(
        self, connection: AsyncConnection, target: KindTable, row: dict[str, Any]
    ) -> str:
        """Find a collection with a resource that refers to a row and keeps it."""
        tenant = self._tenant(target, row)
        for collection, field in referrers(self._store.tables.kinds, target.kind.collection):
            rows = self._store.select(collection, tenant, [ID])
            column = self._store.target(collection).table.c[field]
            if await self._store.fetch(rows.where(column == row[ID]).limit(1), connection):
                return collection
        # What a cascade would delete is referred to in its turn.
        return "resources"

    async def _missing(
        self, connection: AsyncConnection, target: KindTable, row: dict[str, Any]
    ) -> tuple[str, str]:
        """Find the reference of a row that leads nowhere, and the name it holds."""
        tenant = self._tenant(target, row)
        for field, pattern in target.kind.references.items():
            if row[field] is None:
                continue
            name = pattern.format(tenant, row[field])
            collection = name.split("/")[2]
            rows = self._store.select(collection, tenant, [ID])
            wanted = rows.where(self._store.target(collection).table.c[ID] == row[field])
            if not await self._store.fetch(wanted, connection):
                return field, name
        return "", ""

    def _row(self, target: KindTable, message: Message, moment: int) -> dict[str, Any]:
        row = target.codec.row(message)
        if target.current is not None:
            row[VALID_FROM], row[VALID_TO] = moment, None
        return row

    @staticmethod
    def _open(row: dict[str, Any], closed: int | None, message: Any) -> None:
        """Date a version after the one before, even within one microsecond."""
        if closed is not None:
            row[VALID_FROM] = max(row[VALID_FROM], closed)
        message.ClearField(VALID_TO)
        stamp = timestamp_parts(row[VALID_FROM])
        message.valid_from.seconds, message.valid_from.nanos = stamp["seconds"], stamp["nanos"]

    async def _close(
        self, connection: AsyncConnection, target: KindTable, row: dict[str, Any]
    ) -> int:
        """End the current version and give when: after it began."""
        table = target.table
        began = await connection.scalar(
            self._of(
                self._store.select(target.kind.collection, self._tenant(target, row), [VALID_FROM]),
                target,
                row,
            )
        )
        moment: int = max(row[VALID_FROM], (began or 0) + 1)
        await connection.execute(
            self._of(self._update(target, row), target, row).values({table.c[VALID_TO]: moment})
        )
        return moment

    async def _last_closed(
        self, connection: AsyncConnection, target: KindTable, row: dict[str, Any]
    ) -> int | None:
        column = target.table.c[VALID_TO]
        past = self._store.select(
            target.kind.collection, self._tenant(target, row), [VALID_TO], past=True
        )
        latest = self._of(past, target, row).with_only_columns(column)
        found: int | None = await connection.scalar(
            latest.order_by(column.desc().nulls_last()).limit(1)
        )
        return found

    async def _run(
        self,
        connection: AsyncConnection,
        target: KindTable,
        statement: Any,
        message: Message,
        row: dict[str, Any],
    ) -> Sequence[Any]:
        """Write a row; give what the statement returns."""
        try:
            async with connection.begin_nested():
                done = await connection.execute(statement)
                return done.all() if done.returns_rows else ()
        except sa.exc.IntegrityError as error:
            if dialect.violates_unique(error):
                replaces = isinstance(statement, sa.Update) or target.current is not None
                name = await self._existing(connection, target, row, replaces=replaces)
                raise ResourceExists(name or message.name) from error  # type: ignore[attr-defined]  # every kind has a name
            if dialect.violates_reference(error):
                raise ReferenceNotFound(*await self._missing(connection, target, row)) from error
            raise refusal(error, target, [message]) from error

    async def _existing(
        self,
        connection: AsyncConnection,
        target: KindTable,
        row: dict[str, Any],
        *,
        replaces: bool,
    ) -> str | None:
        """Find the resource that has what must be unique."""
        columns = target.kind.pattern.columns
        own = tuple(row[each] for each in columns)
        table = target.table
        for fields in _unique_fields(target, row):
            statement = self._store.select(
                target.kind.collection, self._tenant(target, row), columns
            ).where(*(table.c[name].is_not_distinct_from(row[name]) for name in fields))
            for found in await self._store.fetch(statement.limit(2), connection):
                # A row that is replaced is not in its own way.
                if not replaces or tuple(found) != own:
                    return target.kind.pattern.format(*found)
        return None

    @staticmethod
    def _tenant(target: KindTable, row: dict[str, Any]) -> str:
        tenant: str = row[target.kind.pattern.columns[0]]
        return tenant

    def _update(self, target: KindTable, row: dict[str, Any]) -> sa.Update:
        return self._store.update(target.kind.collection, self._tenant(target, row))

    @staticmethod
    def _of(statement: Any, target: KindTable, row: dict[str, Any]) -> Any:
        """Narrow a tenant's statement to the resource of a row."""
        columns = target.kind.pattern.columns
        return statement.where(*(target.table.c[name] == row[name] for name in columns))


def _unique_fields(target: KindTable, row: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Give the fields that together can be another's already."""
    yield target.kind.pattern.columns
    for index in target.table.indexes:
        fields = index.info.get(UNIQUE_FIELDS, ())
        if fields and all(row[each] is not None for each in index.info[NEEDED]):
            yield fields
