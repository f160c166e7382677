"""`secmesh inventory accounts`: an organization compared, its accounts added by name, and told."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.account_service_pb2 import ListAccountsRequest
from tests.service.crypto_command import Command
from tests.service.joined_services import joined
from tests.service.lent_world import LentWorld, inventory_beside, serving_tenancy
from tests.service.organization_site import Site


@pytest.fixture
async def world(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[LentWorld]:
    async with (
        serving_tenancy(aws, tmp_path) as tenancy,
        inventory_beside(tenancy, aws, tmp_path) as made,
    ):
        yield made
        faults.clear()


async def registered(site: Site) -> dict[str, Account]:
    """Give the accounts of the tenancy service by their ids at AWS."""
    tenant = site.story.tenant
    request = ListAccountsRequest(parent=f"tenants/{tenant}", page_size=1000)
    listed = await site.world.tenancy.accounts(tenant).ListAccounts(request)
    return {each.cloud_account_id: each for each in listed.accounts}


async def test_accounts_are_compared_and_those_named_are_added(world: LentWorld) -> None:
    site = Site(world, await world.role_account())
    unit = site.unit("Production")
    shop, ledger = site.member("shop", unit), site.member("ledger")
    managing = site.story.account
    with joined(world) as address:
        secmesh = Command(address, world.tenancy.home, site.story.tenant)
        policy = await secmesh.run("inventory", "policy", "--organization")
        (statement,) = json.loads(policy.stdout)["Statement"]
        assert "organizations:ListAccounts" in statement["Action"]
        account = managing.name.rpartition("/")[2]
        told = await secmesh.run("-o", "json", "inventory", "accounts", "discover", account)
        assert told.exit_code == 0, told.output
        assert f"{site.id}: 3 accounts, of which 1 known, 2 unknown" in told.stderr
        # What was found is registered by nobody.
        assert set(await registered(site)) == {managing.cloud_account_id}
        listed = await secmesh.json("inventory", "accounts", "list", "--standing", "unknown")
        assert {each["cloudAccountId"]: each["accountName"] for each in listed} == {
            shop: "shop",
            ledger: "ledger",
        }
        (of_shop,) = [each for each in listed if each["cloudAccountId"] == shop]
        assert of_shop["path"] == ["Production"]
        table = await secmesh.run("inventory", "accounts", "list", site.id, "--limit", "1")
        assert table.exit_code == 0
        (found,) = await secmesh.json("inventory", "accounts", "organizations")
        assert (found["unknownAccounts"], found["accounts"]) == (2, 3)

        # A word that is wrong adds none of those that are right.
        discover = ("inventory", "accounts", "discover", account)
        for wrong in ("000000000000", managing.cloud_account_id, "shop"):
            refused = await secmesh.run(*discover, "--add", shop, "--add", wrong)
            assert refused.exit_code == 2, refused.output
        refused = await secmesh.run(*discover, "--role", f"arn:aws:iam::{shop}:role/scan")
        assert refused.exit_code == 2
        assert set(await registered(site)) == {managing.cloud_account_id}

        role = "arn:aws:iam::{account}:role/path/scan"
        (made,) = await secmesh.json(*discover, "--add", shop, "--role", role)
        assert made["roleArn"] == f"arn:aws:iam::{shop}:role/path/scan"
        known = await registered(site)
        assert set(known) == {managing.cloud_account_id, shop}
        assert known[shop].account_name == "shop"
        assert known[shop].provider == managing.provider
        again = await secmesh.json(*discover)
        standing = {each["cloudAccountId"]: each["standing"] for each in again}
        assert standing[shop] == "STANDING_KNOWN"
        assert standing[ledger] == "STANDING_UNKNOWN"

        gone = await secmesh.run("inventory", "accounts", "forget", site.id)
        assert gone.exit_code == 0, gone.output
        assert await secmesh.json("inventory", "accounts", "organizations") == []
        assert set(await registered(site)) == {managing.cloud_account_id, shop}


async def test_a_sync_of_all_accounts_tells_which_it_did_not_cover(world: LentWorld) -> None:
    site = Site(world, await world.role_account())
    left = site.member("left-out")
    words = ("inventory", "sync", "--all-accounts", "--collection", "s3_account_settings")
    with joined(world) as address:
        secmesh = Command(address, world.tenancy.home, site.story.tenant)
        silent = await secmesh.run("-o", "ndjson", *words)
        assert silent.exit_code == 0, silent.output
        assert "not collected" not in silent.stderr
        found = await site.discover()
        told = await secmesh.run("-o", "ndjson", *words)
        assert told.exit_code == 0, told.output
        assert f"{site.id}: 1 of 2 accounts are not collected" in told.stderr
        assert f"{left} left-out" in told.stderr
        assert found.discover_time.ToJsonString() in told.stderr
        assert site.story.account.cloud_account_id in told.stdout
        # Who may not know is told so, and what could be read was read.
        may = ["inventory.syncs.create", "inventory.syncs.list", "tenancy.accounts.list"]
        unknown = await secmesh.run("-o", "ndjson", *words, permissions=may)
        assert unknown.exit_code == 0, unknown.output
        assert "is not known: " in unknown.stderr


async def test_nothing_is_added_by_a_word_that_is_no_id(tmp_path: Path) -> None:
    create_signing_key(tmp_path)
    words = ("inventory", "accounts", "discover", "main", "--add", "all")
    done = await Command("127.0.0.1:1", tmp_path, "acme").run(*words)
    assert done.exit_code == 2
    assert "12 digits" in done.output
