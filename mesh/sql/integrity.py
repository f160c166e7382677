"""Whether a whole store is sound: the database's own view, then every row by its contract."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message

from mesh.errors import DependencyUnavailable
from mesh.server.interceptors.validation import violations_of
from mesh.sql import engine as dialect
from mesh.sql.settings import WRITE
from mesh.sql.store import Store
from mesh.sql.tables import VALID_FROM, VALID_TO

_BATCH = 500
"""Rows looked at before other calls are served."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, told without values."""

    collection: str
    """Empty for the database itself."""
    resource: str
    """Name of the resource, as far as it can be told."""
    problem: str


@dataclass(frozen=True)
class Checked:
    """Some rows of a collection that were looked at."""

    collection: str
    rows: int
    findings: Sequence[Finding]


async def database_findings(store: Store) -> list[Finding]:
    """Ask the database whether its file and its references are sound.

    PostgreSQL has no such question: it checks its pages when rows are read.
    """
    if store.database != dialect.SQLITE:
        return []
    async with store.connection() as connection:
        told = (await connection.execute(sa.text("PRAGMA integrity_check(20)"))).scalars()
        found = [Finding("", "", f"integrity: {line}") for line in told if line != "ok"]
        broken = (await connection.execute(sa.text("PRAGMA foreign_key_check"))).all()
    return found + [Finding(row[0], "", f"refers to no row of {row[2]}") for row in broken]


async def checked_rows(store: Store, collection: str) -> AsyncIterator[Checked]:
    """Look at every row of a collection, of all tenants, in one snapshot.

    Each must decode and keep the bounds of its contract; a record has one current
    version at most, and its versions do not overlap.
    """
    target = store.target(collection)
    ids = target.kind.pattern.columns
    history = target.kind.option.history
    order = [target.table.c[name] for name in (*ids, *((VALID_FROM,) if history else ()))]
    columns = target.codec.columns
    statement = sa.select(*(target.table.c[name] for name in columns)).order_by(*order)
    decode = target.codec.decoder(columns, secrets=True)
    last: dict[str, Any] = {}
    async with store.whole() as connection:
        result = await connection.stream(statement)
        async for rows in result.partitions(_BATCH):
            findings = []
            for row in rows:
                values = dict(zip(columns, row, strict=True))
                problems = [_content_problem(decode, tuple(row))]
                if history:
                    problems.append(_version_problem(values, last, ids))
                name = target.kind.pattern.format(*(str(values[each]) for each in ids))
                findings += [Finding(collection, name, each) for each in problems if each]
                last = values
            yield Checked(collection, len(rows), findings)
            await asyncio.sleep(0)


def _content_problem(decode: Any, values: tuple[Any, ...]) -> str:
    try:
        message: Message = decode(values)
    except Exception as error:  # noqa: BLE001  # whatever is in the row, the others are looked at
        return f"cannot be read ({type(error).__name__})"
    found = violations_of(message)
    return f"breaks the bound {found[0].reason} of {found[0].field}" if found else ""


def _version_problem(row: dict[str, Any], last: dict[str, Any], ids: Sequence[str]) -> str:
    opened, closed = row[VALID_FROM], row[VALID_TO]
    if closed is not None and closed <= opened:
        return "a version ends before it begins"
    if not last or any(row[each] != last[each] for each in ids):
        return ""
    if last[VALID_TO] is None:
        return "has a version after its current one"
    return "two versions overlap" if last[VALID_TO] > opened else ""


async def optimise(store: Store) -> None:
    """Give free space back and renew what the planner knows; readers go on."""
    if store.database == dialect.SQLITE:
        async with store.alone():
            try:
                await asyncio.to_thread(_optimise_sqlite, Path(str(store.engine.url.database)))
            except sqlite3.Error as error:
                raise DependencyUnavailable("store") from error
        return
    with dialect.translated():
        async with store.owner.connect() as connection:
            await connection.execution_options(**{WRITE: True, "isolation_level": "AUTOCOMMIT"})
            for collection in store.tables:
                await connection.exec_driver_sql(
                    f'VACUUM (ANALYZE) "{store.target(collection).table.name}"'
                )


def _optimise_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=15, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
