"""The databases that tests of the store run on, each empty when it is given out."""

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access, PostgresServer

SQLITE = "sqlite"
NEWEST = "postgresql18"
DATABASES = [SQLITE, "postgresql16", NEWEST]
"""Parameters of fixtures that give a database."""


@cache
def server(version: int) -> PostgresServer:
    """Start a server, one of each version for each process of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="secmesh-test-"))
    made = PostgresServer(folder / "data", version=version, durable=False)
    made.start()

    def end() -> None:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return made


@contextlib.contextmanager
def empty_database(kind: str, folders: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of an empty database of this kind; it is removed in the end."""
    if kind == SQLITE:
        yield f"sqlite:///{folders.mktemp('sqlite')}/store.db"
        return
    host = server(int(kind.removeprefix("postgresql")))
    name = f"test_{uuid4().hex}"
    yield host.create_database(name)
    host.drop_database(name)


@contextlib.contextmanager
def isolated_database(version: int) -> Iterator[Access]:
    """Give an empty database with an owner and an application; it is removed in the end."""
    host = server(version)
    name = f"test_{uuid4().hex}"
    yield host.create_isolated_database(name)
    host.drop_database(name)


def open_sync_engine(url: str) -> sa.Engine:
    """Open an engine without asyncio, for tests that ask one row at a time."""
    if url.startswith(SQLITE):
        # In memory: nothing else looks at it, and a file would be slower.
        return sa.create_engine("sqlite://")
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        json_serializer=str,
        json_deserializer=lambda data: data.decode(),
        connect_args={"options": "-c TimeZone=UTC"},
    )
