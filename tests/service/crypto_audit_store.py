"""An audit in a database of its own, for tests of what writes, seals and reads it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.embedded.postgres import OWNER, SUPERUSER, Access
from mesh.sql.engine import open_engine
from services.crypto.audit.append_store import AppendStore
from services.crypto.audit.entry import Access as Told
from services.crypto.audit.entry import Operation
from services.crypto.audit.note import Signer
from services.crypto.audit.subjects import Subjects
from services.crypto.audit.writer import AuditWriter, Clock, now

ORIGIN = "audit.test/crypto"
SEALER = Signer("audit.test/sealer", b"s" * 32)
WRITER = Signer("audit.test/writer", b"w" * 32)
KEYS = [SEALER.public, WRITER.public]
SUBJECTS = Subjects({1: b"p" * 32})
USER = bytes(range(16))


def told(tenant: str = "acme", **changed: Any) -> Told:
    """Give what the service tells of a decryption."""
    fields = (("address", 2), ("ssn", 3))
    access = Told(tenant, Operation.DECRYPT, "ann", "r1", USER, fields, "support")
    return access._replace(**changed)


@dataclass
class AuditDatabase:
    """A database with an empty audit, and engines that are disposed of in the end."""

    access: Access
    engines: list[AsyncEngine] = field(default_factory=list)

    def application(self) -> AsyncEngine:
        return self._opened(self.access.application)

    def owner(self) -> AsyncEngine:
        return self._opened(self.access.owner)

    def _opened(self, url: str) -> AsyncEngine:
        engine = open_engine(url)
        self.engines.append(engine)
        return engine

    @asynccontextmanager
    async def writer(self, clock: Clock = now) -> AsyncIterator[AuditWriter]:
        """Give a writer that runs."""
        made = AuditWriter(AppendStore(self.application()), SUBJECTS, WRITER, ORIGIN, clock)
        made.start()
        yield made
        await made.close()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask as the owner."""
        with psycopg.connect(self.access.owner, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def tamper(self, *statements: str) -> None:
        """Do what only somebody with all rights on the server can, past the tripwires."""
        url = self.access.owner.replace(f"{OWNER}@", f"{SUPERUSER}@")
        with psycopg.connect(url) as connection:
            connection.execute("SET session_replication_role = replica")
            for each in statements:
                connection.execute(each)

    def count(self) -> int:
        """Give how many entries there are."""
        return int(self.rows("SELECT count(*) FROM encryption_audit")[0][0])
