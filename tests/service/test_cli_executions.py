"""`secmesh executions` against a served store, as a person types it."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from services.tenancy.scheduling.scheduler import Scheduler
from tests.service.crypto_command import Command
from tests.service.tenancy_world import World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def test_an_execution_is_seen_ended_and_repeated(world: World) -> None:
    tenant = await world.tenant()
    await world.provider(tenant)
    account = (await world.account(tenant)).name
    secmesh = Command(world.address, world.home, tenant)
    await secmesh.json(
        "schedules", "create", account, "@daily", "--name", "Nightly", "--id", "nightly"
    )
    world.clock.turn(86_400)
    await Scheduler(world.parts.store, world.clock, Random(1)).tick()
    (made,) = await secmesh.json("executions", "list", "schedules/nightly")
    assert made["status"] == "EXECUTION_STATUS_QUEUED"
    for asked in (
        ["--account", account],
        ["--status", "queued"],
        [],
        ["schedules/nightly", "--since", made["fireTime"], "--until", made["fireTime"]],
    ):
        assert await secmesh.json("executions", "list", *asked) == [made]
    assert await secmesh.json("executions", "list", "schedules/nightly", "--triggered") == []
    now = await secmesh.json("schedules", "trigger", "schedules/nightly", "--overlap", "allow")
    listed = await secmesh.json("executions", "list", "schedules/nightly")
    assert [each["name"] for each in listed] == [now["name"], made["name"]]
    listed = await secmesh.json(
        "executions", "list", "schedules/nightly", "--until", made["fireTime"]
    )
    assert [each["name"] for each in listed] == [made["name"]]
    assert await secmesh.json("executions", "list", "--status", "dead") == []
    short = made["name"].removeprefix(f"tenants/{tenant}/")
    assert await secmesh.json("executions", "get", short) == made
    cancelled = await secmesh.json("executions", "cancel", short, "--etag", made["etag"])
    assert cancelled["status"] == "EXECUTION_STATUS_CANCELLED"
    stale = await secmesh.run("executions", "retry", short, "--etag", made["etag"])
    assert (stale.exit_code, "ETAG_MISMATCH" in stale.output) == (1, True)
    again = await secmesh.json("executions", "retry", short)
    assert again["status"] == "EXECUTION_STATUS_QUEUED"
    assert await secmesh.json("executions", "results") == []
    assert await secmesh.json("executions", "results", short) == []
    wrong = await secmesh.run("executions", "list", "--since", "2027-01-01")
    assert (wrong.exit_code, "--since" in wrong.output) == (2, True)
