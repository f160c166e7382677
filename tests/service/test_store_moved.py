"""A store moves from SQLite to PostgreSQL: whole, verified, resumed where it was killed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from mesh.sql.moving_ledger import LEDGER
from mesh.sql.schema import MigrationRefused
from services.inventory.__main__ import open_store
from services.inventory.settings import InventorySettings
from tests.databases import NEWEST, empty_database
from tests.service.collect_world import CATALOGUE
from tests.service.moved_world import answers_of, filled_file, messages_of, served_at

pytestmark = pytest.mark.timeout(600)
KILLED = """
import os, signal, sys
from mesh.sql import moving
from services.inventory.__main__ import main

moving.CHUNK = 2
left = int(os.environ["KILLED_AFTER"])
note = moving.note

async def counted(*arguments):
    global left
    await note(*arguments)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

moving.note = counted
sys.exit(main())
"""


@dataclass
class Ends:
    """A file, and the database that it goes to."""

    source: str
    target: str
    home: Path

    @property
    def file(self) -> str:
        return self.source.removeprefix("sqlite:///")

    def move(self, *options: str, killed_after: int = 0) -> "subprocess.CompletedProcess[str]":
        environment = {
            **os.environ,
            "DATABASE_URL": self.source,
            "SECMESH_HOME": str(self.home),
            "KILLED_AFTER": str(killed_after),
        }
        program = ["-c", KILLED] if killed_after else ["-m", "services.inventory"]
        command = [sys.executable, *program, "move", "--to", self.target, *options]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=240
        )

    def tables(self) -> set[str]:
        """Give the tables of the target."""
        with psycopg.connect(self.target) as connection:
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
        return {name for (name,) in found}


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(NEWEST, tmp_path_factory) as url:
        yield url


@pytest.fixture
def ends(tmp_path: Path, target: str) -> Ends:
    file = shutil.copy(filled_file(), tmp_path / "store.db")
    return Ends(f"sqlite:///{file}", target, tmp_path)


async def test_everything_is_there_and_answers_are_the_same(ends: Ends) -> None:
    async with served_at(ends.source, ends.home) as world:
        before = await answers_of(world)
    kept = await messages_of(ends.source)
    empty = [name for name, found in kept.items() if name[1] == "gamma" and not found]
    assert empty == []
    tried = ends.move("--dry-run")
    assert (tried.returncode, tried.stderr) == (0, "")
    assert ends.tables() == set()
    done = ends.move()
    assert (done.returncode, done.stderr) == (0, "")
    *counted, last = done.stdout.splitlines()
    assert tried.stdout.splitlines() == [*counted, last.replace(*SAID)]
    assert await messages_of(ends.target) == kept
    assert await messages_of(ends.source) == kept
    assert LEDGER not in ends.tables()
    async with served_at(ends.target, ends.home) as world:
        assert await answers_of(world) == before
    again = ends.move()
    assert (again.returncode, again.stdout) == (1, "")
    assert "the target is not empty" in again.stderr


SAID = (
    "were moved and verified: serve with DATABASE_URL set to that database",
    "would be moved",
)


async def test_a_killed_move_goes_on_and_takes_what_was_changed_since(ends: Ends) -> None:
    for after in (1, 40):
        assert ends.move(killed_after=after).returncode == -signal.SIGKILL
        assert LEDGER in ends.tables()
        # Nobody serves half of a store.
        settings = InventorySettings(home=ends.home, database_url=ends.target)
        with pytest.raises(MigrationRefused, match="`move` again"):
            await open_store(settings, CATALOGUE)
    # Of what is copied already a row is another now, and one of what is copied later.
    with closing(sqlite3.connect(ends.file, isolation_level=None)) as connection:
        for table in ("access_analyzer", "vpn"):
            made = connection.execute(f"UPDATE {table} SET labels = ?", ['{"moved":"twice"}'])  # noqa: S608  # names of the test
            assert made.rowcount
    kept = await messages_of(ends.source)
    done = ends.move()
    assert (done.returncode, done.stderr) == (0, "")
    assert await messages_of(ends.target) == kept


async def test_what_was_changed_in_the_target_is_found_and_copied_anew(ends: Ends) -> None:
    kept = await messages_of(ends.source)
    assert ends.move(killed_after=40).returncode == -signal.SIGKILL
    with psycopg.connect(ends.target) as connection:
        connection.execute("SET secmesh.silent = 'on'")
        connection.execute('UPDATE access_analyzer SET labels = \'{"planted": "yes"}\'')
    refused = ends.move()
    assert refused.returncode == 1
    assert refused.stderr.startswith("access_analyzer: ")
    assert "planted" not in refused.stderr
    assert ends.move().returncode == 0
    assert await messages_of(ends.target) == kept


async def test_what_cannot_be_moved_is_left_alone(ends: Ends) -> None:
    with psycopg.connect(ends.target, autocommit=True) as connection:
        connection.execute("CREATE TABLE letters (id integer)")
        refused = ends.move()
        assert (refused.returncode, ends.tables()) == (1, {"letters"})
        assert "letters" in refused.stderr
        connection.execute("DROP TABLE letters")
    with closing(sqlite3.connect(ends.file, isolation_level=None)) as source:
        source.execute(
            "UPDATE sync_units SET state = 1, lease_expire_time = ? "
            "WHERE rowid = (SELECT min(rowid) FROM sync_units)",
            [2**52],
        )
        refused = ends.move()
        assert (refused.returncode, ends.tables()) == (1, set())
        assert "tenants/gamma/syncs/" in refused.stderr
        source.execute("UPDATE sync_units SET lease_expire_time = 0")
        source.execute("BEGIN IMMEDIATE")
        refused = ends.move()
        assert (refused.returncode, ends.tables()) == (1, set())
        assert "stop the service" in refused.stderr
        source.execute("ROLLBACK")
    unreachable = Ends(ends.source, "postgresql://ann:secret@127.0.0.1:1/none", ends.home).move()
    assert (unreachable.returncode, "secret" in unreachable.stderr) == (1, False)
    assert unreachable.stderr.startswith("the target cannot be reached")
    missing = Ends(f"sqlite:///{ends.home}/none.db", ends.target, ends.home).move()
    assert (missing.returncode, ends.tables()) == (1, set())
    assert not (ends.home / "none.db").exists()
    turned = Ends(ends.target, ends.source, ends.home).move()
    assert turned.returncode == 1
