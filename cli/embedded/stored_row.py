"""A person's row as whoever has the database sees it, beside the service and without a key."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

_ROW = "SELECT * FROM users WHERE tenant_id = %s AND id = %s"


def stored_row(database: str, tenant: str, user_id: str) -> dict[str, Any]:
    """Give what the columns of a person hold, empty ones left out; nothing if there is no row.

    Args:
        database: URL of the crypto service's database, as the owner of its tables.
        tenant: Of the person.
        user_id: A UUID.
    """
    with psycopg.connect(database, row_factory=dict_row) as connection:
        row = connection.execute(_ROW, (tenant, user_id)).fetchone()
    return {name: value for name, value in (row or {}).items() if value is not None}
