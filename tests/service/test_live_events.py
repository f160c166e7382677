"""Events lead to readings of single resources, on a real server and the account it reads."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from secmesh.inventory.v1.event_service_pb2 import ChangedRecord, EventResult
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import ListManifestEntriesRequest
from tests.databases import inventory_file
from tests.service.event_world import Live, on_bucket, recorded, serving, turned

READ, IGNORED, REFUSED = (
    EventResult.STATE_READ,
    EventResult.STATE_IGNORED,
    EventResult.STATE_REFUSED,
)


@pytest.fixture
async def live(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[Live]:
    shutil.copy(inventory_file(), tmp_path)
    async with serving(aws, tmp_path) as made:
        yield made
    faults.clear()


async def test_a_changed_bucket_alone_is_read_and_its_checks_turn(
    live: Live, faults: Faults
) -> None:
    for name in ("live-one", "live-two"):
        live.s3.create_bucket(Bucket=f"{name}-{live.account}")
    bucket = f"live-one-{live.account}"
    await live.collect("s3_buckets")
    before = await live.rows("s3_buckets")
    live.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    faults.calls.clear()
    answer = await live.post(on_bucket(live.account, "PutBucketVersioning", bucket))
    assert [result.state for result in answer.results] == [READ]
    (reading,) = answer.readings
    assert reading.sync.source == Sync.SOURCE_EVENTS
    assert reading.sync.state == Sync.STATE_SUCCEEDED
    assert [each.change for each in reading.records] == [ChangedRecord.CHANGE_CHANGED]
    assert reading.records[0].record == before[bucket].name
    assert faults.calls["s3:GetBucketVersioning"] == 1
    after = await live.rows("s3_buckets")
    assert after[bucket].s3_bucket.versioning == "Enabled"
    assert after[f"live-two-{live.account}"] == before[f"live-two-{live.account}"]
    assert ("FAIL", "PASS") in turned(answer).values()
    # One resource says nothing of all others: the manifest stays as it was.
    entries = await live.syncs.ListManifestEntries(
        ListManifestEntriesRequest(parent=reading.sync.name)
    )
    assert not entries.manifest_entries


async def test_new_and_deleted_buckets_come_and_go(live: Live) -> None:
    bucket = f"live-new-{live.account}"
    await live.collect("s3_buckets")
    assert bucket not in await live.rows("s3_buckets")
    live.s3.create_bucket(Bucket=bucket)
    made = on_bucket(live.account, "CreateBucket", bucket)
    added = await live.post(made)
    assert [each.change for each in added.readings[0].records] == [ChangedRecord.CHANGE_ADDED]
    assert bucket in await live.rows("s3_buckets")
    live.s3.delete_bucket(Bucket=bucket)
    gone = await live.post(on_bucket(live.account, "DeleteBucket", bucket))
    assert [each.change for each in gone.readings[0].records] == [ChangedRecord.CHANGE_GONE]
    assert bucket not in await live.rows("s3_buckets")
    # What came late, or twice, tells of nothing that AWS does not have.
    late = await live.post(made, made)
    assert [result.state for result in late.results] == [READ, READ]
    assert not late.readings[0].records
    assert bucket not in await live.rows("s3_buckets")


async def test_values_of_a_forged_event_are_not_believed(live: Live) -> None:
    bucket = f"live-forged-{live.account}"
    live.s3.create_bucket(Bucket=bucket)
    await live.collect("s3_buckets")
    before = await live.rows("s3_buckets")
    forged = on_bucket(live.account, "DeleteBucket", bucket)
    forged["detail"]["responseElements"] = {"versioning": "Enabled", "public": False}
    answer = await live.post(forged)
    assert answer.results[0].state == READ
    assert not answer.readings[0].records
    assert await live.rows("s3_buckets") == before


async def test_what_is_denied_is_marked_and_no_verdict(live: Live, faults: Faults) -> None:
    bucket = f"live-denied-{live.account}"
    live.s3.create_bucket(Bucket=bucket)
    live.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    await live.collect("s3_buckets", "cloudtrail_trails")
    live.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    faults.deny("s3:GetBucketVersioning")
    event = on_bucket(live.account, "PutBucketVersioning", bucket)
    answer = await live.post(event)
    assert answer.readings[0].sync.state == Sync.STATE_PARTIAL
    (record,) = answer.readings[0].records
    assert "versioning" in record.unread_fields
    assert {new for _, new in turned(answer).values()} == {"UNREAD"}
    # The listing denied: nothing is known of that bucket, all is of the others.
    other = f"live-allowed-{live.account}"
    faults.clear()
    live.s3.create_bucket(Bucket=other)
    await live.post(event, on_bucket(live.account, "CreateBucket", other))
    faults.deny("s3:ListBuckets")
    await live.post(event)
    rows = await live.rows("s3_buckets")
    marked = {each.field for each in rows[bucket].unread}
    assert {"versioning", "encryption", "public"} <= marked
    assert rows[bucket].s3_bucket.versioning == "Suspended"
    # Whether the other keeps its logs is all that rests on what the denied one tells.
    assert {each.field for each in rows[other].unread} == {"keeps_logs"}
    faults.clear()
    answer = await live.post(event)
    assert not (await live.rows("s3_buckets"))[bucket].unread
    assert ("UNREAD", "FAIL") in turned(answer).values()


async def test_events_of_others_and_of_nothing_are_told(live: Live) -> None:
    await live.collect("iam_password_policy")
    foreign = on_bucket("999988887777", "DeleteBucket", "theirs")
    reads = on_bucket(live.account, "GetBucketAcl", "mine", readOnly=True)
    failed = on_bucket(live.account, "DeleteBucket", "mine", errorCode="AccessDenied")
    objects = on_bucket(live.account, "PutObject", "mine", eventCategory="Data")
    uncollected = on_bucket(live.account, "CreateBucket", "mine")
    elsewhere = recorded(live.account, "kms", "CreateKey", region="mars-north-1")
    other = {"account": live.account, "detail-type": "Scheduled Event", "detail": {}}
    answer = await live.post(foreign, reads, failed, objects, uncollected, elsewhere, other, {})
    assert [(each.state, each.reason) for each in answer.results] == [
        (REFUSED, "ACCOUNT_UNKNOWN"),
        (IGNORED, "NOTHING_CHANGED"),
        (IGNORED, "NOTHING_CHANGED"),
        (IGNORED, "NOTHING_CHANGED"),
        (IGNORED, "NOT_COLLECTED"),
        (REFUSED, "MALFORMED"),
        (IGNORED, "NOT_A_CALL"),
        (REFUSED, "MALFORMED"),
    ]
    assert not answer.readings


async def test_what_rests_on_other_collections_is_computed_again(live: Live) -> None:
    bucket = f"live-logs-{live.account}"
    source = f"live-source-{live.account}"
    for name in (bucket, source):
        live.s3.create_bucket(Bucket=name)
    await live.collect("s3_buckets", "cloudtrail_trails")
    rows = await live.rows("s3_buckets")
    assert not rows[bucket].s3_bucket.keeps_logs
    owner = live.s3.get_bucket_acl(Bucket=bucket)["Owner"]
    group = "http://acs.amazonaws.com/groups/s3/LogDelivery"
    grants = [
        {"Grantee": {"Type": "Group", "URI": group}, "Permission": permission}
        for permission in ("READ_ACP", "WRITE")
    ]
    live.s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Grants": grants, "Owner": owner})
    live.s3.put_bucket_logging(
        Bucket=source,
        BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "a"}},
    )
    # The event tells of the bucket that writes; the one that keeps is another.
    answer = await live.post(on_bucket(live.account, "PutBucketLogging", source))
    changed = {each.record for each in answer.readings[0].records}
    assert changed == {rows[bucket].name, rows[source].name}
    assert (await live.rows("s3_buckets"))[bucket].s3_bucket.keeps_logs


async def test_an_unknown_call_has_its_collections_read_once_in_a_while(
    live: Live, faults: Faults
) -> None:
    await live.collect("kms_keys", "security_groups")
    faults.calls.clear()
    unknown = recorded(live.account, "kms", "DoSomethingNew")
    answer = await live.post(unknown, unknown)
    assert [each.state for each in answer.results] == [READ, READ]
    assert len(answer.readings) == 1
    assert faults.calls["kms:ListKeys"] == 1
    assert faults.calls["ec2:DescribeSecurityGroups"] == 0


async def test_a_group_is_asked_for_by_its_id(live: Live, faults: Faults) -> None:
    made = live.ec2.create_security_group(GroupName="live", Description="live")["GroupId"]
    await live.collect("security_groups")
    everyone = [{"CidrIp": "0.0.0.0/0"}]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": everyone}
    live.ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[rule])
    event = recorded(
        live.account, "ec2", "AuthorizeSecurityGroupIngress", requestParameters={"groupId": made}
    )
    answer = await live.post(event)
    assert len(answer.readings[0].records) == 1
    assert ("PASS", "FAIL") in turned(answer).values()
    live.ec2.delete_security_group(GroupId=made)
    deleted = recorded(
        live.account, "ec2", "DeleteSecurityGroup", requestParameters={"groupId": made}
    )
    answer = await live.post(deleted)
    assert [each.change for each in answer.readings[0].records] == [ChangedRecord.CHANGE_GONE]
    assert made not in await live.rows("security_groups")
