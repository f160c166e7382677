"""Conditions compiled, evaluated in memory and run in SQL, against the same written by hand.

Run with ``python benchmarks/cel_conditions.py``. The best of several rounds counts. In
memory the peer is a Python function over the message; in SQLite it is the statement that
a person would write, over the same table. Both know nothing of absent fields' logic
beyond this one condition, so they are the limit and not a substitute. Exits with 1 if a
ratio exceeds its limit.
"""

import sys
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from mesh.cel import CelType, Condition, Environment, TableColumns
from mesh.contract.catalogue import load_catalogue
from mesh.sql.tables import Tables
from secmesh.inventory.v1 import record_pb2

ROUNDS, CALLS, ROWS = 7, 2_000, 100_000
KIND = load_catalogue("secmesh.inventory.v1").kinds["security_groups"]
NOW = datetime(2026, 5, 1, tzinfo=UTC)
MICROS = int(NOW.timestamp()) * 1_000_000
DAY = 86_400_000_000

Predicate = Callable[[record_pb2.Record], bool | None]


def by_fields(record: record_pb2.Record) -> bool | None:
    """Write FIELDS by hand."""
    body = record.security_group
    if not body.HasField("unused") or not body.HasField("group_name"):
        return None
    known = record.HasField("valid_from")
    age = MICROS - record.valid_from.ToMicroseconds() if known else 0
    return not body.unused and body.group_name.startswith("web") and known and age < 90 * DAY


def by_rules(record: record_pb2.Record) -> bool | None:
    """Write RULES by hand, for rules whose ports are known."""
    return any(rule.from_port <= 22 <= rule.to_port for rule in record.security_group.open_to_world)


FIELDS = '!unused && group_name.startsWith("web") && now - record.valid_from < duration("2160h")'
RULES = "open_to_world.exists(r, r.from_port <= 22 && 22 <= r.to_port)"
CASES: list[tuple[str, Predicate, str]] = [
    (
        FIELDS,
        by_fields,
        f"NOT unused AND substr(group_name, 1, 3) = 'web' AND {MICROS} - valid_from < {90 * DAY}",
    ),
    (
        RULES,
        by_rules,
        "EXISTS (SELECT 1 FROM json_each(open_to_world)"
        " WHERE json_extract(value, '$.from_port') <= 22"
        " AND json_extract(value, '$.to_port') >= 22)",
    ),
]


def record(place: int) -> record_pb2.Record:
    """Give a security group as a sync would write it."""
    made = record_pb2.Record(name=f"tenants/acme/security_groups/g{place}", region="eu-west-1")
    made.valid_from.FromMicroseconds(MICROS - (place % 180) * DAY)
    body = made.security_group
    body.group_name, body.unused = f"{'web' if place % 2 else 'db'}-{place}", place % 3 == 0
    for port in (443, 8000 + place % 100, 22 if place % 10 == 0 else 80):
        body.open_to_world.add(protocol="tcp", from_port=port, to_port=port)
    return made


def microseconds(call: Callable[[], Any], calls: int = CALLS) -> float:
    """Time one call, in microseconds."""
    call()
    return min(timeit.repeat(call, number=calls, repeat=ROUNDS)) / calls * 1e6


MOST_IN_MEMORY, MOST_IN_SQL = 6.0, 3.0
"""Times that a condition may take of what is written by hand."""


def line(name: str, ours: float, peer: float, *, unit: str, most: float) -> bool:
    """Print a comparison and tell whether it is within its limit."""
    ratio = ours / peer
    times = f"{ours:>10.2f} {unit:<6} by hand {peer:>9.2f}"
    print(f"  {name:<12}{times}   ratio {ratio:.2f} of {most:.1f}")
    return ratio <= most


def in_memory(condition: Condition, by_hand: Predicate) -> bool:
    sample, parameters = record(7), {"now": NOW}

    def matches() -> bool | None:
        return condition.matches(sample.security_group, sample, parameters)

    assert matches() == by_hand(sample)
    times = microseconds(matches), microseconds(lambda: by_hand(sample))
    return line("in memory", *times, unit="us", most=MOST_IN_MEMORY)


def in_sql(connection: sa.Connection, table: sa.Table, condition: Condition, sql: str) -> bool:
    ours = sa.select(sa.func.count()).where(
        condition.to_sql(TableColumns(table, KIND), {"now": NOW})
    )
    peer = sa.select(sa.func.count()).select_from(table).where(sa.text(sql))
    assert connection.scalar(ours) == connection.scalar(peer)
    times = [microseconds(partial(connection.scalar, each), 1) / 1000 for each in (ours, peer)]
    return line(f"{ROWS:,} rows", *times, unit="ms", most=MOST_IN_SQL)


def compiled(text: str) -> Condition:
    """Compile without the cache, and print how long each step takes."""
    environment = Environment.of_kind(KIND, {"now": CelType.TIMESTAMP})
    condition = environment.compile(text)
    table = Tables(load_catalogue("secmesh.inventory.v1"))["security_groups"].table
    columns = TableColumns(table, KIND)
    cold = microseconds(lambda: environment.check(text), 200)
    print(f"  {'compile':<12}{cold:>10.2f} us")
    written = microseconds(lambda: condition.to_sql(columns, {"now": NOW}), 200)
    print(f"  {'to SQL':<12}{written:>10.2f} us")
    return condition


def main() -> int:
    """Print each condition with its times and ratios."""
    kept = []
    tables = Tables(load_catalogue("secmesh.inventory.v1"))
    target = tables["security_groups"]
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    began = time.perf_counter()
    Environment(KIND, {"now": CelType.TIMESTAMP})
    print(f"environment of a kind: {(time.perf_counter() - began) * 1e3:.2f} ms, made once")
    with engine.connect() as connection:
        rows = [target.codec.row(record(place)) for place in range(ROWS)]
        connection.execute(target.table.insert(), rows)
        for text, by_hand, sql in CASES:
            print(text)
            condition = compiled(text)
            kept.append(in_memory(condition, by_hand))
            kept.append(in_sql(connection, target.table, condition, sql))
    engine.dispose()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
