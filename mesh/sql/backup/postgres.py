"""Copies of a PostgreSQL store, in the custom format of pg_dump."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from mesh.sql.backup.errors import BackupBroken, BackupProblem
from mesh.sql.backup.progress import Phase, Progress
from mesh.sql.settings import SILENT

_STEP_SECONDS = 0.2
_STEP_ROWS = 1000
_HEADER = re.compile(rb'COPY [\w.]+\.("?)(\w+)\1 \((.*)\) FROM stdin;\n')
_END = b"\\.\n"
_LOCK_WAIT = "15s"
"""Longest wait for writers to end."""


class PostgresDump:
    """Copies a database that others read and write meanwhile.

    The copy is one snapshot. A restore is one transaction that deletes the rows and
    copies those of the backup: until its commit all readers see the old store, those
    that begin afterwards the new one. Tables are not made anew, since a reader whose
    snapshot is older would find such a table empty.
    """

    def __init__(self, url: sa.URL, tables: Sequence[sa.Table], programs: Path) -> None:
        """Take tables in an order in which each comes after those that it refers to."""
        _, parts = sa.make_url(url).get_dialect()().create_connect_args(url)
        self._password = parts.pop("password", None)
        self._target = psycopg.conninfo.make_conninfo(**parts)
        self._tables = {table.name: table for table in tables}
        self._programs = programs

    def dump(self, target: Path, progress: Progress) -> dict[str, int]:
        """Write the store to a file that exists and is empty; give the rows by table."""
        progress.enter(Phase.WRITING)
        with _translated(), self._connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            found = connection.execute("SELECT pg_export_snapshot()").fetchone()
            rows = self._count(connection)
            arguments = [
                "--format=custom",
                "--no-owner",
                "--no-privileges",
                f"--file={target}",
                f"--snapshot={found[0] if found else ''}",
                *(f'--table="{name}"' for name in self._tables),
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
        with _translated(), self._connect() as connection:
            names = sql.SQL(", ").join(map(sql.Identifier, self._tables))
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_WAIT))
            # Those who watch records list them again: the feed is that of the backup, too.
            connection.execute("SELECT set_config(%s, 'on', true)", [SILENT])
            # Writers wait, readers do not.
            connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(names))
            for name in reversed(self._tables):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            for name in self._tables:
                self._copy(connection, file, name, progress)
            if self._count(connection) != rows:
                raise BackupBroken("its rows are not those that were written")

    def _copy(
        self, connection: psycopg.Connection, file: Path, name: str, progress: Progress
    ) -> None:
        with self._lines(file, f"--table={name}") as lines, connection.cursor() as cursor:
            for table, columns, data in _copies(lines):
                if table != name or not set(columns) <= set(self._tables[name].columns.keys()):
                    raise BackupBroken("it holds another table than it says")
                statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                    sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
                )
                with cursor.copy(statement) as copy:
                    for place, line in enumerate(data, progress.done + 1):
                        copy.write(line)
                        progress.move(place, progress.total)

    def _count(self, connection: psycopg.Connection) -> dict[str, int]:
        counts = {}
        for name in self._tables:
            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
            found = connection.execute(statement).fetchone()
            counts[name] = found[0] if found else 0
        return counts

    def _connect(self) -> psycopg.Connection:
        given = {} if self._password is None else {"password": str(self._password)}
        target = psycopg.conninfo.make_conninfo(self._target, client_encoding="utf8", **given)
        return psycopg.connect(target)

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


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        # Its text may hold rows.
        raise BackupProblem(f"PostgreSQL refused: {error.sqlstate or 'no answer'}") from error
