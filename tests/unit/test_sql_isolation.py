"""PostgreSQL itself keeps tenants apart, and the role of the service cannot undo it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.embedded.postgres import APPLICATION, Access
from mesh.errors import OwnerMissing, ResourceNotFound
from mesh.identity.caller import Caller
from mesh.server.call import Call, enter_call
from mesh.sql.engine import Pool, open_engine
from mesh.sql.integrity import checked_rows
from mesh.sql.migration import migrate, plan_migration
from mesh.sql.schema import MigrationRefused, require_schema
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from mesh.sql.tenancy import acting_for
from tests.databases import isolated_database, server
from tests.unit.sql_contract import sample_catalogue
from tests.unit.sql_rows import KEY, boxed, plain, put

TABLES = Tables(sample_catalogue(), isolated=True)


@dataclass(frozen=True)
class World:
    """One database and its two roles."""

    access: Access
    owner: AsyncEngine
    store: Store

    @property
    def application(self) -> AsyncEngine:
        return self.store.engine


@pytest.fixture(params=[18])
def access(request: pytest.FixtureRequest) -> Iterator[Access]:
    with isolated_database(request.param) as made:
        yield made


@pytest.fixture
async def world(access: Access) -> AsyncIterator[World]:
    owner, application = open_engine(access.owner), open_engine(access.application, Pool(size=1))
    await require_schema(application, TABLES, owner=owner)
    yield World(access, owner, Store(application, TABLES, page_key=KEY, owner=owner))
    await application.dispose()
    await owner.dispose()


async def fill(store: Store) -> None:
    for tenant in ("acme", "umbrella"):
        with acting_for(tenant):
            await put(store, "plains", plain("a", tenant, title=tenant), plain("b", tenant))
            await put(store, "everythings", boxed("box", "e", tenant))


async def count(connection: AsyncConnection, table: str) -> int:
    found = await connection.scalar(sa.text(f'SELECT count(*) FROM "{table}"'))  # noqa: S608  # a table of the contract
    return int(found)


@contextlib.contextmanager
def denied(words: str) -> Iterator[None]:
    with pytest.raises(sa.exc.ProgrammingError, match=words):
        yield


async def test_another_tenant_sees_no_row_of_any_table(world: World) -> None:
    await fill(world.store)
    seen = {}
    for tenant in ("acme", "umbrella", "initech", None):
        async with world.store.connection(tenant) as connection:
            counts = {name: await count(connection, name) for name in TABLES.metadata.tables}
        seen[tenant] = {name: number for name, number in counts.items() if number}
    assert seen["acme"] == seen["umbrella"] == {"plains": 2, "everythings": 1}
    assert seen["initech"] == seen[None] == {}
    async with world.store.whole() as connection:
        assert await count(connection, "plains") == 4


async def test_a_write_for_another_tenant_or_for_nobody_is_refused(world: World) -> None:
    for tenant in ("umbrella", None):
        async with contextlib.AsyncExitStack() as stack:
            if tenant:
                stack.enter_context(acting_for(tenant))
            with denied("row-level security"):
                await put(world.store, "plains", plain("a", "acme"))
    # Nor can a row be left to a tenant without a name, which no transaction has.
    async with world.application.connect() as connection:
        statement = sa.insert(TABLES["plains"].table).values(tenant_id="", id="a")
        with denied("row-level security"):
            await connection.execute(statement)
    async with world.store.whole() as connection:
        assert await count(connection, "plains") == 0


async def test_updates_and_deletes_do_not_reach_other_tenants(world: World) -> None:
    await fill(world.store)
    table = TABLES["plains"].table
    async with world.store.transaction("acme") as connection:
        assert (await connection.execute(sa.update(table).values(rank=7))).rowcount == 2
        assert (await connection.execute(sa.delete(table))).rowcount == 2
    async with world.store.transaction("umbrella") as connection:
        with denied("row-level security"):
            await connection.execute(sa.update(table).values(tenant_id="acme"))


async def test_a_connection_that_comes_back_keeps_no_tenant(world: World) -> None:
    await fill(world.store)
    # The pool has one connection: all that follows is of the same session.
    async with world.store.transaction("acme") as connection:
        session = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with contextlib.suppress(ZeroDivisionError):
        async with world.store.transaction("acme"):
            raise ZeroDivisionError
    async with world.application.connect() as connection:
        assert await connection.scalar(sa.text("SELECT pg_backend_pid()")) == session
        assert await count(connection, "plains") == 0
        setting = sa.text("SELECT current_setting('secmesh.tenant', true)")
        assert not await connection.scalar(setting)


async def test_the_tenant_is_the_requests_whatever_a_statement_says(world: World) -> None:
    await fill(world.store)

    async def call(tenant: str, named: str) -> str:
        enter_call(Call("/a/b", caller=Caller("user", "acme", frozenset()), tenant=tenant))
        found = await world.store.get("plains", f"tenants/{named}/plains/a")
        return str(found.plain.title)  # type: ignore[attr-defined]  # a record of the sample

    assert await asyncio.create_task(call("umbrella", "umbrella")) == "umbrella"
    # A request without names is the caller's own tenant's.
    assert await asyncio.create_task(call("", "acme")) == "acme"
    for own in ("acme", ""):
        with pytest.raises(ResourceNotFound):
            await asyncio.create_task(call(own, "umbrella"))


async def test_a_call_cannot_act_for_another_tenant() -> None:
    async def call() -> None:
        enter_call(Call("/a/b", tenant="acme"))
        with acting_for("acme"):
            pass
        with pytest.raises(RuntimeError), acting_for("umbrella"):
            pass

    await asyncio.create_task(call())
    for text in ("", "Acme", "a'; SET secmesh.tenant", "acme/plains"):
        with pytest.raises(ValueError, match="no tenant"), acting_for(text):
            pass


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("ALTER TABLE plains DISABLE ROW LEVEL SECURITY", "must be owner"),
        ("ALTER TABLE plains ADD COLUMN more text", "must be owner"),
        ("DROP POLICY tenant ON plains", "must be owner"),
        ("DROP TABLE plains", "must be owner"),
        ("TRUNCATE plains", "permission denied"),
        ("CREATE TABLE more (id int)", "permission denied"),
        ("CREATE POLICY more ON plains USING (true)", "must be owner"),
        (f"ALTER ROLE {APPLICATION} BYPASSRLS", "BYPASSRLS|permission denied"),
        ("SET ROLE secmesh_owner", "permission denied"),
        ("SET SESSION AUTHORIZATION postgres", "permission denied"),
        ("SET LOCAL row_security = off; SELECT * FROM plains", "row-level security"),
        ("INSERT INTO schema_history SELECT * FROM schema_history", "permission denied"),
        ("ALTER FUNCTION arraycontains(anyarray, anyarray) LEAKPROOF", "must be owner|superuser"),
    ],
)
async def test_the_application_can_neither_bypass_nor_alter(
    world: World, statement: str, words: str
) -> None:
    async with world.application.connect() as connection:
        with denied(words):
            for each in statement.split("; "):
                await connection.exec_driver_sql(each)


async def test_rows_come_in_by_a_temporary_table(world: World) -> None:
    await fill(world.store)
    upsert = (
        "INSERT INTO plains (tenant_id, id, etag, labels, title, rank) "
        "SELECT tenant_id, id, '', '{}', title, rank FROM incoming "
        "ON CONFLICT (tenant_id, id) DO UPDATE SET title = excluded.title, rank = excluded.rank "
        "WHERE (plains.title, plains.rank) IS DISTINCT FROM (excluded.title, excluded.rank)"
    )

    async def ingest(*rows: tuple[str, str, str, int]) -> int:
        async with world.store.transaction("acme") as connection:
            await connection.exec_driver_sql(
                "CREATE TEMP TABLE incoming (tenant_id text, id text, title text, rank int) "
                "ON COMMIT DROP"
            )
            raw = await connection.get_raw_connection()
            cursor = raw.driver_connection.cursor()  # type: ignore[union-attr]  # psycopg's
            copying = "COPY incoming (tenant_id, id, title, rank) FROM STDIN"
            async with cursor.copy(copying) as copy:
                for row in rows:
                    await copy.write_row(row)
            return (await connection.exec_driver_sql(upsert)).rowcount

    rows = [("acme", "a", "changed", 1), ("acme", "c", "new", 2)]
    assert await ingest(*rows) == 2
    assert await ingest(*rows) == 0
    with denied("row-level security"):
        await ingest(("umbrella", "a", "stolen", 1))
    found = await world.store.get("plains", "tenants/umbrella/plains/a")
    assert found.plain.title == "umbrella"  # type: ignore[attr-defined]  # a record of the sample


async def test_whole_store_work_needs_the_owner(world: World) -> None:
    await fill(world.store)
    rows = [each.rows async for each in checked_rows(world.store, "plains")]
    assert sum(rows) == 4
    alone = Store(world.application, TABLES, page_key=KEY)
    with pytest.raises(OwnerMissing):
        [each async for each in checked_rows(alone, "plains")]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("ALTER TABLE plains DISABLE ROW LEVEL SECURITY", "enable row-level security on plains"),
        ("ALTER TABLE plains NO FORCE ROW LEVEL SECURITY", "force row-level security on plains"),
        ("DROP POLICY tenant ON plains", "show the rows of plains to their tenant alone"),
        ("ALTER POLICY tenant ON plains USING (true)", "drop policy tenant of plains"),
        ("CREATE POLICY more ON plains USING (true)", "drop policy more of plains"),
        ('CREATE POLICY "it\'s: %" ON plains USING (true)', "drop policy it's: % of plains"),
    ],
)
@pytest.mark.parametrize("access", [16, 18], indirect=True)
async def test_what_protects_a_table_is_compared_and_mended(
    world: World, statement: str, told: str
) -> None:
    async with world.owner.begin() as connection:
        await connection.exec_driver_sql(statement.replace("%", "%%"))
    with pytest.raises(MigrationRefused, match=f"run `migrate` to {told}"):
        await require_schema(world.application, TABLES)
    plan = await plan_migration(world.owner, TABLES, application=APPLICATION)
    assert plan.due
    assert all(change.statements for change in plan.changes)
    done = await migrate(world.owner, TABLES, application=APPLICATION)
    assert str(done.steps[0]).startswith(told)
    await require_schema(world.application, TABLES)
    assert (await plan_migration(world.owner, TABLES, application=APPLICATION)).steps == ()


async def test_rights_that_were_taken_are_given_back(world: World) -> None:
    async with world.owner.begin() as connection:
        await connection.exec_driver_sql(f"REVOKE INSERT, DELETE ON plains FROM {APPLICATION}")
    plan = await migrate(world.owner, TABLES, application=APPLICATION)
    assert [str(step) for step in plan.steps] == [f"let {APPLICATION} use plains (insert, delete)"]
    await fill(world.store)


async def test_a_restored_database_lacks_a_right_that_migration_gives(world: World) -> None:
    async with world.owner.begin() as connection:
        name = await connection.scalar(sa.text("SELECT current_database()"))
        revoke = f'REVOKE TEMPORARY ON DATABASE "{name}" FROM {APPLICATION}'
        await connection.exec_driver_sql(revoke)
    with pytest.raises(MigrationRefused, match="temporary tables"):
        await require_schema(world.application, TABLES, owner=world.owner)
    await migrate(world.owner, TABLES, application=APPLICATION)
    await require_schema(world.application, TABLES, owner=world.owner)


async def test_an_unprotected_database_is_brought_to_it(access: Access) -> None:
    owner, application = open_engine(access.owner), open_engine(access.application)
    try:
        await migrate(owner, Tables(sample_catalogue()))
        with pytest.raises(MigrationRefused, match="run `migrate` as its owner"):
            await require_schema(application, TABLES)
        with pytest.raises(MigrationRefused, match="changes are due"):
            await require_schema(application, TABLES, owner=owner)
        await migrate(owner, TABLES, application=APPLICATION)
        await require_schema(application, TABLES)
        await fill(Store(application, TABLES, page_key=KEY))
    finally:
        await owner.dispose()
        await application.dispose()


async def test_an_empty_database_waits_for_its_owner(access: Access) -> None:
    application = open_engine(access.application)
    try:
        with pytest.raises(MigrationRefused, match="run `migrate` as its owner"):
            await require_schema(application, TABLES)
    finally:
        await application.dispose()


@pytest.mark.parametrize("version", [18])
async def test_a_role_that_could_undo_it_does_not_serve(version: int) -> None:
    host = server(version)
    with isolated_database(version) as access:
        name = str(sa.make_url(access.owner).database)
        owner = open_engine(access.owner)
        await migrate(owner, TABLES, application=APPLICATION)
        role = f"served_{uuid4().hex}"
        async with owner.begin() as connection:
            for url, told in ((access.owner, "has BYPASSRLS"), (host.url(name), "superuser")):
                other = open_engine(url)
                with pytest.raises(MigrationRefused, match=told):
                    await require_schema(other, TABLES)
                await other.dispose()
        root = open_engine(host.url(name))
        served = open_engine(host.url(name, role))
        try:
            for right, told in (
                ("CREATE ON SCHEMA public", "may create tables"),
                ("TRUNCATE ON plains", "may truncate the table plains"),
            ):
                async with root.begin() as connection:
                    if right.startswith("CREATE"):
                        await connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
                    await connection.exec_driver_sql(
                        f'GRANT CONNECT ON DATABASE "{name}" TO {role}'
                    )
                    await connection.exec_driver_sql(f"GRANT {right} TO {role}")
                await migrate(owner, TABLES, application=role)
                with pytest.raises(MigrationRefused, match=told):
                    await require_schema(served, TABLES)
                async with root.begin() as connection:
                    await connection.exec_driver_sql(f"REVOKE {right} FROM {role}")
            await require_schema(served, TABLES)
            async with root.begin() as connection:
                await connection.exec_driver_sql(f"ALTER TABLE plains OWNER TO {role}")
            with pytest.raises(MigrationRefused, match="owns the table plains"):
                await require_schema(served, TABLES)
        finally:
            await served.dispose()
            await owner.dispose()
            await root.dispose()


async def test_migration_needs_an_owner_that_sees_all_rows_and_a_role_that_exists(
    world: World,
) -> None:
    with pytest.raises(MigrationRefused, match="must see the rows of all tenants"):
        await migrate(world.application, TABLES, application=APPLICATION)
    with pytest.raises(MigrationRefused, match="there is no role nobody_at_all"):
        await migrate(world.owner, TABLES, application="nobody_at_all")
