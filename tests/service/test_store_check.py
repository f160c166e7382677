"""CheckStore on a real server, on each database: a sound store, and every way to be unsound."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.aws import AwsEndpoint
from mesh.sql.settings import WRITE
from secmesh.inventory.v1.store_service_pb2 import CheckStoreRequest
from tests.inventory_store import inventory_store
from tests.service.collect_world import world as collecting_world
from tests.service.store_world import Kept, fill, kept, user

PLATFORM = {"roles": ["platform"]}


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(database, tmp_path) as made:
        await fill(made)
        yield made


async def check(world: Kept, *, optimise: bool = False) -> tuple[set[tuple[str, str]], Any]:
    """Give what was found and the last progress."""
    *events, ended = await world.ask("CheckStore", CheckStoreRequest(optimise=optimise), **PLATFORM)
    assert ended.ended.code == 0
    found = {
        (event.finding.resource, event.finding.problem)
        for event in events
        if event.WhichOneof("event") == "finding"
    }
    return found, events[-1].progress


async def spoil(world: Kept, statement: str) -> None:
    async with world.store.engine.connect() as connection:
        await connection.execution_options(**{WRITE: True})
        async with connection.begin():
            await connection.execute(sa.text(statement))


async def test_a_sound_store_has_no_findings(world: Kept) -> None:
    found, progress = await check(world, optimise=True)
    assert found == set()
    assert (progress.rows, progress.findings) == (5 + 4 + 4, 0)
    assert await world.count("iam_users") == 4


async def test_what_is_wrong_is_named(world: Kept) -> None:
    await world.put("iam_users", user("over", 10, 40), user("over", 30), user("back", 50, 20))
    found, progress = await check(world)
    assert found == {
        ("tenants/acme/iam_users/over", "two versions overlap"),
        ("tenants/acme/iam_users/back", "a version ends before it begins"),
    }
    assert progress.findings == 2


async def test_a_second_current_version_is_named(world: Kept) -> None:
    await spoil(world, 'DROP INDEX "uq_iam_users_id"')
    await world.put("iam_users", user("b", 90))
    found, _ = await check(world)
    assert found == {("tenants/acme/iam_users/b", "has a version after its current one")}


async def test_a_row_that_cannot_be_read_hides_no_other(world: Kept) -> None:
    await spoil(world, "UPDATE iam_users SET unread = '[{\"field\": 7}]' WHERE id = 'b'")
    await spoil(world, "UPDATE iam_users SET cloud_account_id = '12' WHERE id = 'c'")
    found, _ = await check(world)
    assert {name for name, _ in found} == {f"tenants/acme/iam_users/{each}" for each in "bc"}


async def test_a_tenant_cannot_ask(world: Kept) -> None:
    error = await world.refused("CheckStore", CheckStoreRequest(), roles=["admin"])
    assert error.metadata["permission"] == "platform.inventory_store.check"


async def test_what_is_collected_is_sound(aws: AwsEndpoint, tmp_path: Path) -> None:
    async with collecting_world(aws, tmp_path) as collecting:
        await collecting.sync()
    async with kept(inventory_store(tmp_path), tmp_path) as made:
        found, progress = await check(made)
    assert found == set()
    assert progress.rows > 100
