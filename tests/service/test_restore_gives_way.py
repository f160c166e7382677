"""Restores beside writers: PostgreSQL ends no writer for one that waits for it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier

from mesh.contract.digest import contract_digest
from mesh.sql.backup.postgres import PostgresDump
from mesh.sql.backup.programs import find_programs
from mesh.sql.backup.progress import Progress
from mesh.sql.backup.tenant import TenantBackup
from mesh.sql.engine import open_engine
from mesh.sql.members import MEMBER_OF
from tests.service.security_world import CATALOGUE
from tests.service.seeded_world import TABLES, SeededWorld, owned, seeded, settle


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeededWorld]:
    with seeded(tmp_path_factory.mktemp("written"), "acme", records=20) as made:
        settle(made.access)
        yield made


WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND wait_event_type = 'Lock' AND query ~ '^(DELETE FROM|LOCK TABLE)'"
)


def written_meanwhile(
    world: SeededWorld, order: tuple[str, str], restore: Callable[[], object]
) -> None:
    """Restore while a writer holds rows of one table, and then wants those of another."""
    text = SQL("SELECT id FROM {} WHERE tenant_id = 'acme' FOR UPDATE")
    held, wanted = (text.format(Identifier(each)) for each in order)
    with owned(world.access) as writer, ThreadPoolExecutor(1) as beside:
        assert writer.execute(held).fetchall()
        work = beside.submit(restore)
        with owned(world.access) as other:
            other.autocommit = True
            until = time.monotonic() + 100
            while other.execute(WAITING).fetchone() == (0,):
                assert not work.done()
                assert time.monotonic() < until
        assert writer.execute(wanted).fetchall()
        writer.commit()
        work.result()


def first_and_last(world: SeededWorld) -> tuple[str, str]:
    """Give the first table with records of acme in the order of references, and the last."""
    held = world.content("acme")
    names = [each.name for each in TABLES.metadata.sorted_tables if each.name in held]
    return names[0], names[-1]


def test_a_writer_is_not_ended_for_a_tenants_restore(world: SeededWorld, tmp_path: Path) -> None:
    backup = TenantBackup(open_engine(world.access.owner).url, TABLES, contract_digest(CATALOGUE))
    archive = tmp_path / "acme.zip"
    backup.dump("acme", archive, Progress())
    first, last = first_and_last(world)
    # Rows are removed from the last table to the first.
    load = partial(backup.load, "acme", archive, Progress(), replace=True)
    written_meanwhile(world, (first, last), load)


def test_a_writer_is_not_ended_for_a_whole_restore(world: SeededWorld, tmp_path: Path) -> None:
    before = world.content("acme")
    tables = [each for each in TABLES.metadata.sorted_tables if MEMBER_OF not in each.info]
    dump = PostgresDump(open_engine(world.access.owner).url, tables, find_programs(18))
    file = tmp_path / "all.backup"
    file.touch()
    rows = dump.dump(file, Progress())
    first, last = first_and_last(world)
    written_meanwhile(world, (last, first), partial(dump.load, file, rows, Progress()))
    assert world.content("acme") == before
