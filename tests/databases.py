"""The databases that tests of the store run on, each empty when it is given out."""

import asyncio
import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from mesh.contract.catalogue import load_catalogue
from mesh.embedded.postgres import APPLICATION, Access, PostgresServer
from mesh.sql.engine import open_engine
from mesh.sql.isolation import admit
from mesh.sql.schema import require_schema
from mesh.sql.tables import Tables
from services.crypto.migrations.commands import VersionedSchema
from services.crypto.migrations.roles import ROLES, SERVICE
from services.crypto.tables import METADATA as CRYPTO_METADATA
from tests.derived import tables_of
from tests.memory_folder import quick_folder

SQLITE = "sqlite"
_NEWEST_VERSION = 18
NEWEST = f"postgresql{_NEWEST_VERSION}"
DATABASES = [SQLITE, "postgresql16", NEWEST]
"""Parameters of fixtures that give a database."""


@cache
def server(version: int) -> PostgresServer:
    """Start a server, one of each version for each process of the tests."""
    folder = quick_folder()
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


def rename_database(version: int, name: str, other: str) -> None:
    """Let nobody find a database by its name any more; its sessions end."""
    renamed = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    ended = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(server(version).url(), autocommit=True) as connection:
        connection.execute(ended, (name,))
        connection.execute(renamed.format(sql.Identifier(name), sql.Identifier(other)))


@contextlib.contextmanager
def inventory_database(kind: str, folders: pytest.TempPathFactory) -> Iterator[str]:
    """Give a database with the empty tables of the inventory service; it is removed in the end."""
    if kind == SQLITE:
        url = f"sqlite:///{shutil.copy(inventory_file(), folders.mktemp('sqlite') / 'store.db')}"
        yield url
        return
    version = int(kind.removeprefix("postgresql"))
    host, name = server(version), f"test_{uuid4().hex}"
    yield host.create_database(name, inventory_template(version))
    host.drop_database(name)


@cache
def inventory_file() -> Path:
    """Make a file with the tables of the inventory service, once for each process of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="secmesh-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _fill(f"sqlite:///{folder}/inventory.db")
    return folder / "inventory.db"


@cache
def inventory_template(version: int) -> str:
    """Make a database with the same tables, once for each process of the tests."""
    _fill(server(version).create_database("inventory_template"))
    return "inventory_template"


def _fill(url: str) -> None:
    async def fill() -> None:
        engine = open_engine(url)
        await require_schema(engine, tables_of(load_catalogue("secmesh.inventory.v1")))
        await engine.dispose()

    with ThreadPoolExecutor(1) as thread:
        # The test that asks first may have a loop of its own.
        thread.submit(asyncio.run, fill()).result()


@contextlib.contextmanager
def isolated_database(version: int) -> Iterator[Access]:
    """Give an empty database with an owner and an application; it is removed in the end."""
    host = server(version)
    name = f"test_{uuid4().hex}"
    yield host.create_isolated_database(name)
    host.drop_database(name)


@contextlib.contextmanager
def security_database() -> Iterator[Access]:
    """Give a database with the empty tables of the security service; it is removed in the end."""
    host = server(_NEWEST_VERSION)
    name = f"test_{uuid4().hex}"
    access = host.create_isolated_database(name, template=_security_template())
    engine = open_sync_engine(access.owner)
    with engine.begin() as connection:
        # A copy has the tables with their rights, and none of the rights on the database.
        admit(connection, _security_tables().metadata, APPLICATION)
    engine.dispose()
    yield access
    host.drop_database(name)


@contextlib.contextmanager
def crypto_database(version: int = _NEWEST_VERSION) -> Iterator[Access]:
    """Give a database with the newest tables of the crypto service; it is removed in the end."""
    host = server(version)
    name = f"test_{uuid4().hex}"
    access = host.create_isolated_database(name, template=_crypto_template(version))
    engine = open_sync_engine(access.owner)
    with engine.begin() as connection:
        admit(connection, CRYPTO_METADATA, APPLICATION)
    engine.dispose()
    yield access
    host.drop_database(name)


@contextlib.contextmanager
def empty_crypto_database(version: int = _NEWEST_VERSION) -> Iterator[Access]:
    """Give an empty database with the roles of the crypto service; it is removed in the end."""
    name = f"test_{uuid4().hex}"
    yield server(version).create_isolated_database(name, groups=ROLES, joins=SERVICE)
    server(version).drop_database(name)


@cache
def _crypto_template(version: int) -> str:
    """Make the tables of the crypto service, once for each process of the tests."""
    access = server(version).create_isolated_database(
        "crypto_template", groups=ROLES, joins=SERVICE
    )

    async def fill() -> None:
        owner, application = open_engine(access.owner), open_engine(access.application)
        await VersionedSchema().require(application, owner)
        await owner.dispose()
        await application.dispose()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, fill()).result()
    return "crypto_template"


@cache
def _security_tables() -> Tables:
    return tables_of(load_catalogue("secmesh.security.v1"), isolated=True)


@cache
def _security_template() -> str:
    """Make the tables of the security service, once for each process of the tests."""
    access = server(_NEWEST_VERSION).create_isolated_database("security_template")

    async def fill() -> None:
        owner, application = open_engine(access.owner), open_engine(access.application)
        await require_schema(application, _security_tables(), owner=owner)
        await owner.dispose()
        await application.dispose()

    with ThreadPoolExecutor(1) as thread:
        # The test that asks first may have a loop of its own.
        thread.submit(asyncio.run, fill()).result()
    return "security_template"


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
