"""Under row-level security PostgreSQL uses an index for every condition that one is made for."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import APPLICATION
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import create_tables
from tests.databases import isolated_database
from tests.unit.index_contract import FILL, FILTERS, IN_LISTS, first_fields, index_tables
from tests.unit.sql_rows import KEY

TABLES = index_tables()
FINDINGS = TABLES["findings"]
CONDITIONS = [condition for each in FILTERS.values() for condition in each]


@pytest.fixture(scope="module", params=[16, 18])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with isolated_database(request.param) as access, asyncio.Runner() as runner:
        owner, application = open_engine(access.owner), open_engine(access.application)

        async def fill() -> None:
            await create_tables(owner, TABLES, application=APPLICATION)
            async with owner.begin() as connection:
                for statement in filter(str.strip, FILL.split(";")):
                    await connection.exec_driver_sql(statement)
            await owner.dispose()

        runner.run(fill())
        yield Store(application, TABLES, page_key=KEY)


async def explained(store: Store, condition: str) -> str:
    """Give the plan of a list by a condition, as the application's role of one tenant."""
    statement = store.select("findings", "acme").where(store.condition(FINDINGS, condition))
    sent: list[Any] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        sent.append((f"EXPLAIN {sql}", parameters))

    async with store.connection("acme") as connection:
        sa.event.listen(connection.sync_connection, "before_cursor_execute", note)
        rows = await store.fetch(statement, connection)
        assert 0 < len(rows) < 200
        told = "\n".join((await connection.exec_driver_sql(*sent[-1])).scalars())
    await store.engine.dispose()
    return told


async def test_a_page_in_the_order_of_ids_is_read_from_the_index_and_not_sorted(
    store: Store,
) -> None:
    sent: list[Any] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        sent.append((f"EXPLAIN {sql}", parameters))

    async with store.connection("acme") as connection:
        first = await store.page("findings", "tenants/acme", page_size=10, connection=connection)
        sa.event.listen(connection.sync_connection, "before_cursor_execute", note)
        token = first.next_page_token
        await store.page(
            "findings", "tenants/acme", page_size=10, page_token=token, connection=connection
        )
        told = "\n".join((await connection.exec_driver_sql(*sent[-1])).scalars())
    await store.engine.dispose()
    assert token
    assert "findings_pkey" in told, told
    assert "Sort" not in told, told


def test_each_first_field_of_an_index_is_asked() -> None:
    assert first_fields(FINDINGS.table).keys() == FILTERS.keys()


@pytest.mark.parametrize("condition", CONDITIONS)
async def test_an_indexed_condition_uses_its_index(store: Store, condition: str) -> None:
    field = next(name for name, each in FILTERS.items() if condition in each)
    told = await explained(store, condition)
    assert any(name in told for name in first_fields(FINDINGS.table)[field]), told
    # The index finds the field's value, not the tenant alone.
    conditions = [line for line in told.splitlines() if "Index Cond" in line]
    assert any(field in line for line in conditions), told
    assert "Seq Scan on findings" not in told


@pytest.mark.parametrize("condition", [each for some in IN_LISTS.values() for each in some])
async def test_a_value_in_a_list_is_found_by_its_index(store: Store, condition: str) -> None:
    field = next(name for name, each in IN_LISTS.items() if condition in each)
    told = await explained(store, condition)
    assert f"findings_{field}_pkey" in told, told
    assert "Seq Scan" not in told, told


def test_a_reference_has_an_index_unless_another_begins_with_it() -> None:
    names = {str(index.name) for index in FINDINGS.table.indexes}
    assert "ix_findings_owner_id_state" in names
    assert "ix_findings_owner_id" not in names
    # Findings without a fingerprint are not in the index of the natural key.
    assert "ix_findings_project_id" in names


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ('project_id == "tenants/acme/projects/p1"', True),
        ('project_id == "tenants/umbrella/projects/p1"', False),
        ('project_id != "tenants/umbrella/projects/p1"', True),
        ('project_id == "no name"', False),
        ('!(project_id in ["tenants/acme/projects/p1"])', False),
        ('name == "tenants/acme/findings/f1"', True),
        ('name == "tenants/umbrella/findings/f1"', False),
        # Nobody owns it: whatever is compared with that is unknown, and its denial too.
        ('owner_id == "tenants/umbrella/projects/p1"', None),
        ('owner_id in ["tenants/acme/projects/p1", "tenants/umbrella/projects/p1"]', None),
    ],
)
async def test_names_compared_by_ids_mean_the_same(
    store: Store, condition: str, found: bool | None
) -> None:
    update = sa.update(FINDINGS.table).where(FINDINGS.table.c.id == "f1")
    async with store.transaction("acme") as connection:
        await connection.execute(update.values(owner_id=None))
        asked = store.select("findings", "acme").where(FINDINGS.table.c.id == "f1")
        for text, wanted in ((condition, found), (f"!({condition})", found is False)):
            rows = await store.fetch(asked.where(store.condition(FINDINGS, text)), connection)
            assert bool(rows) is bool(wanted), text
    await store.engine.dispose()
