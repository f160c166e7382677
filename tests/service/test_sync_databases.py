"""Databases, snapshots and the account itself, as the sample and odd accounts show them."""

from typing import Any

import pytest

from mesh.embedded.aws import AwsEndpoint
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_ABSENT, READ_OUTCOME_UNSUPPORTED
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect import rds_instances
from services.inventory.collect.account_metadata import NOT_MANAGEMENT
from tests.service.collect_world import World, body_of, by, client, gaps

EMPTY_ACCOUNT = "444444444444"


async def test_databases_of_the_sample(collecting: World) -> None:
    sync = await collecting.sync("rds_instances", "security_groups")
    assert sync.state == Sync.STATE_SUCCEEDED
    found = by(await collecting.rows("rds_instances"), "instance_id")
    bodies = {name: body_of(record) for name, record in found.items()}
    assert bodies.keys() == {"ledger", "reports", "shop-1", "shop-2"}

    def having(field: str) -> set[str]:
        return {name for name, body in bodies.items() if getattr(body, field)}

    assert having("public") == having("routed_to_internet") == {"reports"}
    assert having("multi_az") == {"ledger", "shop-1", "shop-2"}
    assert having("storage_encrypted") == {"ledger", "shop-1", "shop-2"}
    assert having("deletion_protection") == {"ledger", "shop-1", "shop-2"}
    assert having("tls_required") == {"ledger", "shop-1", "shop-2"}
    assert {body.tls_parameter for body in bodies.values()} == {"rds.force_ssl"}
    ledger, reports = bodies["ledger"], bodies["reports"]
    assert (ledger.retention_days, reports.retention_days) == (14, 1)
    assert (ledger.port, ledger.subnet_group, ledger.tags) == (5432, "data", {"owner": "finance"})
    assert ledger.log_exports == ["postgresql"]
    assert ledger.iam_authentication
    assert not reports.HasField("kms_key_id")
    assert not ledger.HasField("cluster_id")
    assert bodies["shop-1"].cluster_id == "shop"
    assert found["ledger"].arn == "arn:aws:rds:us-east-1:123456789012:db:ledger"
    assert "Correct-Horse" not in str(found)


async def test_without_the_groups_a_public_address_leaves_it_open(collecting: World) -> None:
    """Security groups that nobody has collected decide about instances with a public name only."""
    await collecting.sync("rds_instances")
    found = by(await collecting.rows("rds_instances"), "instance_id")
    assert gaps(found["reports"])["public"].action == "ec2:DescribeSecurityGroups"
    assert not gaps(found["ledger"])
    assert body_of(found["ledger"]).HasField("public")


async def test_snapshots_of_the_sample(collecting: World) -> None:
    await collecting.sync("rds_snapshots")
    rows = await collecting.rows("rds_snapshots")
    manual = {
        body_of(each).snapshot_id: body_of(each)
        for each in rows.values()
        if body_of(each).snapshot_type == "manual"
    }
    assert manual.keys() == {"ledger-2026", "reports-for-all", "shop-2026"}
    assert {name for name, body in manual.items() if body.public} == {"reports-for-all"}
    assert manual["ledger-2026"].shared_with == ["210987654321"]
    assert manual["ledger-2026"].encrypted
    assert {name for name, body in manual.items() if body.of_cluster} == {"shop-2026"}
    automated = [body_of(each) for each in rows.values() if body_of(each).snapshot_type != "manual"]
    assert automated
    assert not any(body.public for body in automated)
    assert all(body.HasField("public") for body in automated)


async def test_instances_are_read_page_by_page(
    collecting: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await collecting.sync("rds_instances")
    whole = await collecting.rows("rds_instances")
    monkeypatch.setattr(rds_instances, "PAGE", 2)
    paged = await collecting.sync("rds_instances")
    entries = {entry.operation: entry for entry in await collecting.manifest(paged)}
    assert entries["rds:DescribeDBInstances"].pages > 1
    assert paged.progress.rows_written == 0
    assert await collecting.rows("rds_instances") == whole


async def test_one_sort_of_snapshots_unread_closes_none(
    collecting: World, aws: AwsEndpoint, faults: Any
) -> None:
    await collecting.sync("rds_snapshots")
    before = await collecting.rows("rds_snapshots")
    faults.deny("rds:DescribeDBClusterSnapshots")
    sync = await collecting.sync("rds_snapshots")
    assert sync.state == Sync.STATE_PARTIAL
    assert sync.progress.rows_closed == 0
    assert await collecting.rows("rds_snapshots") == before


async def test_the_account_of_the_sample(collecting: World) -> None:
    await collecting.sync("account_metadata")
    (record,) = (await collecting.rows("account_metadata")).values()
    body = body_of(record)
    assert (body.account_id, body.alias) == ("123456789012", "acme-sample")
    assert body.org_id.startswith("o-")
    assert body.management_account == body.account_id
    assert body.feature_set == "ALL"
    assert body.scps == ["FullAWSAccess", "our-regions-only"]
    contacts = (body.security_contact, body.billing_contact, body.operations_contact)
    assert contacts == (True, False, False)
    assert body.HasField("billing_contact")
    assert {"us-east-1", "eu-west-1"} <= set(body.regions_enabled)
    # Whom to call is nobody's business here.
    assert "security@example.com" not in str(record)
    assert not record.unread


async def test_an_account_without_organization_or_databases(
    collecting: World, aws: AwsEndpoint
) -> None:
    sync = await collecting.sync(
        "account_metadata", "rds_instances", "rds_snapshots", account=EMPTY_ACCOUNT
    )
    assert sync.state == Sync.STATE_SUCCEEDED
    assert not await collecting.rows("rds_instances")
    (record,) = (await collecting.rows("account_metadata")).values()
    assert not body_of(record).HasField("org_id")
    assert not body_of(record).scps
    assert not record.unread
    absent = {
        entry.operation
        for entry in await collecting.manifest(sync)
        if entry.outcome == READ_OUTCOME_ABSENT
    }
    assert absent == {"account:GetAlternateContact", "organizations:DescribeOrganization"}


async def test_a_member_cannot_know_the_organizations_policies(
    collecting: World, aws: AwsEndpoint
) -> None:
    """No permission would help it, so no permission is asked for."""
    made = client(aws, "organizations", "123456789012").create_account(
        AccountName="member", Email="member@example.com"
    )
    member = made["CreateAccountStatus"]["AccountId"]
    sync = await collecting.sync("account_metadata", account=member)
    assert sync.state == Sync.STATE_SUCCEEDED
    (record,) = (await collecting.rows("account_metadata")).values()
    assert body_of(record).management_account == "123456789012"
    assert gaps(record).keys() == {"scps", "limiting_scps", "delegated_admins"}
    assert {each.code for each in record.unread} == {NOT_MANAGEMENT}
    assert {each.outcome for each in record.unread} == {READ_OUTCOME_UNSUPPORTED}
