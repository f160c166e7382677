"""`secmesh schedules` against a served store, as a person types it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.crypto_command import Command
from tests.service.tenancy_world import OPERATOR, World, tenancy_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def operator(world: World) -> tuple[Command, str]:
    """Give the command of a new tenant's admin, and the tenant's account."""
    tenant = await world.tenant()
    await world.provider(tenant)
    account = (await world.account(tenant)).name
    return Command(world.address, world.home, tenant), account


async def test_a_schedule_is_led_from_its_creation_to_its_end(world: World) -> None:
    secmesh, account = await operator(world)
    made = await secmesh.json(
        *("schedules", "create", account, "30 2 * * *", "--name", "Nightly", "--id", "nightly"),
        *("--time-zone", "Europe/Berlin", "--dst-gap", "skip", "--dst-fold", "both"),
        *("--misfire", "all", "--overlap", "buffer-one", "--jitter", "600"),
        *("--region", "eu-west-1", "--region", "eu-west-2", "--pause-on-failure"),
    )
    assert made["accountId"] == account.rsplit("/", 1)[-1]
    assert (made["dstGap"], made["dstFold"]) == ("DST_GAP_SKIP", "DST_FOLD_BOTH")
    assert made["misfirePolicy"] == "MISFIRE_POLICY_ALL"
    assert made["overlapPolicy"] == "OVERLAP_POLICY_BUFFER_ONE"
    assert made["regions"] == ["eu-west-1", "eu-west-2"]
    assert made["nextFireTime"] == "2027-01-16T01:30:00Z"
    changed = await secmesh.json(
        *("schedules", "update", "schedules/nightly", "--expression", "@daily"),
        *("--jitter", "0", "--no-pause-on-failure", "--overlap", "skip"),
    )
    assert changed["nextFireTime"] == "2027-01-15T23:00:00Z"
    assert "jitterSeconds" not in changed
    assert "pauseOnFailure" not in changed
    paused = await secmesh.json("schedules", "pause", "schedules/nightly", "--reason", "freeze")
    assert paused["pauseReason"] == "freeze"
    assert (await secmesh.json("schedules", "resume", made["name"]))["state"].endswith("ACTIVE")
    listed = await secmesh.json("schedules", "list", "--account", changed["accountId"])
    assert [each["name"] for each in listed] == [made["name"]]
    stale = await secmesh.run("schedules", "delete", made["name"], "--etag", made["etag"])
    assert (stale.exit_code, "ETAG_MISMATCH" in stale.output) == (1, True)
    await secmesh.json("schedules", "delete", made["name"])
    assert await secmesh.json("schedules", "list") == []
    assert len(await secmesh.json("schedules", "list", "--deleted")) == 1
    back = await secmesh.json("schedules", "undelete", made["name"])
    assert await secmesh.json("schedules", "get", made["name"]) == back


async def test_a_preview_shows_what_clocks_do_to_an_expression(world: World) -> None:
    secmesh, account = await operator(world)
    shown = await secmesh.run(
        *("schedules", "preview", "30 2 * * *", "--time-zone", "Europe/Berlin"),
        *("--after", "2027-03-27T12:00:00Z", "--count", "2"),
    )
    assert shown.exit_code == 0, shown.output
    first = next(line for line in shown.output.splitlines() if "2027-03-28" in line)
    assert "2027-03-28T03:00:00+02:00" in first
    assert "gap-shifted" in first
    assert "plain" not in shown.output
    await secmesh.json(
        "schedules", "create", account, "@hourly", "--name", "Hourly", "--id", "hourly"
    )
    (fire,) = await secmesh.json("schedules", "preview", "schedules/hourly", "--count", "1")
    assert fire["fireTime"] == "2027-01-15T09:00:00Z"


async def test_a_schedule_is_run_by_hand_and_for_its_past(world: World) -> None:
    secmesh, account = await operator(world)
    await secmesh.json(
        "schedules", "create", account, "@hourly", "--name", "Hourly", "--id", "hourly"
    )
    now = await secmesh.json("schedules", "trigger", "schedules/hourly")
    assert (now["status"], now["trigger"]) == (
        "EXECUTION_STATUS_QUEUED",
        "EXECUTION_TRIGGER_MANUAL",
    )
    beside = await secmesh.json("schedules", "trigger", "schedules/hourly", "--overlap", "allow")
    assert beside["status"] == "EXECUTION_STATUS_QUEUED"
    world.clock.turn(3 * 3600)
    past = await secmesh.json(
        *("schedules", "backfill", "schedules/hourly"),
        *("--start", "2027-01-15T09:00:00Z", "--end", "2027-01-15T10:30:00Z"),
    )
    assert [each["fireTime"] for each in past] == ["2027-01-15T09:00:00Z", "2027-01-15T10:00:00Z"]


async def test_what_is_mistyped_is_named(world: World) -> None:
    secmesh, account = await operator(world)
    refused = await secmesh.run("schedules", "create", account, "61 * * * *", "--name", "x")
    assert (refused.exit_code, "minute (field 1 of 5): '61'" in refused.output) == (1, True)
    word = await secmesh.run(
        "schedules", "create", account, "@daily", "--name", "x", "--misfire", "never"
    )
    assert (word.exit_code, "one of skip, once, all" in word.output) == (2, True)
    nothing = await secmesh.run("schedules", "update", "schedules/none")
    assert (nothing.exit_code, "nothing to change" in nothing.output) == (2, True)
    unknown = await secmesh.run("schedules", "get", "schedules/none")
    assert (unknown.exit_code, "does not exist" in unknown.output) == (1, True)
    assert "hint:" not in unknown.output
    theirs = await secmesh.run("schedules", "get", "tenants/others/schedules/none")
    assert "which sees nothing of others" in theirs.output


async def test_the_platform_lists_what_is_due(world: World) -> None:
    secmesh, account = await operator(world)
    made = await secmesh.json("schedules", "create", account, "@hourly", "--name", "Hourly")
    world.clock.turn(3600)
    platform = Command(world.address, world.home, OPERATOR)
    due = await platform.run("-o", "json", "schedules", "due", roles=["platform"])
    assert due.exit_code == 0, due.output
    assert made["name"] in due.output
    refused = await secmesh.run("schedules", "due")
    assert (refused.exit_code, "PERMISSION_MISSING" in refused.output) == (1, True)
