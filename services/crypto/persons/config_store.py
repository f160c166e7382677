"""All SQL about what a tenant decides: settings, purposes, fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.persons.fields import (
    CONTRACT,
    FIRST_OWN_NUMBER,
    LAST_OWN_NUMBER,
    Decision,
    PersonField,
    PersonFields,
    form_number,
    form_of,
)
from services.crypto.suite.header import Tier
from services.crypto.tables import EVERY_TENANT, PURPOSES, SYSTEM_CONFIG, USER_FIELDS


@dataclass(frozen=True)
class PurposeRow:
    """One purpose of a tenant."""

    purpose_id: str
    description: str
    fields: tuple[str, ...]
    created_at: datetime | None = None


class ConfigStore:
    """Reads and writes the decisions of a tenant by the caller's connection."""

    async def fields(self, connection: AsyncConnection, tenant: str) -> PersonFields:
        """Give the fields of a tenant's persons."""
        table = USER_FIELDS
        rows = await connection.execute(sa.select(table).where(table.c.tenant_id == tenant))
        return PersonFields(
            Decision(
                row.field_name,
                Tier(row.tier),
                row.field_number,
                form_of(row.form),
                row.padding,
                row.possible_values,
            )
            for row in rows
        )

    async def lock(self, connection: AsyncConnection, tenant: str) -> None:
        """Let one transaction at a time decide about the fields of a tenant."""
        key = sa.func.hashtextextended(f"user_fields/{tenant}", 0)
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    async def free_number(self, connection: AsyncConnection, tenant: str) -> int | None:
        """Give a number for a new field, never one that was given before; None if there is none."""
        # Rows of fields stay for good: a number in a sealed value leads to one field alone.
        newest = sa.select(sa.func.max(USER_FIELDS.c.field_number))
        found = await connection.scalar(newest.where(USER_FIELDS.c.tenant_id == tenant))
        number = FIRST_OWN_NUMBER if found is None else found + 1
        return number if number <= LAST_OWN_NUMBER else None

    async def define(self, connection: AsyncConnection, tenant: str, field: PersonField) -> bool:
        """Write a field of the tenant's own; False if there is one of the name or number."""
        statement = insert(USER_FIELDS).values(
            tenant_id=tenant,
            field_name=field.name,
            tier=int(field.tier),
            field_number=field.number,
            form=form_number(field.form),
            padding=field.padding,
            possible_values=field.possible_values,
        )
        made = await connection.execute(
            statement.on_conflict_do_nothing().returning(USER_FIELDS.c.field_name)
        )
        return made.first() is not None

    async def raise_tier(
        self, connection: AsyncConnection, tenant: str, field: PersonField, tier: Tier
    ) -> None:
        """Keep a field at a tier from now on, unless it is higher already."""
        table = USER_FIELDS
        statement = insert(table).values(
            tenant_id=tenant,
            field_name=field.name,
            tier=int(tier),
            field_number=None if field.name in CONTRACT else field.number,
        )
        raised = sa.func.greatest(table.c.tier, statement.excluded.tier)
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant_id", "field_name"], set_={"tier": raised}
            )
        )

    async def purpose(
        self, connection: AsyncConnection, tenant: str, purpose_id: str
    ) -> PurposeRow | None:
        """Give a purpose; None if the tenant has none of the id."""
        statement = _purposes(tenant).where(PURPOSES.c.id == purpose_id)
        row = (await connection.execute(statement)).first()
        return None if row is None else _purpose(row)

    async def purposes(
        self, connection: AsyncConnection, tenant: str, after: str | None, limit: int
    ) -> list[PurposeRow]:
        """Give the purposes after an id, by their ids."""
        statement = _purposes(tenant).order_by(PURPOSES.c.id).limit(limit)
        if after is not None:
            statement = statement.where(PURPOSES.c.id > after)
        return [_purpose(row) for row in await connection.execute(statement)]

    async def add_purpose(
        self, connection: AsyncConnection, tenant: str, purpose: PurposeRow
    ) -> PurposeRow | None:
        """Write a purpose and give it; None if there is one of the id."""
        statement = insert(PURPOSES).values(
            tenant_id=tenant,
            id=purpose.purpose_id,
            description=purpose.description,
            fields=list(purpose.fields),
        )
        made = await connection.execute(statement.on_conflict_do_nothing().returning(*PURPOSES.c))
        row = made.first()
        return None if row is None else _purpose(row)

    async def remove_purpose(
        self, connection: AsyncConnection, tenant: str, purpose_id: str
    ) -> bool:
        """Remove a purpose; False if there was none."""
        statement = sa.delete(PURPOSES).where(
            PURPOSES.c.tenant_id == tenant, PURPOSES.c.id == purpose_id
        )
        done = await connection.execute(statement)
        return bool(done.rowcount)

    async def settings(self, connection: AsyncConnection, tenant: str) -> dict[str, str]:
        """Give the settings that hold for a tenant: its own, else those of all."""
        table = SYSTEM_CONFIG
        statement = (
            sa.select(table.c.config_key, table.c.config_value)
            .where(table.c.tenant_id.in_([tenant, EVERY_TENANT]))
            # What is read later replaces what was read before.
            .order_by(table.c.tenant_id == tenant)
        )
        return {row.config_key: row.config_value for row in await connection.execute(statement)}

    async def change_settings(
        self,
        connection: AsyncConnection,
        tenant: str,
        changed: Mapping[str, str | None],
        principal: str,
    ) -> None:
        """Set settings of a tenant; None leaves one to what holds for all."""
        table = SYSTEM_CONFIG
        gone = [key for key, value in changed.items() if value is None]
        if gone:
            own = sa.delete(table).where(table.c.tenant_id == tenant)
            await connection.execute(own.where(table.c.config_key.in_(gone)))
        rows: Sequence[dict[str, Any]] = [
            {"tenant_id": tenant, "config_key": key, "config_value": value, "updated_by": principal}
            for key, value in changed.items()
            if value is not None
        ]
        if rows:
            statement = insert(table)
            fresh = statement.excluded
            statement = statement.on_conflict_do_update(
                index_elements=["tenant_id", "config_key"],
                set_={"config_value": fresh.config_value, "updated_by": fresh.updated_by},
            )
            await connection.execute(statement, rows)


def _purposes(tenant: str) -> sa.Select[Any]:
    return sa.select(PURPOSES).where(PURPOSES.c.tenant_id == tenant)


def _purpose(row: Any) -> PurposeRow:
    return PurposeRow(row.id, row.description, tuple(row.fields), row.created_at)
