"""A process that dies between the commit of entries and the answer: ``... DATABASE_URL``."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from mesh.sql.engine import open_engine
from services.crypto.audit.append_store import AppendStore
from services.crypto.audit.sealing import Stored
from services.crypto.audit.writer import AuditWriter
from tests.service.crypto_audit_store import ORIGIN, SUBJECTS, WRITER, told


class _Dying(AppendStore):
    async def append(self, entries: Sequence[Stored]) -> None:
        await super().append(entries)
        if entries[-1].entry.request_id == "2":
            os.kill(os.getpid(), signal.SIGKILL)


async def _main(url: str) -> None:
    writer = AuditWriter(_Dying(open_engine(url)), SUBJECTS, WRITER, ORIGIN)
    writer.start()
    for number in range(5):
        await writer.record([told(request_id=str(number))])


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
