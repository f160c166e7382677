"""How a database is reached, whichever it is."""

from dataclasses import dataclass

ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
"""What libpq calls connections that are never in clear (``sslmode``)."""
WRITE = "secmesh_write"
"""Execution option of a connection that is going to write."""
ACTING_FOR = "secmesh_acting_for"
"""Execution option: the tenant that a transaction, or the one a statement is run in, works for."""
SERVED = "secmesh_served"
"""Execution option: the tenant that is not removed before a transaction that writes is over."""

ISOLATED = "isolated"
"""What the tables of a contract remember together: rows are shown to their tenant alone."""
RIGHTS = "rights"
"""What a table remembers of what the application may do with its rows (``options.v1.Rights``)."""
LEASE = "lease"
"""What a column remembers if it names the process that works on the row (``options.v1.Field``)."""
ACTING = "secmesh.actor"
"""Setting of a transaction in PostgreSQL: who writes, for the change feed."""
REQUEST = "secmesh.request"
"""Setting of a transaction in PostgreSQL: the id of the call that writes, for the change feed."""
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
    """Connections that are kept; of those to a file at most two."""
    overflow: int = 8
    """Connections beyond those, closed after use."""
    wait_seconds: float = 15
    """Longest wait for a connection."""
    recycle_seconds: int = -1
    """Age at which a connection is replaced before its next use; -1 for never. Not for files."""
    shows_statements: bool = False
    """Whether statements are logged, without the values in them. Not for files."""
    connect_seconds: int = 5
    """Longest wait for a server to take a new connection, at least 2; not for files."""
    reads_tables: bool = True
    """False for statements without any, which need not have a file's tables and triggers parsed."""
