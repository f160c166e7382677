"""What runs of the upkeep cost in calls of AWS: pages of all there is, more for what is due."""

from collections.abc import AsyncIterator
from math import ceil
from pathlib import Path

import pytest

from secmesh.tenancy.v1.credential_service_pb2 import SetCredentialRotationRequest
from services.tenancy.clock import MICROSECONDS
from services.tenancy.cost.budgets import (
    UPKEEP_CALLS_PER_KEY,
    UPKEEP_CALLS_PER_VERIFICATION,
    UPKEEP_PAGE,
)
from services.tenancy.store.items import text
from services.tenancy.upkeep.job import BrokenOff, Job, Tally
from services.tenancy.upkeep.jobs import OFFBOARD, ROTATE, VERIFY, jobs_of
from tests.service.credential_story import Story, key_story
from tests.service.tenancy_world import World, role_account, tenancy_world
from tests.unit.fake_sts import Role

DAY = 86_400


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


def jobs(world: World) -> dict[str, Job]:
    return {job.name: job for job in jobs_of(world.parts)}


async def cost(world: World, job: str) -> tuple[Tally, int]:
    """Run a job; give what it did and how many calls of AWS that took."""
    tally, before = Tally(), calls_of(world)
    tally = await jobs(world)[job].run()
    return tally, calls_of(world) - before


def calls_of(world: World) -> int:
    custody = world.secrets.calls.total() + world.tokens.calls.total()
    return len(world.recorder.calls) + custody


async def crowd(world: World, sizes: list[int]) -> list[str]:
    """Make tenants with so many accounts, that roles lead into; give the tenants."""
    made: list[str] = []
    for size in sizes:
        tenant = await world.tenant()
        made.append(tenant)
        await world.provider(tenant)
        for number in range(1, size + 1):
            given = role_account(tenant, number)
            nameless = world.parts.named(tenant, "", given)
            account = await world.parts.accounts.create(tenant, given, nameless)
            world.tokens.add_role(Role(account.role_arn, external_id=account.external_id))
    return made


def pages(sizes: list[int]) -> int:
    """How many pages a run reads of these tenants."""
    return ceil(len(sizes) / UPKEEP_PAGE) + sum(max(1, ceil(size / UPKEEP_PAGE)) for size in sizes)


async def test_a_run_with_nothing_due_reads_pages_alone(world: World) -> None:
    sizes = [0, 3, 230]
    await crowd(world, sizes)
    assert await cost(world, VERIFY) == (Tally(), pages(sizes))
    assert await cost(world, ROTATE) == (Tally(), pages([0] * len(sizes)))
    assert await cost(world, OFFBOARD) == (Tally(), 1)


async def test_what_a_verification_and_a_rotation_cost(world: World) -> None:
    story = await key_story(world)
    await story.store(story.new_key())
    await story.calls.SetCredentialRotation(
        SetCredentialRotationRequest(name=story.name, interval_days=1)
    )
    await story.verify()
    world.clock.turn(DAY)
    tally, calls = await cost(world, VERIFY)
    assert tally == Tally(done=1)
    assert calls <= pages([1]) + UPKEEP_CALLS_PER_VERIFICATION
    tally, calls = await cost(world, ROTATE)
    assert tally == Tally(done=1)
    assert calls <= pages([1]) + UPKEEP_CALLS_PER_KEY


async def test_a_crowd_is_verified_four_in_a_second(world: World) -> None:
    sizes = [12]
    (tenant,) = await crowd(world, sizes)
    for account in [each async for each in every(world, tenant)]:
        await account.verify()
    world.clock.turn(DAY)
    began = world.clock.now()
    tally, calls = await cost(world, VERIFY)
    assert tally == Tally(done=12)
    assert calls <= pages(sizes) + 12 * UPKEEP_CALLS_PER_VERIFICATION
    assert world.clock.now() - began >= 11 * MICROSECONDS // 4
    assert (await cost(world, VERIFY))[0] == Tally()


async def test_an_sts_that_is_away_is_not_asked_about_everybody(world: World) -> None:
    (tenant,) = await crowd(world, [40])
    for account in [each async for each in every(world, tenant)]:
        await account.verify()
    world.clock.turn(DAY)
    world.tokens.down = True
    with pytest.raises(BrokenOff) as broken:
        await cost(world, VERIFY)
    assert broken.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert broken.value.tally.failed <= 8
    world.tokens.down = False
    assert (await cost(world, VERIFY))[0] == Tally(done=40)


async def every(world: World, tenant: str) -> AsyncIterator[Story]:
    query = world.parts.accounts.listed(tenant)
    for item in (await world.parts.store.query(query)).items:
        account = await world.parts.accounts.get(tenant, text(item, "account_id"))
        yield Story(world, tenant, account)
