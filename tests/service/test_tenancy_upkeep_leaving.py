"""Off-boardings that somebody began and left: gone on with, by nobody's call."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_OFFBOARDED, TENANT_STATUS_OFFBOARDING
from services.tenancy.assembly import open_others
from services.tenancy.offboarding import Offboarding
from services.tenancy.upkeep.job import Tally
from services.tenancy.upkeep.jobs import leavings
from tests.service.tenancy_world import World, settings_of, tenancy_world
from tests.service.test_tenancy_offboarding import Told, delete, filled, with_others

HOUR = 3600
REST = 300


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def passed(world: World, offboarding: Offboarding) -> Tally:
    """Run the job once, with these other services."""
    parts = replace(world.parts)
    parts.__dict__["offboarding"] = offboarding
    return await leavings(parts, REST).run()


async def test_what_somebody_began_is_gone_on_with(world: World) -> None:
    tenant = await filled(world)
    await delete(world, tenant)
    inventory = Told("inventory", refusals=2, rows=[7, 5])
    offboarding = with_others(world, inventory)
    assert await passed(world, offboarding) == Tally(), "nobody asked for it"
    await offboarding.offboard(tenant, tenant, shred=True)
    assert await passed(world, offboarding) == Tally(), "a call was just now"
    world.clock.turn(REST)
    # It is refused once more.
    assert await passed(world, offboarding) == Tally(failed=1)
    assert (await world.parts.tenants.get(tenant)).status == TENANT_STATUS_OFFBOARDING
    world.clock.turn(REST)
    assert await passed(world, offboarding) == Tally(done=1)
    told = await offboarding.told(tenant)
    assert told.HasField("complete_time")
    assert told.shred
    assert (await world.parts.tenants.get(tenant)).status == TENANT_STATUS_OFFBOARDED
    world.clock.turn(10 * HOUR)
    assert await passed(world, offboarding) == Tally()


async def test_the_longer_it_takes_the_seldomer_it_is_tried(world: World) -> None:
    tenant = await filled(world)
    await delete(world, tenant)
    inventory = Told("inventory", refusals=1_000_000)
    offboarding = with_others(world, inventory)
    await offboarding.offboard(tenant, tenant, shred=True)
    tries = 0
    for _ in range(3 * 24 * HOUR // REST):
        world.clock.turn(REST)
        tries += (await passed(world, offboarding)).failed
    # Of 864 looks: each half as long after the one before as all took, and each 6 hours.
    assert 15 <= tries <= 25


async def test_one_that_fails_holds_no_other_up(world: World) -> None:
    tenants = [await filled(world) for _ in range(2)]
    inventory = Told("inventory", refusals=2)
    offboarding = with_others(world, inventory)
    for tenant in tenants:
        await delete(world, tenant)
        await offboarding.offboard(tenant, tenant, shred=True)
    inventory.refusals = 1
    world.clock.turn(REST)
    assert await passed(world, offboarding) == Tally(done=1, failed=1)


@pytest.mark.parametrize("file", ["", "gone", "empty"])
async def test_without_a_token_of_its_own_nobody_is_asked(
    world: World, tmp_path: Path, file: str
) -> None:
    """The other services were asked as the caller; there is none now."""
    tenant = await filled(world)
    await delete(world, tenant)
    (tmp_path / "empty").write_text("")
    values = {"removal_token_file": tmp_path / file} if file else {}
    others = open_others(settings_of(inventory_address="127.0.0.1:1", **values))
    offboarding = replace(world.parts, others=others).offboarding
    told = await offboarding.offboard(tenant, tenant, shred=True)
    (inventory,) = [each for each in told.stores if each.store == "inventory"]
    assert inventory.state == pb.OFFBOARDED_STATE_UNKNOWN
    assert "token" in inventory.note
    assert (await world.parts.tenants.get(tenant)).status == TENANT_STATUS_OFFBOARDING
    for each in others:
        await each.close()
