"""Brings a database to the newest version, all or none."""

import io
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.sql.engine import WRITE, lock_schema
from mesh.sql.isolation import admit, owner_problem
from mesh.sql.schema import MigrationRefused
from services.crypto.migrations.roles import roles_problem
from services.crypto.migrations.standing import version_of
from services.crypto.tables import METADATA


@dataclass(frozen=True)
class Version:
    """One version of the schema."""

    revision: str
    summary: str
    sql: str
    """All that it runs."""


async def plan(engine: AsyncEngine) -> list[Version]:
    """Give the versions that a database lacks, oldest first. Raises MigrationRefused."""
    async with engine.connect() as connection:
        return await connection.run_sync(_lacking)


async def migrate(owner: AsyncEngine, application: str | None) -> list[Version]:
    """Make the versions that a database lacks; give them. Raises MigrationRefused.

    ``application`` is the role that serves; None if it is the owner's own.
    """

    def upgrade(connection: sa.Connection) -> list[Version]:
        problem = owner_problem(connection, application)
        if problem := problem or roles_problem(connection, application):
            raise MigrationRefused(problem)
        # Whoever waited here finds the versions that the other process made.
        lock_schema(connection)
        lacking = _lacking(connection)
        command.upgrade(_config(connection), "head")
        admit(connection, METADATA, application)
        return lacking

    async with owner.connect() as connection:
        await connection.execution_options(**{WRITE: True})
        async with connection.begin():
            return await connection.run_sync(upgrade)


def _config(connection: sa.Connection | None = None, output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output)
    # Config reads percent signs as its own.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _lacking(connection: sa.Connection) -> list[Version]:
    scripts = ScriptDirectory.from_config(_config())
    current = version_of(connection)
    if current is not None and current not in {each.revision for each in scripts.walk_revisions()}:
        raise MigrationRefused(
            f"the database has version {current}, which this program does not know: the database "
            "is newer than the program"
        )
    missing = list(scripts.iterate_revisions("head", current or "base"))
    return [
        _version(each.revision, str(each.down_revision or "base"), each.doc)
        for each in reversed(missing)
    ]


def _version(revision: str, before: str, summary: str) -> Version:
    output = io.StringIO()
    command.upgrade(_config(output=output), f"{before}:{revision}", sql=True)
    return Version(revision, summary, output.getvalue())
