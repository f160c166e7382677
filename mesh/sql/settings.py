"""How a database is reached, whichever it is."""

from dataclasses import dataclass

WRITE = "secmesh_write"
"""Execution option of a connection that is going to write."""
ACTING = "secmesh.actor"
"""Setting of a transaction in PostgreSQL: who writes, for the change feed."""
SILENT = "secmesh.silent"
"""Setting of a transaction in PostgreSQL whose writes are not announced (a restore)."""


class EngineUrlError(ValueError):
    """The database URL names no database that is supported."""


@dataclass(frozen=True)
class Pool:
    """Connections that one process holds to its database."""

    name: str = "store"
    """What metrics call it."""
    size: int = 8
    """Connections that are kept."""
    overflow: int = 8
    """Connections beyond those, closed after use."""
    wait_seconds: float = 15
    """Longest wait for a connection."""
    connect_seconds: int = 5
    """Longest wait for a server to take a new connection, at least 2; not for files."""
