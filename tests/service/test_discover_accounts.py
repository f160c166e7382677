"""DiscoverAccounts: an organization of the endpoint, read by lent sessions, page by page."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from secmesh.inventory.v1 import organization_service_pb2 as api
from secmesh.inventory.v1.organization_pb2 import OrganizationAccount
from secmesh.inventory.v1.policy_pb2 import SuggestPolicyRequest
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_DENIED
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from tests.service.credential_story import Story
from tests.service.lent_world import LentWorld, inventory_beside, serving_tenancy
from tests.service.organization_site import Site, discovered, organizations
from tests.service.tenancy_world import role_account

MEMBERS = 45
"""Accounts beside the one that manages: three pages of ListAccounts, and three of one unit."""
STANDING = OrganizationAccount.Standing


@pytest.fixture
async def world(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[LentWorld]:
    async with (
        serving_tenancy(aws, tmp_path) as tenancy,
        inventory_beside(tenancy, aws, tmp_path) as made,
    ):
        yield made
        faults.clear()


async def refusal(world: LentWorld, story: Story) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await discovered(world, story)
    return refused.value


async def test_accounts_are_listed_once_with_their_place_and_compared(
    world: LentWorld, faults: Faults
) -> None:
    site = Site(world, await world.role_account())
    managing = site.story.account.cloud_account_id
    workloads = site.unit("Workloads")
    production = site.unit("Production", workloads)
    site.unit("Empty")
    members = [site.member(f"shop-{number}", production) for number in range(MEMBERS - 2)]
    registered = site.member("ledger", workloads)
    closed = site.member("old")
    site.cloud.close_account(AccountId=closed)
    name = await site.register(registered)
    faults.clear()

    made = await site.discover()
    assert (made.name, made.management_account_id) == (site.name, managing)
    assert (made.account, made.cloud_account_id) == (site.story.account.name, managing)
    assert (made.accounts, made.organizational_units) == (MEMBERS + 1, 3)
    # The account that manages is registered: by it the organization was read.
    assert (made.known_accounts, made.unknown_accounts) == (2, MEMBERS - 2)
    assert (made.suspended_accounts, made.gone_accounts, len(made.gaps)) == (1, 0, 0)
    assert made.HasField("discover_time")
    calls = {
        operation.partition(":")[2]: count
        for operation, count in faults.counted().items()
        if operation.startswith("organizations:")
    }
    # One walk over the root and three units; no account is asked for by itself.
    assert calls == {
        "DescribeOrganization": 1,
        "ListAccounts": 3,
        "ListRoots": 1,
        "ListOrganizationalUnitsForParent": 4,
        "ListAccountsForParent": 3 + 3,
    }
    parent = f"tenants/{site.story.tenant}"
    policy = await world.syncs(site.story.tenant).SuggestPolicy(SuggestPolicyRequest(parent=parent))
    (statement,) = json.loads(policy.discovery_document)["Statement"]
    # Parents of single accounts are asked for only if those were moved meanwhile.
    asked = {f"organizations:{each}" for each in (*calls, "ListParents")}
    assert (statement["Effect"], set(statement["Action"])) == ("Allow", asked)
    stub = organizations(world, site.story.tenant)
    assert await stub.GetOrganization(api.GetOrganizationRequest(name=site.name)) == made
    page = await stub.ListOrganizations(api.ListOrganizationsRequest(parent=parent))
    assert list(page.organizations) == [made]

    found = await site.accounts()
    assert Counter(each.standing for each in found.values()) == {
        STANDING.Value("STANDING_UNKNOWN"): MEMBERS - 2,
        STANDING.Value("STANDING_KNOWN"): 2,
        STANDING.Value("STANDING_SUSPENDED"): 1,
    }
    assert set(found) == {managing, registered, closed, *members}
    shop, ledger = found[members[0]], found[registered]
    assert (shop.account_name, list(shop.path)) == ("shop-0", ["Workloads", "Production"])
    assert (shop.parent_id, shop.account) == (production, "")
    assert (shop.state, shop.joined_method) == (OrganizationAccount.STATE_ACTIVE, "CREATED")
    assert shop.HasField("join_time")
    assert (ledger.account, list(ledger.path)) == (name, ["Workloads"])
    assert (found[managing].management, found[managing].account) == (True, made.account)
    assert not shop.management
    assert found[closed].standing == STANDING.Value("STANDING_SUSPENDED")
    assert "@" not in str(list(found.values()))
    unknown = await site.accounts("standing == STANDING_UNKNOWN")
    assert set(unknown) == set(members)


async def test_what_was_found_before_is_compared_again(world: LentWorld) -> None:
    site = Site(world, await world.role_account())
    workloads = site.unit("Workloads")
    staying, leaving = site.member("stays", workloads), site.member("leaves")
    first = await site.discover()
    before = await site.accounts()
    name = await site.register(staying)
    site.cloud.remove_account_from_organization(AccountId=leaving)
    again = await site.discover()
    assert (first.unknown_accounts, again.unknown_accounts) == (2, 0)
    assert (again.accounts, again.known_accounts, again.gone_accounts) == (2, 2, 1)
    after = await site.accounts()
    assert after[staying].account == name
    assert after[staying].standing == STANDING.Value("STANDING_KNOWN")
    assert after[staying].first_discover_time == before[staying].discover_time
    assert after[leaving].standing == STANDING.Value("STANDING_GONE")
    # When it was there last.
    assert after[leaving].discover_time == before[leaving].discover_time
    assert after[staying].discover_time == again.discover_time


async def test_a_path_that_is_denied_is_told_and_the_last_one_kept(
    world: LentWorld, faults: Faults
) -> None:
    site = Site(world, await world.role_account())
    workloads = site.unit("Workloads")
    placed = site.member("placed", workloads)
    await site.discover()
    later = site.member("later", workloads)
    faults.deny("organizations:ListOrganizationalUnitsForParent")
    made = await site.discover()
    (gap,) = made.gaps
    assert gap.action == "organizations:ListOrganizationalUnitsForParent"
    assert (gap.outcome, gap.code) == (READ_OUTCOME_DENIED, "AccessDeniedException")
    assert made.accounts == 3
    found = await site.accounts()
    assert (list(found[placed].path), found[placed].parent_id) == (["Workloads"], workloads)
    assert (list(found[later].path), found[later].parent_id) == ([], "")


async def test_a_list_that_is_denied_names_what_is_missing_and_changes_nothing(
    world: LentWorld, faults: Faults
) -> None:
    site = Site(world, await world.role_account())
    site.member("one")
    made = await site.discover()
    managing = site.story.account.cloud_account_id
    for operation in ("DescribeOrganization", "ListAccounts"):
        faults.clear()
        faults.deny(f"organizations:{operation}")
        refused = await refusal(world, site.story)
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "ORGANIZATION_DENIED",
        )
        assert refused.metadata["action"] == f"organizations:{operation}"
        assert refused.metadata["cloud_account_id"] == managing
        assert f"lacks organizations:{operation}" in refused.message
    stub = organizations(world, site.story.tenant)
    assert await stub.GetOrganization(api.GetOrganizationRequest(name=site.name)) == made


async def test_an_account_outside_of_organizations_and_a_member_are_told_apart(
    world: LentWorld, faults: Faults
) -> None:
    alone = await world.role_account()
    refused = await refusal(world, alone)
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "ORGANIZATION_NOT_IN_USE",
    )
    assert refused.metadata["cloud_account_id"] == alone.account.cloud_account_id

    managing = await world.role_account()
    site = Site(world, managing)
    member = Story(world.tenancy, managing.tenant, await _member(world, site))
    faults.deny("organizations:ListAccounts")
    refused = await refusal(world, member)
    assert refused.reason == "ORGANIZATION_DENIED"
    assert refused.metadata["management_account_id"] == managing.account.cloud_account_id
    assert "delegated administrator" in refused.message
    # An endpoint that lists nothing to members: without whom asks, no list is whole.
    faults.clear()
    refused = await refusal(world, member)
    assert (refused.reason, refused.metadata["code"]) == ("ORGANIZATION_UNREAD", "IncompleteList")
    page = await organizations(world, managing.tenant).ListOrganizations(
        api.ListOrganizationsRequest(parent=f"tenants/{managing.tenant}")
    )
    assert not page.organizations


async def test_a_list_that_is_slowed_down_without_end_changes_nothing(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    async with (
        serving_tenancy(aws, tmp_path) as tenancy,
        inventory_beside(tenancy, aws, tmp_path, unit_seconds=2) as world,
    ):
        story = await world.role_account()
        Site(world, story)
        faults.throttle("organizations:DescribeOrganization")
        refused = await refusal(world, story)
        faults.clear()
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.ABORTED,
            "ORGANIZATION_UNREAD",
        )
        assert refused.metadata["operation"] == "organizations:DescribeOrganization"
        # A machine that is slow enough asks once, or not even that.
        assert refused.metadata["code"] in ("ThrottlingException", "DeadlineExceeded")


async def test_only_accounts_of_the_tenant_that_lead_into_aws_are_read(world: LentWorld) -> None:
    story, other = await world.role_account(), await world.role_account()
    stub = organizations(world, story.tenant)
    parent = f"tenants/{story.tenant}"
    for account in (other.account.name, f"{parent}/accounts/none"):
        with pytest.raises(CallRefused) as refused:
            await stub.DiscoverAccounts(api.DiscoverAccountsRequest(parent=parent, account=account))
        assert refused.value.code in (
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.PERMISSION_DENIED,
        )
    with pytest.raises(CallRefused) as refused:
        await stub.ListOrganizationAccounts(
            api.ListOrganizationAccountsRequest(parent=f"{parent}/organizations/o-none")
        )
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_without_a_tenancy_service_nothing_is_discovered(
    aws: AwsEndpoint, tmp_path: Path
) -> None:
    async with (
        serving_tenancy(aws, tmp_path) as tenancy,
        inventory_beside(
            tenancy, aws, tmp_path, tenancy_address="", tenancy_token_file=None
        ) as world,
    ):
        refused = await refusal(world, await world.role_account())
        assert refused.reason == "DISCOVERY_UNAVAILABLE"


async def _member(world: LentWorld, site: Site) -> Any:
    """Register an account that the organization made, and let us in."""
    given = role_account(site.story.tenant, int(site.member("member")))
    given.role_arn = f"arn:aws:iam::{given.cloud_account_id}:role/scan"
    made = await world.tenancy.accounts(site.story.tenant).CreateAccount(
        CreateAccountRequest(parent=f"tenants/{site.story.tenant}", account=given)
    )
    story = Story(world.tenancy, site.story.tenant, made)
    world.let_role_in(story)
    assert (await story.verify()).entered
    return made
