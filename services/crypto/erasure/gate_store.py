"""Keeps who was erased from coming back: locks between erasing and making keys, and the question.

Whoever makes a key or a person first takes the tenant's gate with others, whoever erases takes it
alone. So a key that is made meanwhile is seen by the erasure, or the erasure by who makes it.
"""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.erasure.person_digest import person_digest
from services.crypto.errors import UserErased
from services.crypto.persons.person import PATTERN

# Asked whenever a person is stored: as texts they are not compiled again each time.
_PASS = sa.text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:gate, 0))")
_SHUT = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:gate, 0))")
_ERASED = sa.text(
    "SELECT person FROM erasures "
    "WHERE tenant_id = :tenant AND person = ANY(CAST(:persons AS bytea[]))"
)


async def pass_gate(connection: AsyncConnection, tenant: str) -> None:
    """Keep erasures of a tenant waiting until the transaction's end; they are short."""
    await connection.execute(_PASS, {"gate": f"erasures/{tenant}"})


async def shut_gate(connection: AsyncConnection, tenant: str) -> None:
    """Wait for who makes keys or persons of a tenant, and keep others waiting likewise."""
    await connection.execute(_SHUT, {"gate": f"erasures/{tenant}"})


async def erased_users(
    connection: AsyncConnection, tenant: str, user_ids: Collection[str]
) -> set[str]:
    """Give those of some users who were erased, or are about to be."""
    digests = {person_digest(tenant, user): user for user in user_ids}
    asked = {"tenant": tenant, "persons": list(digests)}
    return {digests[bytes(person)] for person in await connection.scalars(_ERASED, asked)}


async def require_not_erased(
    connection: AsyncConnection, tenant: str, user_ids: Collection[str]
) -> None:
    """Let nobody come back. Raises UserErased."""
    for user in sorted(await erased_users(connection, tenant, user_ids)):
        raise UserErased(PATTERN.format(tenant, user))
