"""All SQL about imports of persons: how far each is."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.tables import USER_IMPORTS


@dataclass(frozen=True)
class Progress:
    """How far an import is."""

    resume_after: int = 0
    """All up to this sequence are decided."""
    stored: int = 0
    refused: int = 0
    updated_at: datetime | None = None


class ImportStore:
    """Reads and writes the progress of a tenant's imports by the caller's connection."""

    async def find(
        self, connection: AsyncConnection, tenant: str, import_id: str
    ) -> Progress | None:
        """Give the progress of an import; None if it never began."""
        found = (await connection.execute(_select(tenant, import_id))).first()
        return None if found is None else _progress(found)

    async def lock(self, connection: AsyncConnection, tenant: str, import_id: str) -> Progress:
        """Give the progress of an import, new or not; others wait until the transaction ends."""
        begun = insert(USER_IMPORTS).values(tenant_id=tenant, id=uuid.UUID(import_id))
        await connection.execute(begun.on_conflict_do_nothing())
        locked = _select(tenant, import_id).with_for_update()
        return _progress((await connection.execute(locked)).one())

    async def advance(
        self, connection: AsyncConnection, tenant: str, import_id: str, progress: Progress
    ) -> None:
        """Write the progress of an import that is locked."""
        statement = sa.update(USER_IMPORTS).where(
            USER_IMPORTS.c.tenant_id == tenant, USER_IMPORTS.c.id == uuid.UUID(import_id)
        )
        await connection.execute(
            statement.values(
                resume_after=progress.resume_after,
                stored=progress.stored,
                refused=progress.refused,
            )
        )


def _select(tenant: str, import_id: str) -> sa.Select[Any]:
    return sa.select(USER_IMPORTS).where(
        USER_IMPORTS.c.tenant_id == tenant, USER_IMPORTS.c.id == uuid.UUID(import_id)
    )


def _progress(row: Any) -> Progress:
    return Progress(row.resume_after, row.stored, row.refused, row.updated_at)
