"""A rotation of a tenant's key over many users, against unwrapping and wrapping alone.

Run with ``python -m benchmarks.key_rotation [USERS]``. The rotation is the service's own, with its
lease, its log, row-level security, compare-and-swap of each row and its reading back, on one
PostgreSQL. CPU counts: that of this process, and PostgreSQL's beside it. The peer is
``cryptography.cobblestone`` in the same run: one opening and one sealing of 32 bytes a user, with
nothing around them. The design asks for a million users within 60 s of CPU.
"""

import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

from benchmarks.cpu import cpu_seconds, family
from mesh.embedded.postgres import PostgresServer
from mesh.identifiers import new_uuid
from mesh.sql.engine import open_engine
from mesh.sql.transactions import Transactions
from services.crypto.assembly import Keys, open_custody, open_keys
from services.crypto.audit.entry import Access
from services.crypto.migrations.commands import VersionedSchema
from services.crypto.migrations.roles import ROLES, SERVICE
from services.crypto.rotation.rotation import KeyType
from services.crypto.rotation.rotation_store import RotationLog
from services.crypto.rotation.runner import Pace
from services.crypto.rotation_parts import RotationParts, open_rotations
from services.crypto.settings import CryptoSettings
from services.crypto.tables import KEY_ROTATION_LOG, USER_KEYS

USERS = 50_000
MICROSECONDS_A_USER = 60
"""Of CPU of the crypto process: a million users a minute."""
_TENANT = "bench"
_AT_ONCE = 5000
_PACE = Pace(rows_per_second=1_000_000)


class _Silence:
    """Takes what a rotation tells the audit: two entries, whatever its size."""

    async def record(self, accesses: Sequence[Access]) -> None:
        """Keep nothing."""


async def main(users: int) -> int:
    """Print the CPU of a user in microseconds; 1 if the service takes more than it may."""
    raw = _raw(users)
    print(f"cryptography.cobblestone, open and seal: {raw:.1f} us a user")
    with tempfile.TemporaryDirectory() as name, PostgresServer(Path(name) / "data") as postgres:
        access = postgres.create_isolated_database("bench", groups=ROLES, joins=SERVICE)
        settings = CryptoSettings(SECMESH_HOME=Path(name), DATABASE_URL=access.application)
        owner, application = open_engine(access.owner), open_engine(access.application)
        await VersionedSchema().require(application, owner)
        async with _opened(settings, Transactions(application, owner, isolated=True)) as parts:
            keys, transactions, rotation = parts
            await _fill(transactions, keys, users)
            own, server, wall = await _rotated(transactions, rotation, postgres.pid)
        await owner.dispose()
        await application.dispose()
    own, server = own / users * 1e6, server / users * 1e6
    print(f"the rotation, {users:,} users in {wall:.1f} s: {own:.1f} us a user in this process")
    print(f"{own / raw:.2f} times the peer; PostgreSQL beside it {server:.1f} us a user")
    print(f"at most {MICROSECONDS_A_USER} us; a million users: {own:.0f} s of CPU")
    return 0 if own <= MICROSECONDS_A_USER else 1


@asynccontextmanager
async def _opened(settings: CryptoSettings, transactions: Transactions) -> Any:
    custody = await open_custody(settings)
    keys = open_keys(settings, custody, transactions)
    yield (
        keys,
        transactions,
        open_rotations(settings, custody, keys, transactions, _Silence(), _PACE),
    )
    await keys.close()
    await custody.close()


async def _fill(transactions: Transactions, keys: Keys, users: int) -> None:
    """Give so many users a key."""
    parent = await keys.tenants.current(_TENANT)
    for start in range(0, users, _AT_ONCE):
        made = [
            keys.users.make(parent, _TENANT, new_uuid(), 1)
            for _ in range(min(_AT_ONCE, users - start))
        ]
        rows = [
            {"tenant_id": _TENANT, **row._asdict(), "user_id": uuid.UUID(row.user_id)}
            for row in made
        ]
        async with transactions.transaction(_TENANT) as connection:
            await connection.execute(sa.insert(USER_KEYS), rows)


async def _rotated(
    transactions: Transactions, rotation: RotationParts, postmaster: int
) -> tuple[float, float, float]:
    """Rotate the tenant's key; give CPU of this process and of PostgreSQL, and the time."""
    log, procedure = RotationLog(), rotation.procedures[KeyType.TENANT_KEK]
    async with transactions.transaction(_TENANT) as connection:
        plan = await procedure.plan(connection, _TENANT)
        rotation_id = new_uuid()
        await log.add(connection, _TENANT, rotation_id, KeyType.TENANT_KEK, plan, "bench")
        begun = await log.get(connection, _TENANT, rotation_id)
        if begun is None:
            raise RuntimeError("the rotation is not there")
        await log.start(connection, begun)
    own, server, began = _own(), cpu_seconds(family(postmaster)), time.perf_counter()
    await rotation.runner.look()
    spent = _own() - own, cpu_seconds(family(postmaster)) - server, time.perf_counter() - began
    async with transactions.connection(_TENANT) as connection:
        row = (await connection.execute(sa.select(KEY_ROTATION_LOG))).one()
    if (row.status, row.records_affected) != ("completed", plan.records):
        raise RuntimeError(f"the rotation is {row.status} after {row.records_affected} rows")
    return spent


def _own() -> float:
    return cpu_seconds([os.getpid()])


def _raw(users: int) -> float:
    """Give the microseconds of CPU of opening 32 bytes and sealing them by another key."""
    old, new, secret = os.urandom(32), os.urandom(32), os.urandom(32)
    contexts = [os.urandom(64) for _ in range(100)]
    sealed = []
    for context in contexts:
        encryptor = Cobblestone256Encryptor(old, context)
        sealed.append(encryptor.update(secret) + encryptor.finalize())
    began = time.process_time()
    for number in range(users):
        at = number % len(contexts)
        decryptor = Cobblestone256Decryptor(old, contexts[at])
        plain = decryptor.update(sealed[at]) + decryptor.finalize()
        encryptor = Cobblestone256Encryptor(new, contexts[at])
        encryptor.update(plain) + encryptor.finalize()
    return (time.process_time() - began) / users * 1e6


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else USERS)))
