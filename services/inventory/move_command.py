"""The command ``move``: the whole store goes from SQLite to PostgreSQL."""

import argparse
import sys
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import load_catalogue
from mesh.server.deployable import CommandFailed, open_database, open_keys
from mesh.sql.engine import open_engine
from mesh.sql.moving import Move, MoveRefused
from mesh.sql.settings import Pool
from mesh.sql.tables import Tables
from services.inventory.errors import SyncRunning
from services.inventory.settings import InventorySettings
from services.inventory.unit_store import live_lease

PACKAGE = "secmesh.inventory.v1"


def add_move_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``move``."""
    parser.add_argument(
        "--to",
        required=True,
        metavar="URL",
        help="empty PostgreSQL database, such as postgresql://user@host/inventory; a password is "
        "better in PGPASSFILE than here, where others see it",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="count what would be moved; write nothing"
    )


async def move(settings: InventorySettings, arguments: argparse.Namespace) -> None:
    """Move the store that the settings name; CommandFailed."""
    target = open_engine(arguments.to, Pool(name="move", size=2))
    source = open_database(settings)
    try:
        _require_file(source.url.database)
        catalogue = load_catalogue(PACKAGE)
        tables = Tables(catalogue, keys=open_keys(settings, catalogue))

        async def refuse_running(connection: AsyncConnection) -> None:
            if sync := await live_lease(connection, tables):
                raise SyncRunning(sync)

        work = Move(source, target, tables)
        if arguments.dry_run:
            counts = await work.count(refuse_running)
            for name, rows in counts.items():
                _tell(name, rows)
            sys.stdout.write(f"{sum(counts.values())} rows would be moved\n")
            return
        rows = await work.run(refuse_running, _tell)
        sys.stdout.write(
            f"{rows} rows were moved and verified: serve with DATABASE_URL set to that database\n"
        )
    except MoveRefused as problem:
        raise CommandFailed(str(problem)) from problem
    finally:
        await source.dispose()
        await target.dispose()


def _require_file(path: str | None) -> None:
    """Make none where there is none."""
    if not path or not Path(path).is_file():
        raise CommandFailed("there is no SQLite file to be moved: see DATABASE_URL")


def _tell(table: str, rows: int) -> None:
    if rows:
        sys.stdout.write(f"{table}: {rows}\n")
        sys.stdout.flush()
