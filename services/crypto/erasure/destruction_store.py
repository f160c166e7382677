"""All SQL that destroys a person: keys, values, indexes, metadata, and whom the log knew."""

import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.erasure.erasure import Destroyed
from services.crypto.keys.states import KeyState
from services.crypto.persons.journal import Touched, touched_of
from services.crypto.persons.person import Person
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.values import field_tier
from services.crypto.tables import (
    BLIND_INDEXES,
    ENCRYPTION_METADATA,
    USER_KEYS,
    USER_VALUES,
    USERS,
    USERS_CHANGE_LOG,
)

_KEYS = USER_KEYS.c
_KNOWN = (
    (USERS, USERS.c.id),
    (USER_KEYS, _KEYS.user_id),
    (USERS_CHANGE_LOG, USERS_CHANGE_LOG.c.user_id),
)
"""Where ids of users stand."""


class DestructionStore:
    """Works on one person by the caller's connection, who holds the tenant's gate."""

    def __init__(self, persons: PersonStore) -> None:
        self._persons = persons

    async def exists(self, connection: AsyncConnection, tenant: str, user_id: str) -> bool:
        """Tell whether there is anything of a person to destroy, be it keys alone."""
        row = sa.exists().where(USERS.c.tenant_id == tenant, USERS.c.id == uuid.UUID(user_id))
        key = sa.exists().where(*_of(USER_KEYS, tenant, user_id), _is_left())
        return bool(await connection.scalar(sa.select(sa.or_(row, key))))

    async def destroy(
        self, connection: AsyncConnection, tenant: str, user_id: str, erasure_id: str
    ) -> Destroyed:
        """Destroy all there is of a person whose erasure is ordered; give what it was."""
        found = await self._persons.get(connection, tenant, [user_id], for_update=True)
        fields = _fields(found.values())
        destroyed = {"state": KeyState.DESTROYED.value, "wrapped": None, "state_before": None}
        keys = sa.update(USER_KEYS).where(*_of(USER_KEYS, tenant, user_id), _is_left())
        versions = await connection.scalars(keys.values(destroyed).returning(_KEYS.version))
        indexes = await _deleted(connection, BLIND_INDEXES, tenant, user_id)
        for table in (ENCRYPTION_METADATA, USER_VALUES):
            await _deleted(connection, table, tenant, user_id)
        await self._persons.delete(connection, tenant, user_id)
        # After the row, whose trigger names the person once more.
        forgotten = sa.func.forget_user_changes(uuid.UUID(erasure_id))
        changes = await connection.scalar(sa.select(forgotten))
        return Destroyed(tuple(sorted(versions)), fields, indexes, changes or 0)

    async def users(
        self, connection: AsyncConnection, tenant: str, after: str | None, limit: int
    ) -> list[str]:
        """Give the ids after one of all of whom there is a row, a key or a change, in order."""
        known = sa.union(
            *(
                sa.select(column.label("user_id")).where(
                    table.c.tenant_id == tenant,
                    column.is_not(None),
                    *(() if after is None else (column > uuid.UUID(after),)),
                )
                for table, column in _KNOWN
            )
        ).subquery()
        statement = sa.select(known.c.user_id).order_by(known.c.user_id).limit(limit)
        return [str(each) for each in await connection.scalars(statement)]


def _of(table: sa.Table, tenant: str, user_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.tenant_id == tenant, table.c.user_id == uuid.UUID(user_id)


def _is_left() -> sa.ColumnElement[bool]:
    return _KEYS.state != KeyState.DESTROYED.value


async def _deleted(connection: AsyncConnection, table: sa.Table, tenant: str, user_id: str) -> int:
    done: Any = await connection.execute(sa.delete(table).where(*_of(table, tenant, user_id)))
    count: int = done.rowcount
    return count


def _fields(people: Iterable[Person]) -> Touched:
    return touched_of(
        (name, field_tier(value)) for person in people for name, value in person.values.items()
    )
