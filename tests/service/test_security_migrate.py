"""The database of the security service is brought to its contract, and is that then."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import APPLICATION, Access
from mesh.sql.engine import open_engine
from mesh.sql.migration import migrate, plan_migration
from mesh.sql.sightings import GROUP, sightings_of
from tests.databases import security_database
from tests.derived import tables_of
from tests.service.security_world import CATALOGUE

TABLES = tables_of(CATALOGUE, isolated=True)


@pytest.fixture
def access() -> Iterator[Access]:
    with security_database() as made:
        yield made


async def test_a_database_from_before_sightings_gets_them(access: Access) -> None:
    engine = open_engine(access.owner)
    try:
        async with engine.begin() as connection:
            for collection in TABLES:
                sightings = sightings_of(TABLES[collection].table)
                if sightings is not None:
                    for table in (sightings.table, sightings.groups):
                        await connection.execute(sa.schema.DropTable(table))
                    statement = f"ALTER TABLE {collection} DROP COLUMN {GROUP} CASCADE"
                    await connection.exec_driver_sql(statement)
        plan = await migrate(engine, TABLES, application=APPLICATION)
        assert "add index ix_sast_issues_sighting_group to sast_issues" in {
            step.words for each in plan.changes for step in each.steps
        }
        assert not (await plan_migration(engine, TABLES, application=APPLICATION)).changes
    finally:
        await engine.dispose()
