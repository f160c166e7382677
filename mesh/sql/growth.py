"""How large tables are and how full the database server is, as metrics.

Read over the owner's connection every few minutes, not at each look of a collector: a look must
not cost the database anything, nor fail with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from mesh.sql import engine as dialect
from mesh.sql.recurring import Recurring
from mesh.sql.store import Store

_EVERY = timedelta(minutes=5)
# Parts of a log count as their table.
_SIZES = sa.text(
    "SELECT COALESCE(whole.relname, own.relname), SUM(pg_total_relation_size(own.oid)) "
    "FROM pg_class own LEFT JOIN pg_inherits ON inhrelid = own.oid "
    "LEFT JOIN pg_class whole ON whole.oid = inhparent "
    "WHERE own.relkind = 'r' AND own.relnamespace = CAST(current_schema() AS regnamespace) "
    "GROUP BY 1"
)
_CONNECTIONS = sa.text(
    "SELECT SUM(numbackends), CAST(current_setting('max_connections') AS integer) "
    "FROM pg_stat_database"
)


@dataclass
class _Seen:
    """What was seen last, by any store of the process."""

    bytes: Mapping[str, int] = field(default_factory=dict)
    connections: tuple[int, int] | None = None


_SEEN = _Seen()


class Growth(Recurring):
    """Looks again and again at the size of a store on PostgreSQL."""

    def __init__(self, store: Store) -> None:
        super().__init__(_EVERY, "the sizes of tables could not be read")
        self._store = store

    def start(self) -> None:
        """Look at once and then again and again, until ``close``."""
        if self._store.database == dialect.POSTGRESQL:
            super().start()

    async def look(self) -> None:
        """Note the bytes of each table of the contract; DependencyUnavailable."""
        async with self._store.whole() as connection:
            sizes = {row[0]: int(row[1]) for row in await connection.execute(_SIZES)}
            used, most = (await connection.execute(_CONNECTIONS)).one()
        known = self._store.tables.metadata.tables
        _SEEN.bytes = {name: size for name, size in sizes.items() if name in known}
        _SEEN.connections = (int(used), int(most))


def _bytes(_options: CallbackOptions) -> Iterable[Observation]:
    for name, size in _SEEN.bytes.items():
        yield Observation(size, {"table": name})


def _used(_options: CallbackOptions) -> Iterable[Observation]:
    if _SEEN.connections is not None:
        yield Observation(_SEEN.connections[0])


def _most(_options: CallbackOptions) -> Iterable[Observation]:
    if _SEEN.connections is not None:
        yield Observation(_SEEN.connections[1])


_METER = metrics.get_meter("mesh.sql")
_METER.create_observable_gauge(
    "db.table.size", [_bytes], unit="By", description="bytes of a table with its indexes"
)
_METER.create_observable_gauge(
    "db.server.connection.count", [_used], description="connections of all clients of the server"
)
_METER.create_observable_gauge(
    "db.server.connection.max", [_most], description="connections that the server takes"
)
