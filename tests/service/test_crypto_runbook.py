"""The runbook's SQL, run as it stands by an auditor: it tells what `secmesh crypto stats` does."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from mesh.embedded.postgres import OWNER, SUPERUSER, Access
from secmesh.crypto.v1 import statistics_service_pb2 as pb
from services.crypto.migrations.roles import AUDIT
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.rotation_story import store

RUNBOOK = (Path(__file__).parents[2] / "docs/CRYPTO_OPERATIONS.md").read_text()
BLOCKS = re.findall(r"```sql\n(.+?)```", RUNBOOK, re.DOTALL)
STATEMENTS = [each.strip() for block in BLOCKS for each in block.split(";") if each.strip()]


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


async def test_every_statement_works_and_counts_as_the_service_does(
    world: World, access: Access
) -> None:
    await store(world, 2)
    asked = pb.GetStatisticsRequest(name=f"{world.parent}/statistics")
    shown = await world.statistics().GetStatistics(asked)
    told = _told(access, world.tenant)
    assert len(told) == len(STATEMENTS) > len(BLOCKS)
    sealed = told["SELECT * FROM encryption_stats"]
    assert {(each["field_name"], each["total_fields"]) for each in sealed} == {
        (each.field, each.value_count) for each in shown.encryption
    }
    ages = next(rows for statement, rows in told.items() if "FROM user_keys" in statement)
    assert [(each["state"], each["count"]) for each in ages] == [("active", 2)]
    assert {each["tenant_id"] for each in sealed} == {world.tenant}


def _told(access: Access, tenant: str) -> dict[str, list[dict[str, Any]]]:
    superuser = access.owner.replace(f"{OWNER}@", f"{SUPERUSER}@")
    with psycopg.connect(superuser, row_factory=dict_row) as connection:
        connection.execute(f"SET ROLE {AUDIT}")
        return {
            each: connection.execute(each.replace("'acme'", f"'{tenant}'").encode()).fetchall()
            for each in STATEMENTS
        }
