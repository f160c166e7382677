"""IngestRecords through gRPC against COPY into a temporary table and an upsert, without gRPC.

Run with ``python -m benchmarks.ingest [ROWS]``. One PostgreSQL, one table with its indexes,
references, checks and triggers of the change feed, the same rows: first import, then the same rows
again. The server is a process of its own with every interceptor; the peer is psycopg alone, 10,000
rows a transaction, and checks no rule of the contract.

Both take turns every 10,000 rows and all turns are counted, so that neighbours on the machine weigh
on both alike. Two ratios are shown: by the clock, where ours uses several cores if they are free,
and by the CPU of what writes (our server or the peer's process) with that of PostgreSQL, which does
not depend on how many are. The goal is one of rows a second, by the clock.
"""

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
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

TURN = 10_000
"""Rows of one turn, which are one transaction of the peer."""
GOAL = 0.6
"""Part of the peer's rows per second, or of its rows per second of CPU, that is to be reached."""


def records(count: int, turn: str) -> Iterator[Any]:
    """Give records of 8 fields, each of its own serial, on a hundred shelves."""
    for number in range(count):
        yield record_of(
            ITEMS,
            title="a finding",
            rank=number % 100,
            origin="scanner",
            sealed=True,
            serial=f"{turn}-{number:08}",
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
    """Write rows by COPY and upsert, in one transaction."""
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
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE peer (LIKE items) ON COMMIT DROP")
        with cursor.copy(SQL("COPY peer ({}) FROM STDIN").format(columns)) as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(upsert)


def _listed(names: list[str], *table: str) -> Composed:
    return SQL(", ").join(Identifier(*table, name) for name in names)


@dataclass(frozen=True)
class Cost:
    """What rows took: seconds of the clock, and of CPU by process."""

    wall: float = 0.0
    client: float = 0.0
    server: float = 0.0
    database: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall + other.wall,
            self.client + other.client,
            self.server + other.server,
            self.database + other.database,
        )

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall - other.wall,
            self.client - other.client,
            self.server - other.server,
            self.database - other.database,
        )

    def told(self, rows: int) -> str:
        """Write rows per second and microseconds per row."""
        client, server, database = (
            seconds * 1e6 / rows for seconds in (self.client, self.server, self.database)
        )
        return (
            f"{rows / self.wall:>8,.0f} rows/s   CPU per row: {client:5.1f} us client"
            f"  {server:5.1f} us server  {database:5.1f} us PostgreSQL"
        )


class Meter:
    """Measures what is done by this process, the server and PostgreSQL."""

    def __init__(self, server: int, postgres: int) -> None:
        self._server = server
        self._postgres = postgres
        self.spent: dict[str, Cost] = defaultdict(Cost)

    @contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Add the cost of the block to what it is part of."""
        before = self._taken()
        yield
        self.spent[what] += self._taken() - before

    def _taken(self) -> Cost:
        server, database = cpu_seconds([self._server]), cpu_seconds(family(self._postgres))
        return Cost(time.perf_counter(), time.process_time(), server, database)


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
                meter = Meter(server, postgres.pid)
                await measure(told["address"], keys, url, count // TURN, meter)
    rows = count // TURN * TURN
    ratios = {what: report(what, rows, meter) for what in ("first", "again")}
    return 0 if ratios["first"][0] >= GOAL else 1


def report(what: str, rows: int, meter: Meter) -> tuple[float, float]:
    """Print what both took for rows; give the ratios by the clock and by CPU."""
    ours, other = meter.spent[f"{what}, gRPC"], meter.spent[f"{what}, peer"]
    by_clock = other.wall / ours.wall
    # The peer's client is what writes; ours only brings the records.
    by_cpu = (other.client + other.database) / (ours.server + ours.database)
    print(f"{what:<6} peer {other.told(rows)}")
    print(f"{what:<6} gRPC {ours.told(rows)}   ratio {by_clock:.2f}, by CPU {by_cpu:.2f}")
    return by_clock, by_cpu


async def measure(address: str, keys: Path, url: str, turns: int, meter: Meter) -> None:
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
        with psycopg.connect(url) as connection:
            for turn in range(turns):
                names, rows = rows_of(store, list(records(TURN, f"p{turn}")))
                given = list(records(TURN, f"g{turn}"))
                for what in ("first", "again"):
                    with meter.measured(f"{what}, peer"):
                        peer(connection, names, rows)
                    with meter.measured(f"{what}, gRPC"):
                        await through_grpc(method, given)
    await engine.dispose()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 40_000)))
