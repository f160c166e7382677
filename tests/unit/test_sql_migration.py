"""A database is brought to its contract: what is added, what is refused, what survives."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf import message_factory
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.contract.catalogue import load_catalogue
from mesh.errors import FieldInvalid, ResourceExists
from mesh.sql.engine import open_engine
from mesh.sql.migration import Plan, migrate, plan_migration
from mesh.sql.migration_steps import Effect
from mesh.sql.schema import MigrationRefused, require_schema
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.unit.migration_contracts import OLD_FIELDS, library, old_library
from tests.unit.sql_contract import sample_catalogue

NEW_FIELDS = (
    OLD_FIELDS
    + """
      string shelf = 7 [(secmesh.options.v1.field).indexed = true];
      repeated string tags = 8;
      optional int64 price = 9 [(buf.validate.field).int64.gte = 0];
      bool lent = 10;
      bytes cover = 11;
      google.protobuf.Timestamp printed = 12;
    """
)


def newer(package: str, more: str = "", **changes: Any) -> Tables:
    given: dict[str, Any] = {
        "genres": "GENRE_DRAMA = 2;",
        "options": 'indexes: {fields: ["title", "genre"]}',
        "pages": True,
    }
    return library(package, fields=NEW_FIELDS + more, **(given | changes))


NEW = newer("library_new")


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """A database of the old contract with rows in it, as written before migrations were kept."""
    made = open_engine(database)
    await create_tables(made, old_library())
    await put(made, old_library(), book("a", sheets=3), book("b"), book("c", title="it's 5:00 %"))
    yield made
    await made.dispose()


def book(number: str, tables: Tables | None = None, **fields: Any) -> Any:
    kind = (tables or old_library())["books"].kind
    message: Any = message_factory.GetMessageClass(kind.message)(**fields)
    message.name = f"tenants/acme/books/{number}"
    message.valid_from.seconds = 1
    return message


def store_of(engine: AsyncEngine, tables: Tables) -> Store:
    return Store(engine, tables, page_key=b"k" * 32)


async def put(engine: AsyncEngine, tables: Tables, *messages: Any) -> None:
    store = store_of(engine, tables)
    async with store.transaction() as connection:
        await store.insert(connection, "books", messages)


async def read(engine: AsyncEngine, tables: Tables) -> list[Any]:
    return list((await store_of(engine, tables).page("books", "tenants/acme")).items)


async def run(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def history(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as connection:
        found = await connection.execute(sa.text("SELECT * FROM schema_history ORDER BY id"))
        return list(found)


def words(plan: Plan) -> str:
    return "\n".join(map(str, plan.steps))


async def shape(engine: AsyncEngine, tables: Tables) -> list[str]:
    return [str(step) for step in (await plan_migration(engine, tables)).steps]


@pytest.mark.parametrize("package", ["", "secmesh.inventory.v1"])
async def test_what_is_made_new_is_current(database: str, package: str) -> None:
    tables = Tables(load_catalogue(package) if package else sample_catalogue())
    engine = open_engine(database)
    try:
        made = await migrate(engine, tables)
        wanted = {f"create table {name}" for name in tables.metadata.tables}
        assert {str(step) for step in made.steps} == wanted
        assert await shape(engine, tables) == []
        # And what the plain way makes is the same.
        assert (await migrate(engine, tables)).steps == ()
    finally:
        await engine.dispose()


async def test_an_old_database_is_brought_up_and_its_rows_are_read(engine: AsyncEngine) -> None:
    plan = await plan_migration(engine, NEW)
    assert {step.effect for step in plan.steps} == {Effect.ADDITIVE}
    assert all(change.statements for change in plan.changes)
    assert "add column shelf (TEXT" in words(plan)
    assert "create table pages" in words(plan)
    assert "drop check ck_books_genre_defined of books, to make it anew" in words(plan)

    made = await migrate(engine, NEW)

    assert words(made) == words(plan)
    assert await shape(engine, NEW) == []
    found = await read(engine, NEW)
    assert [(each.title, each.sheets, each.shelf, list(each.tags)) for each in found] == [
        ("", 3, "", []),
        ("", 0, "", []),
        ("it's 5:00 %", 0, "", []),
    ]
    assert [each.HasField("price") for each in found] == [False] * 3
    assert {(each.lent, each.cover) for each in found} == {(False, b"")}
    await put(engine, NEW, book("d", NEW, genre=2, price=1, cover=b"\0\1", tags=["x"]))
    with pytest.raises(FieldInvalid):
        await put(engine, NEW, book("e", NEW, price=-1))
    with pytest.raises(FieldInvalid):
        await put(engine, NEW, book("e", NEW, genre=9))


async def test_processes_of_the_old_contract_go_on_writing(engine: AsyncEngine) -> None:
    await migrate(engine, NEW)
    await put(engine, old_library(), book("d", title="old"))
    assert [each.shelf for each in await read(engine, NEW)] == [""] * 4


async def test_what_was_done_is_written_down(engine: AsyncEngine) -> None:
    await migrate(engine, old_library())
    [adopted] = await history(engine)
    assert adopted.change == "found as the contract says"
    made = await migrate(engine, NEW)
    rows = (await history(engine))[1:]
    assert len(rows) == len(made.changes)
    assert {row.effect for row in rows} == {"additive"}
    assert len({row.contract for row in rows} - {adopted.contract}) == 1
    assert all(row.statements and row.version and "@" in row.applied_by for row in rows)
    await migrate(engine, NEW)
    assert len(await history(engine)) == 1 + len(rows)


async def test_what_the_contract_does_not_know_is_kept(engine: AsyncEngine) -> None:
    await migrate(engine, NEW)
    await run(
        engine,
        "ALTER TABLE books ADD COLUMN spine TEXT",
        "UPDATE books SET spine = 'blue'",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY)",
        "INSERT INTO notes VALUES (1), (2)",
        "CREATE INDEX by_spine ON books (spine)",
    )
    plan = await plan_migration(engine, NEW)
    assert sorted(map(str, plan.steps)) == [
        "drop column spine of books (the contract does not know it)",
        "drop index by_spine of books (the contract does not know it)",
        "drop table notes (the contract does not know it; it holds 2 rows)",
    ]
    assert {step.effect for step in plan.steps} == {Effect.DESTRUCTIVE}
    done = await migrate(engine, NEW)
    assert (done.steps, len(done.left)) == ((), 3)
    # SQLite copies the table for this, with what it has.
    latest = newer("library_kept", "int32 copies = 20 [(buf.validate.field).int32.lt = 9];")
    assert len((await migrate(engine, latest)).left) == 3
    async with engine.connect() as connection:
        spines = (await connection.exec_driver_sql("SELECT spine FROM books")).scalars().all()
        indexes = await connection.run_sync(lambda sync: sa.inspect(sync).get_indexes("books"))
    assert spines == ["blue"] * 3
    assert "by_spine" in {index["name"] for index in indexes}

    await migrate(engine, latest, allow_destructive=True)
    assert await shape(engine, latest) == []
    assert len(await read(engine, latest)) == 3


async def test_what_loses_data_is_refused_whole_until_it_is_allowed(engine: AsyncEngine) -> None:
    # A type that holds less, a value where NULL was, and a column beside.
    other = library("library_other", fields="optional string sheets = 6; string shelf = 7;")
    with pytest.raises(MigrationRefused, match="data would be lost") as refused:
        await migrate(engine, other)
    assert "change column sheets of books from INTEGER to TEXT" in str(refused.value)
    assert "shelf" not in str(refused.value)
    assert await shape(engine, old_library()) == []
    with pytest.raises(MigrationRefused, match="data would be lost"):
        await require_schema(engine, other)

    await migrate(engine, other, allow_destructive=True)
    assert [(each.sheets, each.HasField("sheets")) for each in await read(engine, other)] == [
        ("3", True),
        ("", False),
        ("", False),
    ]
    assert await shape(engine, other) == []


async def test_null_becomes_the_empty_value_only_if_allowed(engine: AsyncEngine) -> None:
    plain = library("library_plain", fields="int32 sheets = 6;")
    with pytest.raises(MigrationRefused, match=r"where it is NULL \(2 rows have no value"):
        await migrate(engine, plain)
    await migrate(engine, plain, allow_destructive=True)
    assert [each.sheets for each in await read(engine, plain)] == [3, 0, 0]
    assert await shape(engine, plain) == []
    # Room for NULL again takes nothing away.
    assert {step.effect for step in (await migrate(engine, library("library_null"))).steps} == {
        Effect.ADDITIVE
    }


async def test_a_wider_type_is_no_loss(engine: AsyncEngine) -> None:
    wide = library("library_wide", fields="optional int64 sheets = 6;")
    assert words(await migrate(engine, wide)) == (
        "change column sheets of books from INTEGER to BIGINT"
    )
    assert [each.sheets for each in await read(engine, wide)] == [3, 0, 0]
    assert await shape(engine, wide) == []


@pytest.mark.parametrize(
    ("package", "version", "problem"),
    [
        (
            "library_blocked0",
            {"title": "string title = 4 [(buf.validate.field).string.max_len = 5]"},
            r"length\(title\) <= 5 \(1 rows break it; repair them first\)",
        ),
        (
            "library_blocked1",
            {"title": "string title = 4 [(secmesh.options.v1.field).unique = true]"},
            r"unique index uq_books_title to books \(1 values come twice",
        ),
        (
            "library_blocked2",
            {"fields": OLD_FIELDS + "string isbn = 7 [(buf.validate.field).string.min_len = 9];"},
            r"length\(isbn\) >= 9 \(4 rows break it",
        ),
        ("library_blocked3", {"history": "false"}, "change the primary key of books"),
    ],
)
async def test_rows_in_the_way_are_never_removed(
    engine: AsyncEngine, package: str, version: dict[str, Any], problem: str
) -> None:
    await put(engine, old_library(), book("z", title=""))
    wanted = library(package, **version)
    for allowed in (False, True):
        with pytest.raises(MigrationRefused, match=problem):
            await migrate(engine, wanted, allow_destructive=allowed)
    assert await shape(engine, old_library()) == []
    assert len(await read(engine, old_library())) == 4


async def test_a_natural_key_leaves_out_what_lacks_its_end(engine: AsyncEngine) -> None:
    """The old rows are three of one title, two of them without a number of sheets."""
    key = 'natural_key: ["genre", "sheets"]'
    # The index is written for one database or the other: each has tables of its own here.
    keyed = library(f"library_keyed_{engine.dialect.name}", options=key)
    assert "add unique index uq_books_genre_sheets" in words(await migrate(engine, keyed))
    assert await shape(engine, keyed) == []
    await put(engine, keyed, book("x", keyed), book("y", keyed))
    with pytest.raises(ResourceExists):
        await put(engine, keyed, book("z", keyed, sheets=7), book("zz", keyed, sheets=7))


async def test_a_bound_that_was_dropped_by_hand_comes_back(engine: AsyncEngine) -> None:
    loose = library("library_loose", title="string title = 4")
    assert "drop check ck_books_title_max_len" in words(await migrate(engine, loose))
    await run(engine, "DROP INDEX uq_books_id")
    await run(engine, "CREATE UNIQUE INDEX uq_books_id ON books (tenant_id, id)")
    plan = await migrate(engine, library("library_again"))
    assert {step.effect for step in plan.steps} == {Effect.ADDITIVE}
    assert "drop index uq_books_id of books, to make it anew" in words(plan)
    assert await shape(engine, old_library()) == []
    with pytest.raises(FieldInvalid):
        await put(engine, old_library(), book("d", title="x" * 21))


async def test_an_older_program_does_not_bring_a_newer_database_back(engine: AsyncEngine) -> None:
    old = old_library()
    await migrate(engine, old)
    await migrate(engine, NEW)
    assert "newer than this program" in (await plan_migration(engine, old)).refusal(
        allow_destructive=False
    )
    for call in (migrate, require_schema):
        with pytest.raises(MigrationRefused, match="newer than this program"):
            await call(engine, old)
    assert await shape(engine, NEW) == []


async def test_two_at_once_both_end_well(engine: AsyncEngine) -> None:
    others = [open_engine(str(engine.url.render_as_string(hide_password=False))) for _ in range(3)]
    try:
        plans = await asyncio.gather(*(migrate(each, NEW) for each in (engine, *others)))
    finally:
        for each in others:
            await each.dispose()
    assert sorted(bool(plan.steps) for plan in plans) == [False, False, False, True]
    assert await shape(engine, NEW) == []
    assert len(await read(engine, NEW)) == 3


async def test_nothing_is_half_done(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr("mesh.sql.migration.write_history", fail)
    with pytest.raises(RuntimeError):
        await migrate(engine, NEW)
    assert await shape(engine, old_library()) == []
    assert len(await read(engine, old_library())) == 3


async def test_serving_needs_what_the_contract_says(engine: AsyncEngine) -> None:
    if engine.dialect.name == "sqlite":
        await require_schema(engine, NEW)
    else:
        with pytest.raises(MigrationRefused, match="changes are due; see `migrate --plan`"):
            await require_schema(engine, NEW)
        await migrate(engine, NEW)
    await require_schema(engine, NEW)
    assert await shape(engine, NEW) == []
