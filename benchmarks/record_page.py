"""A page of 100 by filter, at any depth of a large collection, against the bare SQL for it.

Run with ``python -m benchmarks.record_page [ROWS]``. Alerts of one tenant (and a tenth as many of
another) lie in PostgreSQL under row-level security; the filter asks for a twentieth of them. Both
statements run over psycopg as the application's role, in a transaction of its own: the one that
the store makes of the filter and the page token, and one written by hand. What the whole page
costs, with its transaction and 100 messages, is shown beside them.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

from mesh.contract.catalogue import load_catalogue
from mesh.embedded.postgres import APPLICATION, PostgresServer
from mesh.identifiers import new_uuid
from mesh.sql.postgres import TENANT_SETTING, open_postgres
from mesh.sql.settings import Pool
from mesh.sql.store import Store
from mesh.sql.tables import KindTable, Tables, create_tables
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.vocabulary_detection_pb2 import ALERT_STATUS_NEW
from secmesh.security.v1.vocabulary_pb2 import SEVERITY_HIGH
from tests.service.security_records import Tag, body_of

KIND, TENANT, PARENT = "ids_alerts", "acme", "tenants/acme/ids_alerts"
FILTER = "status == ALERT_STATUS_NEW && severity == SEVERITY_HIGH"
ORDER = ""
STATUSES, SEVERITIES = 4, 5
PAGE = 100
DEPTHS = (0.0, 0.1, 0.5, 0.9)
ROUNDS = 40
LIMIT = 2.0
"""Times that our statement may take of the bare one."""


def fill(url: str, target: KindTable, count: int) -> None:
    """Write alerts by SQL, each a copy of one; what they refer to is not asked for."""
    record: Any = Record(name=f"tenants/{TENANT}/{KIND}/{new_uuid()}")
    body = getattr(record, target.kind.body_field or "")
    names = {each: pattern.format(TENANT, "a") for each, pattern in target.kind.references.items()}
    body.CopyFrom(body_of(target.kind, Tag("a"), names))
    record.create_time.GetCurrentTime()
    record.update_time.GetCurrentTime()
    row = target.codec.row(record)
    driven = url.replace("postgresql:", "postgresql+psycopg:", 1)
    engine = sa.create_engine(driven, json_serializer=str)
    own = {
        "tenant_id": SQL("t"),
        # In no order of the filtered fields, as ids and findings are.
        "id": SQL("'0198c0de-0000-7000-8000-' || lpad(to_hex(n), 12, '0')"),
        "status": SQL("1 + n % {}").format(STATUSES),
        "severity": SQL("1 + (n / {}) % {}").format(STATUSES, SEVERITIES),
    }
    with engine.begin() as connection:
        connection.exec_driver_sql("SET session_replication_role = replica")
        connection.execute(sa.insert(target.table), [row])
        copied = SQL("INSERT INTO {} ({}) SELECT {} FROM {}, {} WHERE id = {}").format(
            Identifier(KIND),
            SQL(", ").join(map(Identifier, row)),
            SQL(", ").join(own.get(name, Identifier(name)) for name in row),
            Identifier(KIND),
            SQL(
                "(SELECT 'acme' t, n FROM generate_series(1, {0}) n UNION ALL "
                "SELECT 'beta', n FROM generate_series(1, {0} / 10) n) numbers"
            ).format(count),
            row["id"],
        )
        driver: Any = connection.connection.driver_connection
        driver.execute(copied)
        driver.execute(SQL("DELETE FROM {} WHERE id = {}").format(Identifier(KIND), row["id"]))
    with psycopg.connect(url, autocommit=True) as plain:
        plain.execute(SQL("VACUUM ANALYZE {}").format(Identifier(KIND)))
    engine.dispose()


class Statements:
    """Remembers the last SELECT that an engine was asked."""

    def __init__(self, engine: sa.Engine) -> None:
        self.last: tuple[str, Any] = ("", ())
        sa.event.listen(engine, "before_cursor_execute", self._note)

    def _note(
        self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> None:
        if "LIMIT" in statement:
            self.last = (statement, parameters)


def bare(columns: list[str], after: str) -> tuple[Any, Any]:
    """Write the page by hand: the same columns, one look into the index."""
    listed = SQL(", ").join(map(Identifier, columns))
    statement = SQL(
        "SELECT {} FROM {} WHERE tenant_id = %s AND status = %s AND severity = %s AND id > %s "
        "ORDER BY id LIMIT %s"
    ).format(listed, Identifier(KIND))
    return statement, (TENANT, ALERT_STATUS_NEW, SEVERITY_HIGH, after, PAGE + 1)


def timed(connection: psycopg.Connection[Any], statement: tuple[Any, Any]) -> float:
    """Run a statement for the tenant and give its milliseconds."""
    with connection.transaction():
        connection.execute("SELECT set_config(%s, %s, true)", (TENANT_SETTING, TENANT))
        began = time.perf_counter()
        rows = connection.execute(*statement).fetchall()
        spent = time.perf_counter() - began
    assert len(rows) > PAGE
    return spent * 1000


def median(measure: Callable[[], float]) -> float:
    """Give the median of several rounds, after one that is not counted."""
    measure()
    return statistics.median(measure() for _ in range(ROUNDS))


async def main(count: int) -> int:
    """Print milliseconds by depth; exit code 1 where the store's statement takes too long."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as name, PostgresServer(Path(name) / "data") as server:
        access = server.create_isolated_database("bench")
        tables = Tables(load_catalogue("secmesh.security.v1"), isolated=True)
        owner = open_postgres(sa.make_url(access.owner), Pool())
        await create_tables(owner, tables, application=APPLICATION)
        await owner.dispose()
        fill(server.url("bench"), tables[KIND], count)
        engine = open_postgres(sa.make_url(access.application), Pool())
        store = Store(engine, tables, page_key=b"k" * 32)
        statements = Statements(engine.sync_engine)
        columns = list(tables[KIND].codec.public_columns)
        print(f"{count:,} rows, page of {PAGE}, milliseconds (median of {ROUNDS})")
        with psycopg.connect(access.application) as connection:
            for depth in DEPTHS:
                after = f"0198c0de-0000-7000-8000-{int(count * depth):012x}"
                whole = await page(store, after)
                ours = median(partial(timed, connection, statements.last))
                plain = median(partial(timed, connection, bare(columns, after)))
                worst = max(worst, ours / plain)
                print(
                    f"depth {depth:>4.0%}   bare SQL {plain:6.2f}   our SQL {ours:6.2f}   "
                    f"ratio {ours / plain:4.2f}   whole page {whole:6.2f}"
                )
        await engine.dispose()
    return 0 if worst <= LIMIT else 1


async def page(store: Store, after: str) -> float:
    """Read a page as ListRecords does and give its milliseconds."""
    token = store.tokens.write((KIND, TENANT, FILTER, ORDER, ""), [after])
    spent = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = await store.page(
            KIND, PARENT, filter=FILTER, order_by=ORDER, page_size=PAGE, page_token=token
        )
        spent.append(time.perf_counter() - began)
        assert len(found.items) == PAGE
    return statistics.median(spent) * 1000


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)))
