"""How the database is used, by all tenants together; sizes and counts, and nothing of any row."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

# The parts of a table, and of its indexes, count as the whole.
_TABLES = sa.text(
    'SELECT COALESCE(whole.relname, own.relname) AS "table", '
    "CAST(SUM(GREATEST(own.reltuples, 0)) AS bigint) AS row_count, "
    "CAST(SUM(pg_total_relation_size(own.oid)) AS bigint) AS size_bytes "
    "FROM pg_class own LEFT JOIN pg_inherits ON inhrelid = own.oid "
    "LEFT JOIN pg_class whole ON whole.oid = inhparent "
    "WHERE own.relkind = 'r' AND own.relnamespace = CAST(current_schema() AS regnamespace) "
    "GROUP BY 1 ORDER BY size_bytes DESC, 1"
)
_INDEXES = sa.text(
    'SELECT COALESCE(owner.relname, used.relname) AS "table", '
    'COALESCE(whole.relname, used.indexrelname) AS "index", '
    "CAST(SUM(idx_scan) AS bigint) AS scan_count, "
    "CAST(SUM(idx_tup_read) AS bigint) AS read_count, "
    "CAST(SUM(idx_tup_fetch) AS bigint) AS fetch_count, "
    "CAST(SUM(pg_relation_size(used.indexrelid)) AS bigint) AS size_bytes "
    "FROM pg_stat_user_indexes used LEFT JOIN pg_inherits ON inhrelid = used.indexrelid "
    "LEFT JOIN pg_class whole ON whole.oid = inhparent "
    "LEFT JOIN pg_index ON pg_index.indexrelid = whole.oid "
    "LEFT JOIN pg_class owner ON owner.oid = indrelid "
    "WHERE used.schemaname = current_schema() GROUP BY 1, 2 ORDER BY scan_count, 1, 2"
)
# States of other roles' connections are shown to superusers alone.
_CONNECTIONS = sa.text(
    "SELECT usename AS role, COALESCE(state, '') AS state, "
    "count(*) AS connection_count, min(state_change) AS oldest_time FROM pg_stat_activity "
    "WHERE datname = current_database() AND usename IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
)


class DatabaseUsageStore:
    """Looks at the database's own numbers; columns are called as the contract's fields."""

    async def usage(self, connection: AsyncConnection) -> Mapping[str, Sequence[RowMapping]]:
        """Give tables, indexes and connections, by the names of the contract's fields."""
        wanted = {"tables": _TABLES, "indexes": _INDEXES, "connections": _CONNECTIONS}
        return {
            name: (await connection.execute(statement)).mappings().all()
            for name, statement in wanted.items()
        }
