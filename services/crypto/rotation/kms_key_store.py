"""All SQL of a move to another KMS key: what the KMS wraps, and what is written about values."""

import uuid
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.keys.key_store import FieldKeyName
from services.crypto.keys.states import KeyState
from services.crypto.tables import ENCRYPTION_METADATA, INDEX_KEYS, TENANT_KEYS

_TABLES = (INDEX_KEYS, TENANT_KEYS)
_VALUES = ENCRYPTION_METADATA.c
_SEPARATOR = "/"


class KmsWrapped(NamedTuple):
    """A key that the KMS wraps."""

    name: FieldKeyName | None
    """None for the tenant's own key."""
    version: int
    kms_key_id: str
    wrapped: bytes
    previous_kms_key_id: str | None
    previous_wrapped: bytes | None

    @property
    def position(self) -> str:
        """Where it stands in the order of rotations."""
        place = ("1",) if self.name is None else ("0", self.name.field, self.name.used_for)
        return "/".join((*place, f"{self.version:010}"))


class KmsKeyStore:
    """Reads and writes by the caller's connection; a tenant has a few dozen of these keys."""

    async def wrapped(self, connection: AsyncConnection, tenant: str) -> list[KmsWrapped]:
        """Give all keys of a tenant that the KMS wraps, in the order of rotations."""
        found = []
        for table in _TABLES:
            chosen = sa.and_(table.c.tenant_id == tenant, table.c.wrapped.is_not(None))
            for row in await connection.execute(sa.select(table).where(chosen)):
                own = table is TENANT_KEYS
                name = None if own else FieldKeyName(tenant, row.field_name, row.used_for)
                before = row.previous_wrapped
                found.append(
                    KmsWrapped(
                        name,
                        row.version,
                        row.kms_key_id,
                        bytes(row.wrapped),
                        row.previous_kms_key_id,
                        None if before is None else bytes(before),
                    )
                )
        return sorted(found, key=lambda each: each.position)

    async def replace(
        self, connection: AsyncConnection, tenant: str, before: KmsWrapped, after: KmsWrapped
    ) -> KmsWrapped | None:
        """Put a wrapped key in the place of one that is still what it was; None if it is not."""
        table = TENANT_KEYS if before.name is None else INDEX_KEYS
        chosen = [
            table.c.tenant_id == tenant,
            table.c.version == before.version,
            table.c.wrapped == before.wrapped,
        ]
        if before.name is not None:
            chosen += [
                table.c.field_name == before.name.field,
                table.c.used_for == before.name.used_for,
            ]
        names = [name for name in KmsWrapped._fields if name not in ("name", "version")]
        statement = (
            sa.update(table)
            .where(*chosen)
            .values({name: getattr(after, name) for name in names})
            .returning(table.c.kms_key_id, table.c.wrapped)
        )
        row = (await connection.execute(statement)).first()
        if row is None:
            return None
        return after._replace(kms_key_id=row.kms_key_id, wrapped=bytes(row.wrapped))

    async def described_otherwise(
        self, connection: AsyncConnection, tenant: str, kms_key_id: str
    ) -> int:
        """Count the values of which it is written that they hang from other KMS keys."""
        chosen = sa.and_(_VALUES.tenant_id == tenant, _VALUES.kms_key_id != kms_key_id)
        statement = sa.select(sa.func.count()).select_from(ENCRYPTION_METADATA).where(chosen)
        return await connection.scalar(statement) or 0

    async def describe(
        self, connection: AsyncConnection, tenant: str, after: str, limit: int
    ) -> tuple[str, int]:
        """Write of values after a place which KMS key the tenant's hangs from.

        Gives the last place, empty if there was none left, and how many were written. What
        another transaction is writing is passed over: a later pass finds it.
        """
        keys = TENANT_KEYS.c
        active = sa.and_(keys.tenant_id == tenant, keys.state == KeyState.ACTIVE.value)
        target = await connection.scalar(sa.select(keys.kms_key_id).where(active))
        place = sa.tuple_(_VALUES.user_id, _VALUES.field_name)
        due = sa.select(_VALUES.user_id, _VALUES.field_name).where(
            _VALUES.tenant_id == tenant, _VALUES.kms_key_id != target
        )
        if after:
            user, _, field = after.partition(_SEPARATOR)
            due = due.where(place > sa.tuple_(uuid.UUID(user), field))
        due = due.order_by(_VALUES.user_id, _VALUES.field_name).limit(limit)
        rows = (await connection.execute(due.with_for_update(skip_locked=True))).all()
        pairs = [(row.user_id, row.field_name) for row in rows]
        if pairs:
            chosen = sa.and_(_VALUES.tenant_id == tenant, place.in_(pairs))
            written = sa.update(ENCRYPTION_METADATA).where(chosen).values(kms_key_id=target)
            await connection.execute(written)
        last = f"{pairs[-1][0]}{_SEPARATOR}{pairs[-1][1]}" if len(pairs) == limit else ""
        return last, len(pairs)
