"""Whether a database has the version that this program serves; asked without loading Alembic."""

from pathlib import Path

import sqlalchemy as sa

from services.crypto.migrations.roles import roles_problem

VERSION_TABLE = "alembic_version"
"""Where Alembic keeps the version of a database."""
_VERSIONS = Path(__file__).parent / "versions"
_VERSION = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant


def head() -> str:
    """Give the newest version that this program knows: files are named by their numbers."""
    return max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


def version_of(connection: sa.Connection) -> str | None:
    """Give the version of a database; None if it has none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(_VERSION)
    return found


def serving_problem(connection: sa.Connection) -> str:
    """Say why this program cannot serve a database as the connection's role; empty if it can."""
    current = version_of(connection)
    if current != head():
        shown = f"version {current}" if current else "no version"
        return f"the database has {shown} and this program needs {head()}: run `migrate`"
    return roles_problem(connection, connection.engine.url.username)
