"""A file's connections: few are kept, and more are opened only while all of those are in use."""

from pathlib import Path

import sqlalchemy as sa

from mesh.sql.engine import open_engine
from mesh.sql.pool import MeasuredPool
from mesh.sql.settings import Pool

KEPT = 3


def pool_of(engine: sa.Engine) -> MeasuredPool:
    pool = engine.pool
    assert isinstance(pool, MeasuredPool)
    return pool


async def test_who_holds_all_that_are_kept_is_given_more(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}", Pool(size=4, overflow=1))
    held = [await engine.connect() for _ in range(5)]
    pool = pool_of(engine.sync_engine)
    assert (pool.checkedout(), pool.largest) == (5, 5)
    for each in held:
        await each.close()
    assert (pool.checkedout(), pool.checkedin()) == (0, KEPT)
    await engine.dispose()


async def test_one_that_comes_back_is_taken(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    pool = pool_of(engine.sync_engine)
    for _ in range(2 * KEPT):
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))
    assert (pool.checkedout(), pool.checkedin()) == (0, 1)
    await engine.dispose()


async def test_a_pool_of_one_gives_one(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}", Pool(size=1, overflow=0))
    async with engine.connect():
        assert pool_of(engine.sync_engine).largest == 1
    await engine.dispose()


async def test_without_tables_a_file_answers(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}", Pool(size=1, reads_tables=False))
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await engine.dispose()
