"""Copies of a PostgreSQL store, in the custom format of pg_dump."""

import os
import re
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import psycopg
import sqlalchemy as sa
from psycopg import sql

from mesh.sql.backup.errors import BackupBroken, BackupProblem
from mesh.sql.backup.giving_way import lock_tables
from mesh.sql.backup.leases import release_leases
from mesh.sql.backup.progress import Phase, Progress
from mesh.sql.change_table import (
    CHANGES,
    EPOCH,
    EPOCH_BYTES,
    FLOORS,
    SEQUENCE,
    TENANT,
    TRANSACTION,
)
from mesh.sql.change_triggers import CHANNEL
from mesh.sql.iam_password import signed
from mesh.sql.partitions import PARTITION, is_part_name
from mesh.sql.settings import SILENT

_STEP_SECONDS = 0.2
_STEP_ROWS = 1000
_HEADER = re.compile(rb'COPY [\w.]+\.("?)(\w+)\1 \((.*)\) FROM stdin;\n')
_LISTED = re.compile(rb"^[0-9]+; [0-9]+ [0-9]+ TABLE DATA \S+ (\S+) .*\n", re.MULTILINE)
_END = b"\\.\n"


class PostgresDump:
    """Copies a database that others read and write meanwhile.

    The copy is one snapshot. A restore is one transaction that deletes the rows and
    copies those of the backup: until its commit all readers see the old store, those
    that begin afterwards the new one. Tables are not made anew, since a reader whose
    snapshot is older would find such a table empty.
    """

    def __init__(self, url: sa.URL, tables: Sequence[sa.Table], programs: Path) -> None:
        """Take tables in an order in which each comes after those that it refers to."""
        self._url = url
        self._target, self._password = _target(url)
        self._tables = {table.name: table for table in tables}
        self._programs = programs

    def dump(self, target: Path, progress: Progress) -> dict[str, int]:
        """Write the store to a file that exists and is empty; give the rows by table."""
        progress.enter(Phase.WRITING)
        with translated(), connect(self._url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            found = connection.execute("SELECT pg_export_snapshot()").fetchone()
            rows = self._count(connection)
            arguments = [
                "--format=custom",
                "--no-owner",
                "--no-privileges",
                f"--file={target}",
                f"--snapshot={found[0] if found else ''}",
                # Rows of a part come as those of its table.
                "--load-via-partition-root",
                *(f'--table="{name}"' for name in self._tables),
                *(f'--table="{name}"' for name in self._parts(connection)),
                f"--dbname={self._target}",
            ]
            with self._run("pg_dump", arguments, subprocess.DEVNULL) as process:
                while process.poll() is None:
                    try:
                        process.wait(_STEP_SECONDS)
                    except subprocess.TimeoutExpired:
                        progress.move(target.stat().st_size, 0)
            if process.returncode:
                raise BackupProblem(f"pg_dump ended with {process.returncode}")
        return rows

    def inspect(self, file: Path, progress: Progress) -> dict[str, int]:
        """Read a backup whole and give its rows by table; BackupBroken."""
        progress.enter(Phase.CHECKING)
        rows = dict.fromkeys(self._tables, 0)
        with self._lines(file) as lines:
            for table, _columns, data in _copies(lines):
                for _ in data:
                    rows[table] = rows.get(table, 0) + 1
                    if not rows[table] % _STEP_ROWS:
                        progress.move(progress.done + _STEP_ROWS, 0)
        return rows

    def load(self, file: Path, rows: dict[str, int], progress: Progress) -> None:
        """Replace the live store by a backup with these rows; all of it or nothing."""
        progress.enter(Phase.RESTORING, sum(rows.values()))
        with translated(), connect(self._url) as connection:
            names = sql.SQL(", ").join(map(sql.Identifier, self._tables))
            # Those who watch records are told to list them again.
            connection.execute("SELECT set_config(%s, 'on', true)", [SILENT])
            lock_tables(connection, names)
            tenants = self._watched(connection)
            for name in reversed(self._tables):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            self._copy(connection, file, progress)
            if self._count(connection) != rows:
                raise BackupBroken("its rows are not those that were written")
            release_leases(connection, self._tables.values())
            if CHANGES in self._tables:
                # Those of the backup are numbered by the transactions of its own time and server.
                forget_changes(connection, tenants | self._watched(connection))

    def _watched(self, connection: psycopg.Connection) -> set[str]:
        """Give the tenants that have rows, if what becomes of rows can be watched."""
        found: set[str] = set()
        if CHANGES not in self._tables:
            return found
        for name, table in self._tables.items():
            if TENANT in table.c:
                statement = sql.SQL("SELECT DISTINCT {} FROM {}")
                columns = (sql.Identifier(TENANT), sql.Identifier(name))
                found.update(row[0] for row in connection.execute(statement.format(*columns)))
        return found

    def _copy(self, connection: psycopg.Connection, file: Path, progress: Progress) -> None:
        """Copy all tables, each after those that it refers to."""
        with (
            NamedTemporaryFile("wb") as order,
            connection.cursor() as cursor,
        ):
            order.write(b"".join(self._entries(file)))
            order.flush()
            with self._lines(file, f"--use-list={order.name}") as lines:
                for name, columns, data in _copies(lines):
                    table = self._tables.get(name)
                    if table is None or not set(columns) <= set(table.columns.keys()):
                        raise BackupBroken("it holds another table than it says")
                    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                        sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
                    )
                    with cursor.copy(statement) as copy:
                        for place, line in enumerate(data, progress.done + 1):
                            copy.write(line)
                            progress.move(place, progress.total)

    def _entries(self, file: Path) -> list[bytes]:
        """Give the entries of a backup that are rows, in the order of the tables."""
        with self._run("pg_restore", ["--list", str(file)], subprocess.PIPE) as process:
            listed = process.communicate()[0]
        if process.returncode:
            raise BackupBroken(f"pg_restore ended with {process.returncode}")
        order = list(self._tables)
        found = [
            (order.index(name), match[0])
            for match in _LISTED.finditer(listed)
            if (name := self._whole_of(match[1].decode())) is not None
        ]
        return [line for _, line in sorted(found)]

    def _whole_of(self, name: str) -> str | None:
        """Give the table that an entry's rows are of: itself, or the one that it is a part of."""
        if name in self._tables:
            return name
        logs = (each for each in self._tables.values() if PARTITION in each.info)
        return next((each.name for each in logs if is_part_name(each, name)), None)

    def _parts(self, connection: psycopg.Connection) -> Iterator[str]:
        """Give the parts of tables that are split: pg_dump does not take them by itself."""
        found = connection.execute(
            "SELECT part.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid "
            "JOIN pg_class whole ON whole.oid = inhparent "
            "WHERE whole.relname = ANY(%s) AND whole.relnamespace = current_schema()::regnamespace "
            "AND part.relkind = 'r'",
            [list(self._tables)],
        )
        return (name for (name,) in found)

    def _count(self, connection: psycopg.Connection) -> dict[str, int]:
        counts = {}
        for name in self._tables:
            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
            found = connection.execute(statement).fetchone()
            counts[name] = found[0] if found else 0
        return counts

    @contextmanager
    def _lines(self, file: Path, *more: str) -> Iterator[Iterator[bytes]]:
        """Read a backup's rows as pg_restore writes them; BackupBroken."""
        arguments = ["--data-only", "--file=-", *more, str(file)]
        with self._run("pg_restore", arguments, subprocess.PIPE) as process:
            if process.stdout is None:
                raise RuntimeError("pg_restore has no output")
            yield iter(process.stdout)
            if process.wait():
                raise BackupBroken(f"pg_restore ended with {process.returncode}")

    @contextmanager
    def _run(
        self, program: str, arguments: Sequence[str], output: int
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a program without a shell; the password goes by the environment."""
        environment = dict(os.environ)
        if self._password is not None:
            environment["PGPASSWORD"] = str(self._password)
        try:
            process = subprocess.Popen(
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                # What it says may hold rows.
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise BackupProblem(f"{program} cannot be started: {error.strerror}") from error
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _copies(lines: Iterator[bytes]) -> Iterator[tuple[str, tuple[str, ...], Iterator[bytes]]]:
    """Give each table's name, columns and rows; rows must be read before the next table."""
    for line in lines:
        if header := _HEADER.fullmatch(line):
            columns = header[3].decode().replace('"', "").split(", ")
            yield header[2].decode(), tuple(columns), _rows(lines)


def _rows(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        if line == _END:
            return
        yield line
    raise BackupBroken("it ends in the middle of a table")


def connect(url: sa.URL) -> psycopg.Connection:
    """Open a connection without the store's; psycopg.Error."""
    target, password = _target(url)
    given = {} if password is None else {"password": password}
    return psycopg.connect(psycopg.conninfo.make_conninfo(target, client_encoding="utf8", **given))


def forget_changes(connection: psycopg.Connection, tenants: Iterable[str]) -> None:
    """Let all who watch records of tenants begin anew: no place before this commit is left.

    What is restored is not announced row by row. A watch that goes on is told REVISION_GONE.
    """
    # A watch that began just before has the number of this transaction, and sequence 0; one of
    # another server may have any numbers, and none has this epoch.
    table, floors, tenant = map(sql.Identifier, (CHANGES, FLOORS, TENANT))
    epoch = secrets.token_hex(EPOCH_BYTES)
    for each in tenants:
        connection.execute(sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, tenant), [each])
        connection.execute(
            sql.SQL(
                "INSERT INTO {0} ({1}, {2}, {3}, {4})"
                " VALUES (%s, pg_current_xact_id()::text::bigint, 1, %s)"
                " ON CONFLICT ({1}) DO UPDATE"
                " SET {2} = EXCLUDED.{2}, {3} = EXCLUDED.{3}, {4} = EXCLUDED.{4}"
            ).format(floors, tenant, *map(sql.Identifier, (TRANSACTION, SEQUENCE, EPOCH))),
            [each, epoch],
        )
    connection.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def begin_anew(url: sa.URL, tables: Iterable[sa.Table], tenants: Iterable[str]) -> None:
    """Let a store that was written by copying be served: no row is worked on, no place is left.

    BackupProblem if the database refuses.
    """
    with translated(), connect(url) as connection:
        release_leases(connection, tables)
        forget_changes(connection, tenants)


def _target(url: sa.URL) -> tuple[str, str | None]:
    """Give what libpq connects to, and the password, which no command line may show."""
    url = signed(sa.make_url(url))
    _, parts = url.get_dialect()().create_connect_args(url)
    password = parts.pop("password", None)
    return psycopg.conninfo.make_conninfo(**parts), None if password is None else str(password)


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        # Its text may hold rows.
        raise BackupProblem(f"PostgreSQL refused: {error.sqlstate or 'no answer'}") from error
