"""The tables of an old ``protecht.db``, read without trusting the file."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh.errors import FieldInvalid

MAX_ROWS = 100_000
"""Rows that one import takes."""
_STEPS = 200_000_000
"""Steps of SQLite's machine before a file is taken for an attack."""


@dataclass(frozen=True)
class OldTable:
    """One table as it is in the file."""

    name: str
    columns: tuple[str, ...]
    key: str
    """Column that names the thing: the one that is UNIQUE alone; empty if none is."""
    rows: list[tuple[Any, ...]]


def read_tables(document: bytes) -> list[OldTable]:
    """Give all tables by name; FieldInvalid if the file is no database or damaged."""
    try:
        with _opened(document) as connection:
            found = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
                "AND upper(sql) NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
            ).fetchall()
            tables: list[OldTable] = []
            left = MAX_ROWS
            for [name] in found:
                tables.append(_table(connection, name, left))
                left -= len(tables[-1].rows)
    except sqlite3.Error as error:
        raise FieldInvalid.of("document", "is no SQLite database, or damaged") from error
    return tables


@contextmanager
def _opened(document: bytes) -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(prefix="secmesh-import-") as folder:
        path = Path(folder) / "old.db"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(document)
        uri = f"{path.as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            connection.text_factory = lambda data: data.decode(errors="replace")
            connection.set_progress_handler(lambda: 1, _STEPS)
            yield connection


def _table(connection: sqlite3.Connection, name: str, limit: int) -> OldTable:
    quoted = '"' + name.replace('"', '""') + '"'
    # The name is the file's own and quoted; nothing else can stand there.
    cursor = connection.execute(f"SELECT * FROM {quoted} LIMIT {limit + 1}")  # noqa: S608  # quoted above
    rows = cursor.fetchall()
    if len(rows) > limit:
        raise FieldInvalid.of("document", f"holds more than {MAX_ROWS} rows")
    columns = tuple(str(each[0]) for each in cursor.description)
    return OldTable(name, columns, _key(connection, name), rows)


def _key(connection: sqlite3.Connection, name: str) -> str:
    """Give the column that is UNIQUE alone."""
    indexes = connection.execute(
        "SELECT name FROM pragma_index_list(?) WHERE \"unique\" AND origin = 'u' ORDER BY seq DESC",
        (name,),
    ).fetchall()
    for [index] in indexes:
        found = connection.execute("SELECT name FROM pragma_index_info(?)", (index,)).fetchall()
        if len(found) == 1:
            return str(found[0][0])
    return ""
