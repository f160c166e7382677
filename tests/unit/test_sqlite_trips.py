"""What a statement costs on SQLite in trips to the connection's thread, and what it tells."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.sql.engine import WRITE, open_engine

TABLE = sa.Table(
    "pieces",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = open_engine(f"sqlite:///{tmp_path}/pieces.db")
    async with made.connect() as connection:
        await connection.execution_options(**{WRITE: True})
        async with connection.begin():
            await connection.run_sync(TABLE.metadata.create_all)
            await connection.execute(TABLE.insert(), [{"name": "a"}, {"name": "b"}])
    yield made
    await made.dispose()


async def test_a_statement_is_one_trip(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[Any] = []
    known: Any = aiosqlite.Connection._execute

    async def counted(connection: Any, function: Any, *given: Any, **more: Any) -> Any:
        trips.append(function)
        return await known(connection, function, *given, **more)

    async with engine.connect() as connection:
        await connection.begin()
        monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
        found = (await connection.execute(sa.select(TABLE.c.name))).scalars().all()
        assert found == ["a", "b"]
        assert len(trips) == 1
        await connection.execute(TABLE.update().values(name=TABLE.c.name + "x"))
        assert len(trips) == 2


async def test_a_statement_tells_its_rows_its_count_and_its_key(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        made = await connection.execute(TABLE.insert().values(name="c").returning(TABLE.c.id))
        assert made.scalar_one() == 3
        assert (await connection.execute(TABLE.insert().values(name="d"))).lastrowid == 4
        changed = await connection.execute(TABLE.update().values(name=TABLE.c.name + "x"))
        assert changed.rowcount == 4
        many = await connection.execute(
            TABLE.delete().where(TABLE.c.name == sa.bindparam("wanted")),
            [{"wanted": "ax"}, {"wanted": "none"}, {"wanted": "dx"}],
        )
        assert many.rowcount == 2
        none = await connection.execute(sa.select(TABLE).where(TABLE.c.id == 99))
        assert list(none.keys()) == ["id", "name"]
        assert none.first() is None


async def test_a_refused_statement_leaves_the_transaction(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        with pytest.raises(sa.exc.IntegrityError, match="UNIQUE constraint failed"):
            await connection.execute(TABLE.insert().values(name="a"))
        await connection.execute(TABLE.insert().values(name="c"))
    async with engine.connect() as connection:
        names = (await connection.execute(sa.select(TABLE.c.name))).scalars().all()
        assert names == ["a", "b", "c"]


async def test_rows_can_still_be_streamed(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.stream(sa.select(TABLE.c.name)) as rows:
        assert [row.name async for row in rows] == ["a", "b"]
