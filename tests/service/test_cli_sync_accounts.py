"""`secmesh inventory sync --all-accounts`: every account of a tenant by one command."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest, SuspendAccountRequest
from tests.service.credential_story import Story
from tests.service.crypto_command import Command
from tests.service.joined_services import joined
from tests.service.lent_world import ROLE, LentWorld, inventory_beside, serving_tenancy
from tests.service.tenancy_world import role_account

COLLECTION = "s3_account_settings"


@pytest.fixture
async def world(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[LentWorld]:
    async with (
        serving_tenancy(aws, tmp_path) as tenancy,
        inventory_beside(tenancy, aws, tmp_path) as made,
    ):
        yield made
        faults.clear()


async def another(world: LentWorld, first: Story) -> Story:
    """Register one more account of the same tenant, which nobody made a role in yet."""
    given = role_account(first.tenant, 100_000_000_000 + secrets.randbelow(800_000_000_000))
    given.role_arn = f"arn:aws:iam::{given.cloud_account_id}:role/{ROLE}"
    parent = f"tenants/{first.tenant}"
    request = CreateAccountRequest(parent=parent, account=given)
    return Story(
        world.tenancy,
        first.tenant,
        await world.tenancy.accounts(first.tenant).CreateAccount(request),
    )


async def test_all_accounts_are_read_and_those_that_cannot_be_are_told(world: LentWorld) -> None:
    first = await world.role_account()
    second, closed, stopped = [await another(world, first) for _ in range(3)]
    world.let_role_in(second)
    assert (await second.verify()).entered
    await world.tenancy.accounts(first.tenant).SuspendAccount(
        SuspendAccountRequest(name=stopped.account.name, reason="a test")
    )
    words = ("inventory", "sync", "--all-accounts", "--collection", COLLECTION)
    with joined(world) as address:
        secmesh = Command(address, world.tenancy.home, first.tenant)
        done = await secmesh.run("-o", "ndjson", *words)
        # What could be read was read, and that something could not be is no success.
        assert done.exit_code == 1, done.output
        assert closed.account.cloud_account_id in done.stderr
        assert f"{stopped.account.cloud_account_id}" in done.stderr
        assert "suspended" in done.stderr
        listed = [line for line in done.stdout.splitlines() if line]
        assert len(listed) == 2
        for story in (first, second):
            (line,) = [each for each in listed if story.account.cloud_account_id in each]
            assert "STATE_SUCCEEDED" in line
            assert story.account.name in line
    read = {each.cloud_account_id for each in await world.records(first.tenant, COLLECTION)}
    assert read == {first.account.cloud_account_id, second.account.cloud_account_id}


@pytest.mark.parametrize("words", [(), ("--account", "123456789012", "--all-accounts")])
async def test_one_account_or_all_are_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    create_signing_key(tmp_path)
    done = await Command("127.0.0.1:1", tmp_path, "acme").run("inventory", "sync", *words)
    assert done.exit_code == 2
    assert "--all-accounts" in done.output
