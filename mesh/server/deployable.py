"""A service with a database: its commands ``serve`` and ``migrate``, and what both begin with."""

import argparse
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.contract.catalogue import Catalogue, load_catalogue
from mesh.sealing.keyring import KeyRing, KeyRingError, read_keys
from mesh.server.program import Command, CommandFailed, Program, awaited, end_process
from mesh.server.service_settings import ServiceSettings
from mesh.sql.at_rest import needs_keys
from mesh.sql.backup.errors import BackupProblem
from mesh.sql.engine import EngineUrlError, open_engine
from mesh.sql.migration_command import add_migrate_arguments, run_migrate
from mesh.sql.own_files import make_folder
from mesh.sql.schema import MigrationRefused, require_schema
from mesh.sql.settings import Pool
from mesh.sql.store import Store
from mesh.sql.tables import Tables

__all__ = ["Command", "CommandFailed", "Deployable", "awaited", "end_process"]

_PROBE = Pool(name="probe", size=1, reads_tables=False)
Settings = TypeVar("Settings", bound=ServiceSettings)


class Schema(Protocol):
    """How the database of a service comes to be what the service needs."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``migrate``."""

    async def run(
        self, owner: AsyncEngine, application: str | None, arguments: argparse.Namespace
    ) -> str:
        """Migrate or show what that would take; give what is to be printed. MigrationRefused.

        ``application`` is the role that serves, None if it is the owner's own.
        """

    async def require(self, application: AsyncEngine, owner: AsyncEngine | None) -> None:
        """Have a database fit to serve; MigrationRefused if it is not."""


@dataclass(frozen=True)
class ContractSchema:
    """The tables that a contract describes."""

    package: str
    isolated: bool

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``migrate``."""
        add_migrate_arguments(parser)

    async def run(
        self, owner: AsyncEngine, application: str | None, arguments: argparse.Namespace
    ) -> str:
        """Bring the database to what the contract says, or show what that would take."""
        return await run_migrate(owner, self._tables, arguments, application)

    async def require(self, application: AsyncEngine, owner: AsyncEngine | None) -> None:
        """Have the tables of the contract; MigrationRefused."""
        await require_schema(application, self._tables, owner=owner)

    @property
    def _tables(self) -> Tables:
        return Tables(load_catalogue(self.package), isolated=self.isolated)


@dataclass(frozen=True)
class Deployable(Program[Settings]):
    """What makes one service with a database differ from another on the command line."""

    failures: ClassVar[tuple[type[Exception], ...]] = (
        *Program.failures,
        BackupProblem,
        EngineUrlError,
        KeyRingError,
        MigrationRefused,
    )

    isolated: bool = False
    """Whether PostgreSQL itself keeps tenants apart (``mesh.sql.isolation``)."""
    versions: Schema | None = None
    """The schema of a service whose tables are not those of its contract."""

    @property
    def schema(self) -> Schema:
        """How its database comes to be what it needs."""
        return self.versions or ContractSchema(self.package, self.isolated)

    def _shared(self) -> Sequence[Command[Settings]]:
        what = "bring the database to what the contract says"
        migrate = Command("migrate", what, self.schema.add_arguments, self._migrate)
        return [*super()._shared(), migrate]

    async def _prepare(self, settings: Settings) -> None:
        if settings.database == "sqlite://":
            problem = "workers share their database: a scratch database is of one process"
            raise EngineUrlError(problem)
        application, owner = open_database(settings), open_owner(settings)
        open_keys(settings, load_catalogue(self.package))
        try:
            await self.schema.require(application, owner)
        finally:
            await close_engines(application, owner)

    async def _migrate(self, settings: Settings, arguments: argparse.Namespace) -> None:
        """Bring the database to what the service needs, or show what that would take."""
        application, owner = open_database(settings), open_owner(settings)
        try:
            role = None if owner is None else application.url.username
            sys.stdout.write(await self.schema.run(owner or application, role, arguments))
        finally:
            await close_engines(application, owner)


def open_database(settings: ServiceSettings) -> AsyncEngine:
    """Open the database, whose default is a file in the home."""
    url = settings.database
    if not settings.database_url:
        make_folder(settings.home)
    return open_engine(url, settings.pool)


def open_owner(settings: ServiceSettings) -> AsyncEngine | None:
    """Open the database as the owner of its tables; None if the settings name none."""
    url = settings.owner_database
    return open_engine(url, replace(settings.pool, name="owner", size=1)) if url else None


async def open_store(
    settings: ServiceSettings, catalogue: Catalogue, *, isolated: bool = False
) -> Store:
    """Open the database; MigrationRefused if it is not what the contract says.

    Raises KeyRingError for a contract with sealed or hashed fields without good keys.
    """
    keys = open_keys(settings, catalogue)
    engine, owner = open_database(settings), open_owner(settings)
    page_key = settings.page_key.encode() or secrets.token_bytes(32)
    tables = Tables(catalogue, isolated=isolated, keys=keys)
    store = Store(engine, tables, page_key=page_key, owner=owner)
    try:
        await require_schema(engine, store.tables, owner=owner)
    except BaseException:
        # Cancelled as well: nobody else knows of the connections yet.
        await close_store(store)
        raise
    return store


def open_keys(settings: ServiceSettings, catalogue: Catalogue) -> KeyRing | None:
    """Read the keys that the settings name; KeyRingError if they name none and must."""
    if settings.sealing_keys:
        return read_keys(Path(settings.sealing_keys))
    sealed = sorted(kind.collection for kind in catalogue.kinds.values() if needs_keys(kind))
    if sealed:
        raise KeyRingError(
            f"{settings.prefix()}SEALING_KEYS is not set: {len(sealed)} kinds have fields that are "
            f"kept sealed or hashed ({sealed[0]}, ...); python -m mesh.sealing FILE makes keys"
        )
    return None


async def close_engines(application: AsyncEngine, owner: AsyncEngine | None) -> None:
    """Close all connections to a database."""
    await application.dispose()
    if owner is not None:
        await owner.dispose()


async def close_store(store: Store) -> None:
    """Close the connections of a store."""
    await store.engine.dispose()
    if store.has_owner:
        await store.owner.dispose()


class Probe:
    """A look at the database by a connection of its own.

    Calls that wait for a connection do not make the database unready.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._engine = open_engine(settings.database, _PROBE)

    async def is_answering(self) -> bool:
        """Tell whether the database answers."""
        async with self._engine.connect() as connection:
            await connection.execute(sa.select(1))
        return True

    async def close(self) -> None:
        """Close its connection."""
        await self._engine.dispose()
