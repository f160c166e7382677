"""How the schema of the crypto service is brought about, for its commands."""

import argparse

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.sql.engine import translated
from mesh.sql.isolation import isolation_problem
from mesh.sql.schema import MigrationRefused
from services.crypto.migrations.standing import head, serving_problem, version_of
from services.crypto.tables import METADATA


class VersionedSchema:
    """A schema in versions (``mesh.server.deployable.Schema``)."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``migrate``."""
        way = parser.add_mutually_exclusive_group()
        way.add_argument(
            "--plan", action="store_true", help="show each version and its SQL; change nothing"
        )
        way.add_argument(
            "--apply", action="store_true", help="change the database, which is also the default"
        )
        parser.add_argument(
            "--output", choices=["text", "json"], default="text", help="form of stdout"
        )

    async def run(
        self, owner: AsyncEngine, application: str | None, arguments: argparse.Namespace
    ) -> str:
        """Plan or migrate and give what is to be printed. Raises MigrationRefused."""
        # ``serve`` offers the command's options too, and does without Alembic.
        from services.crypto.migrations.database import migrate, plan

        done = await plan(owner) if arguments.plan else await migrate(owner, application)
        if arguments.output == "json":
            shown = [
                {"revision": each.revision, "summary": each.summary, "sql": each.sql}
                for each in done
            ]
            return orjson.dumps({"versions": shown}, option=orjson.OPT_INDENT_2).decode() + "\n"
        lines = []
        for each in done:
            lines.append(f"{each.revision}: {each.summary}")
            if arguments.plan:
                lines += [f"    {line}" for line in each.sql.splitlines() if line.strip()]
        made = "due" if arguments.plan else "made"
        return "\n".join([*lines, f"{len(done)} versions {made}; the newest is {head()}"]) + "\n"

    async def require(self, application: AsyncEngine, owner: AsyncEngine | None) -> None:
        """Have a database fit to serve; an empty one is filled by its owner. MigrationRefused."""
        with translated():
            if owner is not None and await _is_empty(owner):
                from services.crypto.migrations.database import migrate

                await migrate(owner, application.url.username)
            async with application.connect() as connection:
                if problem := await connection.run_sync(_problem):
                    raise MigrationRefused(problem)


async def _is_empty(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        return await connection.run_sync(version_of) is None


def _problem(connection: sa.Connection) -> str:
    return serving_problem(connection) or isolation_problem(connection, METADATA)
