"""PostgreSQL of the embedded mesh: started beside the services, stopped after them."""

import asyncio
import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mesh.embedded.postgres import Access, PostgresFailed, PostgresServer
from mesh.embedded.process import ChildFailed


class Database:
    """A PostgreSQL server whose start and stop do not hold up the event loop.

    Args:
        folder: Where the data lies; its log is beside it.
    """

    name = "postgres"

    def __init__(self, folder: Path) -> None:
        self.log = folder.with_name(f"{folder.name}.log")
        self._server = PostgresServer(folder)
        self._starting: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Start, the first time with new data. Raises ChildFailed."""
        self._starting = asyncio.ensure_future(asyncio.to_thread(self._server.start))
        try:
            # Shielded, so that a user who leaves now finds it whole enough to be stopped.
            await asyncio.shield(self._starting)
        except (PostgresFailed, ValueError, OSError, subprocess.CalledProcessError) as problem:
            raise ChildFailed(f"{self.name} did not start: {problem}") from problem

    async def open(
        self, name: str, groups: Sequence[str] = (), joins: Sequence[str] = ()
    ) -> Access:
        """Give the URLs of a database, which is made if it is missing.

        ``groups`` are roles that cannot log in, ``joins`` those that the application joins.
        """
        return await asyncio.to_thread(
            self._server.create_isolated_database,
            name,
            may_exist=True,
            groups=groups,
            joins=joins,
        )

    async def ended(self) -> int:
        """Wait for the server's end and give its exit code."""
        return await asyncio.to_thread(self._server.wait)

    async def stop(self) -> None:
        """End all sessions and stop; the data stays."""
        if self._starting is not None:
            with contextlib.suppress(Exception):  # told by start()
                await self._starting
            await asyncio.to_thread(self._server.stop)
