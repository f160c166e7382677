"""All SQL about persons; each statement begins from the rows of one tenant."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceExists
from services.crypto.keys.states import KeyState
from services.crypto.persons.person import PATTERN, IndexEntry, Person, Value
from services.crypto.suite.header import Tier, read_header
from services.crypto.tables import (
    BLIND_INDEXES,
    ENCRYPTION_METADATA,
    TENANT_KEYS,
    USER_VALUES,
    USERS,
)

_SEALED = "_encrypted"
_CLEAR_COLUMNS = frozenset(
    each.name
    for each in USERS.c
    if each.name not in ("tenant_id", "id", "revision") and isinstance(each.type, sa.Text)
)
_SEALED_COLUMNS = frozenset(
    each.name.removesuffix(_SEALED) for each in USERS.c if each.name.endswith(_SEALED)
)
_ROW = ("id", "revision", "created_at", "updated_at")


class PersonStore:
    """Reads and writes the persons of a tenant by the caller's connection."""

    async def insert(
        self, connection: AsyncConnection, tenant: str, people: Sequence[Person]
    ) -> dict[str, Person]:
        """Store persons, all or none; give them as they stand, by id. Raises ResourceExists."""
        rows = [
            {"tenant_id": tenant, "id": uuid.UUID(each.user_id), **_columns(each.values)}
            for each in people
        ]
        # A statement has one set of columns.
        names = {name for row in rows for name in row}
        complete = [{name: row.get(name) for name in names} for row in rows]
        statement = (
            insert(USERS)
            .on_conflict_do_nothing(index_elements=["tenant_id", "id"])
            .returning(*(USERS.c[name] for name in _ROW))
        )
        made = {str(row.id): row for row in await connection.execute(statement, complete)}
        for each in people:
            if each.user_id not in made:
                raise ResourceExists(PATTERN.format(tenant, each.user_id))
        await self._write_values(connection, tenant, people)
        return {
            each.user_id: _with_row(each.user_id, each.values, made[each.user_id])
            for each in people
        }

    async def get(
        self,
        connection: AsyncConnection,
        tenant: str,
        user_ids: Collection[str],
        *,
        for_update: bool = False,
    ) -> dict[str, Person]:
        """Give the persons of these ids that there are; with ``for_update`` they are locked."""
        ids = [uuid.UUID(each) for each in user_ids]
        statement = _select(tenant).where(USERS.c.id.in_(ids))
        if for_update:
            # In one order, so that two who want the same persons wait instead of failing.
            statement = statement.order_by(USERS.c.id).with_for_update()
        return await self._people(connection, tenant, statement)

    async def page(
        self, connection: AsyncConnection, tenant: str, after: str | None, limit: int
    ) -> list[Person]:
        """Give the persons after an id, in the order of ids: that in which they were stored."""
        statement = _select(tenant).order_by(USERS.c.id).limit(limit)
        if after is not None:
            statement = statement.where(USERS.c.id > uuid.UUID(after))
        return list((await self._people(connection, tenant, statement)).values())

    async def with_clear_value(
        self, connection: AsyncConnection, tenant: str, field: str, value: str, limit: int
    ) -> dict[str, Person]:
        """Give the persons who have a value in clear, exactly as it is written."""
        if field not in _CLEAR_COLUMNS:
            return {}
        statement = _select(tenant).where(USERS.c[field] == value).order_by(USERS.c.id)
        return await self._people(connection, tenant, statement.limit(limit))

    async def update(
        self,
        connection: AsyncConnection,
        tenant: str,
        person: Person,
        changed: Mapping[str, Value | None],
    ) -> Person:
        """Change values of a person who is locked; None takes one away."""
        values = {name: value for name, value in person.values.items() if name not in changed}
        values |= {name: value for name, value in changed.items() if value is not None}
        columns: dict[str, Any] = {}
        for name in changed:
            columns |= dict.fromkeys(_columns_of(name))
        columns |= {name: value for name, value in _columns(values).items() if name in columns}
        statement = (
            sa.update(USERS)
            .where(USERS.c.tenant_id == tenant, USERS.c.id == uuid.UUID(person.user_id))
            .values(revision=USERS.c.revision + 1, **columns)
            .returning(*(USERS.c[name] for name in _ROW))
        )
        row = (await connection.execute(statement)).one()
        await self._forget_values(connection, tenant, person.user_id, changed)
        kept = {name: value for name, value in values.items() if name in changed}
        await self._write_values(connection, tenant, [Person(person.user_id, kept)])
        return _with_row(person.user_id, values, row)

    async def replace_sealed(
        self,
        connection: AsyncConnection,
        tenant: str,
        user_id: str,
        changed: Mapping[str, tuple[bytes, bytes]],
    ) -> dict[str, bytes]:
        """Put sealed values in the place of those that still are what they were, by field.

        Gives them as they stand then. For what seals the same values anew: the revision stays.
        """
        user = uuid.UUID(user_id)
        stored: dict[str, bytes] = {}
        for name, (before, after) in changed.items():
            column = _column(name, before)
            if column is None:
                statement = (
                    sa.update(USER_VALUES)
                    .where(USER_VALUES.c.tenant_id == tenant, USER_VALUES.c.user_id == user)
                    .where(USER_VALUES.c.field_name == name)
                    .where(USER_VALUES.c.value_encrypted == before)
                    .values(value_encrypted=after)
                    .returning(USER_VALUES.c.value_encrypted)
                )
            else:
                statement = (
                    sa.update(USERS)
                    .where(USERS.c.tenant_id == tenant, USERS.c.id == user)
                    .where(USERS.c[column] == before)
                    .values({column: after})
                    .returning(USERS.c[column])
                )
            found = await connection.scalar(statement)
            if found is not None:
                stored[name] = bytes(found)
                await self._describe(connection, tenant, user, name, stored[name])
        return stored

    async def _describe(
        self, connection: AsyncConnection, tenant: str, user: uuid.UUID, name: str, blob: bytes
    ) -> None:
        table = ENCRYPTION_METADATA
        statement = sa.update(table).where(
            table.c.tenant_id == tenant, table.c.user_id == user, table.c.field_name == name
        )
        described = {**_metadata(name, blob), "kms_key_id": _kms_key(tenant)}
        await connection.execute(statement.values(described))

    async def delete(self, connection: AsyncConnection, tenant: str, user_id: str) -> None:
        """Remove a person with all that is known of the fields."""
        statement = sa.delete(USERS).where(
            USERS.c.tenant_id == tenant, USERS.c.id == uuid.UUID(user_id)
        )
        await connection.execute(statement)

    async def write_index(
        self, connection: AsyncConnection, tenant: str, entries: Mapping[str, Iterable[IndexEntry]]
    ) -> None:
        """Write the entries of persons' blind indexes, by user id; older ones are gone already."""
        rows = [
            {
                "tenant_id": tenant,
                "user_id": uuid.UUID(user_id),
                "field_name": each.field,
                "key_version": each.key_version,
                "index_value": each.value,
            }
            for user_id, made in entries.items()
            for each in made
        ]
        if rows:
            await connection.execute(sa.insert(BLIND_INDEXES), rows)

    async def candidates(
        self,
        connection: AsyncConnection,
        tenant: str,
        entries: Sequence[IndexEntry],
        after: str | None,
        limit: int,
    ) -> list[str]:
        """Give the ids after one of persons who have an index entry; others share it by chance."""
        table = BLIND_INDEXES
        same = [
            sa.and_(
                table.c.field_name == each.field,
                table.c.key_version == each.key_version,
                table.c.index_value == each.value,
            )
            for each in entries
        ]
        statement = (
            sa.select(table.c.user_id)
            .where(table.c.tenant_id == tenant, sa.or_(*same))
            .distinct()
            .order_by(table.c.user_id)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(table.c.user_id > uuid.UUID(after))
        return [str(each) for each in (await connection.execute(statement)).scalars()]

    async def _people(
        self, connection: AsyncConnection, tenant: str, statement: sa.Select[Any]
    ) -> dict[str, Person]:
        rows = (await connection.execute(statement)).mappings().all()
        values = {row["id"]: _values(row) for row in rows}
        if rows:
            beside = sa.select(
                USER_VALUES.c.user_id,
                USER_VALUES.c.field_name,
                USER_VALUES.c.value,
                USER_VALUES.c.value_encrypted,
            ).where(USER_VALUES.c.tenant_id == tenant, USER_VALUES.c.user_id.in_(list(values)))
            for row in await connection.execute(beside):
                sealed = row.value_encrypted
                values[row.user_id][row.field_name] = row.value if sealed is None else bytes(sealed)
        return {
            str(row["id"]): Person(
                str(row["id"]),
                values[row["id"]],
                row["revision"],
                row["created_at"],
                row["updated_at"],
            )
            for row in rows
        }

    async def _write_values(
        self, connection: AsyncConnection, tenant: str, people: Iterable[Person]
    ) -> None:
        """Write what has no column of its own, and what the headers of sealed values say."""
        beside, metadata = [], []
        for person in people:
            ids = {"tenant_id": tenant, "user_id": uuid.UUID(person.user_id)}
            for name, value in person.values.items():
                if isinstance(value, bytes):
                    metadata.append(ids | _metadata(name, value))
                if _column(name, value) is None:
                    sealed = isinstance(value, bytes)
                    pair = {"value": None, "value_encrypted": None}
                    pair["value_encrypted" if sealed else "value"] = value  # type: ignore[assignment]  # of either type
                    beside.append({**ids, "field_name": name, **pair})
        if beside:
            await connection.execute(sa.insert(USER_VALUES), beside)
        if metadata:
            described = sa.insert(ENCRYPTION_METADATA).values(kms_key_id=_kms_key(tenant))
            await connection.execute(described, metadata)

    async def _forget_values(
        self, connection: AsyncConnection, tenant: str, user_id: str, names: Iterable[str]
    ) -> None:
        """Remove what stands of fields beside the row of ``users``."""
        chosen = list(names)
        for table in (USER_VALUES, ENCRYPTION_METADATA, BLIND_INDEXES):
            await connection.execute(
                sa.delete(table).where(
                    table.c.tenant_id == tenant,
                    table.c.user_id == uuid.UUID(user_id),
                    table.c.field_name.in_(chosen),
                )
            )


def _select(tenant: str) -> sa.Select[Any]:
    return sa.select(USERS).where(USERS.c.tenant_id == tenant)


def _metadata(name: str, blob: bytes) -> dict[str, Any]:
    """Give what the header of a sealed value says."""
    header = read_header(blob)
    return {
        "field_name": name,
        "encryption_level": int(header.tier),
        "suite": int(header.suite),
        "key_version": header.key_version,
        "app_key_version": header.app_key_version if header.tier is Tier.DOUBLE else None,
    }


def _kms_key(tenant: str) -> "sa.ScalarSelect[str]":
    """Give the KMS key that the tenant's key hangs from, and so its values."""
    keys = TENANT_KEYS.c
    active = sa.and_(keys.tenant_id == tenant, keys.state == KeyState.ACTIVE.value)
    return sa.select(keys.kms_key_id).where(active).scalar_subquery()


def _column(field: str, value: Value) -> str | None:
    """Give the column of ``users`` for a value; None if it has none."""
    if isinstance(value, bytes):
        return f"{field}{_SEALED}" if field in _SEALED_COLUMNS else None
    return field if field in _CLEAR_COLUMNS else None


def _columns_of(field: str) -> list[str]:
    """Give all columns of ``users`` that may hold a field."""
    clear = [field] if field in _CLEAR_COLUMNS else []
    return [*clear, f"{field}{_SEALED}"] if field in _SEALED_COLUMNS else clear


def _columns(values: Mapping[str, Value]) -> dict[str, Any]:
    placed = ((_column(name, value), value) for name, value in values.items())
    return {column: value for column, value in placed if column is not None}


def _values(row: Mapping[str, Any]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name in _CLEAR_COLUMNS:
        if row[name] is not None:
            values[name] = row[name]
    for name in _SEALED_COLUMNS:
        if row[f"{name}{_SEALED}"] is not None:
            values[name] = bytes(row[f"{name}{_SEALED}"])
    return values


def _with_row(user_id: str, values: Mapping[str, Value], row: Any) -> Person:
    return Person(user_id, values, row.revision, row.created_at, row.updated_at)
