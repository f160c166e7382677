"""IngestRecords through gRPC against COPY into a temporary table and an upsert, without gRPC.

Run with ``python -m benchmarks.ingest [ROWS]``. One PostgreSQL, one table with its indexes and
references, the same rows: first import, then the same rows again. The server is a process of its
own with every interceptor; the peer is psycopg alone, 10,000 rows a transaction, and checks no rule
of the contract. Rounds alternate and the fastest of each counts. CPU is that of the processes.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
import sqlalchemy as sa
from psycopg.sql import SQL, Composed, Identifier

from benchmarks.account.cpu import cpu_seconds, family
from benchmarks.account.processes import started
from mesh.embedded.postgres import PostgresServer
from mesh.identity.keys import create_signing_key, sign_token
from mesh.sql.postgres import open_postgres
from mesh.sql.settings import Pool
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from secmesh.records.v1.ingest_pb2 import IngestRecordsResponse
from secmesh_client.aio import ingest
from secmesh_client.aio.channel import over
from secmesh_client.outgoing import Outgoing
from tests.unit.record_contract import PACKAGE, message, store_catalogue
from tests.unit.record_world import ITEMS, SHELVES, record_of

ROUNDS = 2
PEER_ROWS = 10_000
GOAL = 0.6
"""Part of the peer's rows per second that is to be reached."""


def records(count: int, round_: str) -> Iterator[Any]:
    """Give records of 8 fields, each of its own serial, on a hundred shelves."""
    for number in range(count):
        yield record_of(
            ITEMS,
            title="a finding",
            rank=number % 100,
            origin="scanner",
            sealed=True,
            serial=f"{round_}-{number:08}",
            tags=["a", "b"],
            door={"colour": "red", "width": number},
            shelf=f"{SHELVES}/shelf-{number % 100:06}",
        )


async def through_grpc(method: Any, given: list[Any]) -> None:
    """Send records, until the last is stored."""
    request = message("IngestRecordsRequest", parent="tenants/acme")
    count = 0
    async for result in ingest(method, request, given):
        if result.HasField("error"):
            raise RuntimeError(result.error.message)
        count += 1
    assert count == len(given)


def rows_of(store: Store, given: list[Any]) -> tuple[list[str], list[list[Any]]]:
    """Write the peer's rows beforehand: it is not asked to."""
    target = store.target("items")
    dialect = store.engine.dialect
    made = []
    for number, record in enumerate(given):
        record.name = f"{ITEMS}/peer-{record.item.serial}-{number}"
        record.create_time.GetCurrentTime()
        record.update_time.CopyFrom(record.create_time)
        record.etag = f"{number:032x}"
        made.append(target.codec.row(record))
    names = list(made[0])
    processors = {name: target.table.c[name].type.bind_processor(dialect) for name in names}
    moments = {"create_time", "update_time"}
    convert = {name: each for name, each in processors.items() if each and name in moments}
    return names, [
        [convert[name](value) if name in convert else value for name, value in row.items()]
        for row in made
    ]


def peer(connection: psycopg.Connection[Any], names: list[str], rows: list[list[Any]]) -> None:
    """Write rows by COPY and upsert."""
    kept = {"tenant_id", "id", "serial", "create_time", "update_time", "etag"}
    changed = [name for name in names if name not in kept]
    columns = _listed(names)
    upsert = SQL(
        "INSERT INTO items ({columns}) SELECT {columns} FROM peer ON CONFLICT (tenant_id, serial) "
        "DO UPDATE SET ({changed}) = ({new}) WHERE ({old}) IS DISTINCT FROM ({new})"
    ).format(
        columns=columns,
        changed=_listed(changed),
        old=_listed(changed, "items"),
        new=_listed(changed, "excluded"),
    )
    for first in range(0, len(rows), PEER_ROWS):
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE peer (LIKE items) ON COMMIT DROP")
            with cursor.copy(SQL("COPY peer ({}) FROM STDIN").format(columns)) as copy:
                for row in rows[first : first + PEER_ROWS]:
                    copy.write_row(row)
            cursor.execute(upsert)


def _listed(names: list[str], *table: str) -> Composed:
    return SQL(", ").join(Identifier(*table, name) for name in names)


@dataclass(frozen=True)
class Cost:
    """What a row took: microseconds of the clock, and of CPU by process."""

    wall: float
    client: float
    server: float
    database: float

    def __str__(self) -> str:
        return (
            f"{1e6 / self.wall:>8,.0f} rows/s   CPU per row: {self.client:5.1f} us client"
            f"  {self.server:5.1f} us server  {self.database:5.1f} us PostgreSQL"
        )


class Meter:
    """Measures what is done with a number of rows by this process, the server and PostgreSQL."""

    def __init__(self, rows: int, server: int, postgres: int) -> None:
        self._rows = rows
        self._server = server
        self._postgres = postgres
        self.best: dict[str, Cost] = {}

    @contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Note the cost of the block; of several of one name the fastest counts."""
        before = self._taken()
        yield
        spent = [
            (after - first) * 1e6 / self._rows
            for first, after in zip(before, self._taken(), strict=True)
        ]
        cost = Cost(*spent)
        if what not in self.best or cost.wall < self.best[what].wall:
            self.best[what] = cost

    def _taken(self) -> tuple[float, ...]:
        database = cpu_seconds(family(self._postgres))
        return time.perf_counter(), time.process_time(), cpu_seconds([self._server]), database


async def main(count: int) -> int:
    """Print rows per second of both, what they cost, and the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = folder / "keys"
        create_signing_key(keys)
        with PostgresServer(folder / "data") as postgres:
            url = postgres.create_database("bench")
            arguments = ["tests.service.record_server", url, str(keys)]
            async with started("server", arguments, {}, folder) as (told, server):
                meter = Meter(count, server, postgres.pid)
                await measure(told["address"], keys, url, count, meter)
    ratios = {}
    for what in ("first", "again"):
        ours, other = meter.best[f"{what}, gRPC"], meter.best[f"{what}, peer"]
        ratios[what] = other.wall / ours.wall
        print(f"{what:<6} peer {other}")
        print(f"{what:<6} gRPC {ours}   ratio {ratios[what]:.2f}")
    return 0 if ratios["first"] >= GOAL else 1


async def measure(address: str, keys: Path, url: str, count: int, meter: Meter) -> None:
    """Let both write, in turns."""
    engine = open_postgres(sa.make_url(url), Pool())
    store = Store(engine, Tables(store_catalogue()), page_key=b"k" * 32)
    token = sign_token(keys, subject="bench", tenant="acme", permissions=("store.*.*",))
    async with over(grpc.aio.insecure_channel(address), Outgoing("", token)) as channel:
        method = channel.stream_stream(
            f"/{PACKAGE}.RecordService/IngestRecords",
            request_serializer=message("IngestRecordsRequest").__class__.SerializeToString,
            response_deserializer=IngestRecordsResponse.FromString,
        )
        shelves = [
            record_of(f"{SHELVES}/shelf-{number:06}", room="r", place=number)
            for number in range(100)
        ]
        await through_grpc(method, shelves)
        for round_ in range(ROUNDS):
            names, rows = rows_of(store, list(records(count, f"p{round_}")))
            given = list(records(count, f"g{round_}"))
            with psycopg.connect(url) as connection:
                for what in ("first", "again"):
                    with meter.measured(f"{what}, peer"):
                        peer(connection, names, rows)
                    with meter.measured(f"{what}, gRPC"):
                        await through_grpc(method, given)
    await engine.dispose()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)))
