"""An audit in a database of its own, for tests of what writes, seals and reads it."""

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.embedded.postgres import OWNER, SUPERUSER, Access
from mesh.sql.engine import open_engine
from services.crypto.audit.anchors import Anchors
from services.crypto.audit.append_store import AppendStore
from services.crypto.audit.bundle import read_bundle
from services.crypto.audit.checkpointer import Checkpointer
from services.crypto.audit.dump_store import dump_audit
from services.crypto.audit.entry import Access as Told
from services.crypto.audit.entry import Operation
from services.crypto.audit.findings import Report
from services.crypto.audit.note import Signer
from services.crypto.audit.retention import Retention
from services.crypto.audit.seal_store import SealStore
from services.crypto.audit.subjects import Subjects
from services.crypto.audit.verifier import verify
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

    def checkpointer(self) -> Checkpointer:
        """Give what seals, in a process of its own as it were."""
        return Checkpointer(SealStore(self.owner()), ORIGIN, SEALER, KEYS, SUBJECTS)

    def retention(self, clock: Callable[[], datetime], anchors: Anchors | None = None) -> Retention:
        """Give what looks after segments at a time of the test's choice."""
        return Retention(SealStore(self.owner()), ORIGIN, SEALER, anchors, clock=clock)

    async def report(self, anchors: Sequence[str] = ()) -> Report:
        """Verify what is stored now, by a bundle."""
        with tempfile.TemporaryDirectory() as folder:
            await dump_audit(self.owner(), Path(folder))
            return verify(read_bundle(Path(folder)), KEYS, anchors)

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
