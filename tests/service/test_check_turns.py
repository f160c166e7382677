"""Outcomes of checks that events turn are told once, in order, over streams that end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1 import event_service_pb2 as api
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.ssp_requests_pb2 import ImportSspRequest
from tests.service.collect_world import TENANT
from tests.service.compliance_world import document, requirement
from tests.service.event_world import Live, on_bucket, recorded, serving

VERSIONING = "s3.versioning"
PASS, FAIL = check_pb2.EVIDENCE_OUTCOME_PASS, check_pb2.EVIDENCE_OUTCOME_FAIL


@pytest.fixture
async def live(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, database: str
) -> AsyncIterator[Live]:
    async with serving(aws, tmp_path, database_url=database) as made:
        yield made
    faults.clear()


def watch(live: Live, revision: str = "", filter_: str = "", ssp: str = "") -> Any:
    request = api.WatchCheckTurnsRequest(parent=TENANT, revision=revision, filter=filter_, ssp=ssp)
    return live.events.WatchCheckTurns(request)


async def listed(live: Live, filter_: str = "") -> list[CheckTurn]:
    request = api.ListCheckTurnsRequest(parent=TENANT, filter=filter_, page_size=1000)
    return list((await live.events.ListCheckTurns(request)).check_turns)


async def turns(stream: Any, count: int) -> list[api.WatchCheckTurnsResponse]:
    """Give the next events of a stream that tell of turns."""
    found: list[api.WatchCheckTurnsResponse] = []
    async for event in stream:
        found += [event] if event.HasField("check_turn") else []
        if len(found) == count:
            return found
    raise AssertionError(f"the stream ended after {len(found)}")


def versioned(live: Live, bucket: str, status: str) -> dict[str, Any]:
    """Change the versioning of a bucket and give the event."""
    live.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    return on_bucket(live.account, "PutBucketVersioning", bucket)


async def test_turns_are_told_as_events_come_and_a_watch_goes_on_where_it_ended(
    live: Live,
) -> None:
    bucket = f"turned-{live.account}"
    live.s3.create_bucket(Bucket=bucket)
    group = live.ec2.create_security_group(GroupName="turned", Description="turned")["GroupId"]
    await live.collect("s3_buckets", "security_groups")
    (record,) = [each for name, each in (await live.rows("s3_buckets")).items() if name == bucket]
    assert await listed(live) == []
    stream = watch(live)
    events = aiter(stream)
    first = await anext(events)
    assert (first.revision, first.WhichOneof("event")) == ("0-0", "bookmark")

    answer = await live.post(versioned(live, bucket, "Enabled"))
    (reading,) = answer.readings
    told = await turns(events, len(reading.turns))
    assert [each.check_turn for each in told] == list(reading.turns)
    (turn,) = [each for each in reading.turns if each.check_id == VERSIONING]
    assert (turn.old_outcome, turn.new_outcome) == (FAIL, PASS)
    assert (turn.record, turn.arn) == (record.name, record.arn)
    assert (turn.cloud_account_id, turn.sync) == (live.account, reading.sync.name)
    assert turn.severity == check_pb2.SEVERITY_LOW
    assert told[-1].revision == f"0-{len(told)}"
    stream.cancel()

    # Nobody watches meanwhile.
    everyone = [{"CidrIp": "0.0.0.0/0"}]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": everyone}
    live.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    ingress = recorded(
        live.account, "ec2", "AuthorizeSecurityGroupIngress", requestParameters={"groupId": group}
    )
    await live.post(ingress)
    await live.post(versioned(live, bucket, "Suspended"))
    everything = await listed(live)
    assert [each.sequence for each in everything] == list(range(len(everything), 0, -1))
    later = [each for each in reversed(everything) if each.sequence > len(told)]
    again = await turns(watch(live, told[-1].revision), len(later))
    assert [each.check_turn for each in again] == later

    chosen = f"check_id == '{VERSIONING}' && cloud_account_id == '{live.account}'"
    of_check = await turns(watch(live, "0-0", chosen), 2)
    assert [each.check_turn.new_outcome for each in of_check] == [PASS, FAIL]
    assert [each.check_turn for each in reversed(of_check)] == await listed(live, chosen)


async def test_turns_are_chosen_by_the_checks_of_a_plan(live: Live) -> None:
    bucket = f"planned-{live.account}"
    live.s3.create_bucket(Bucket=bucket)
    await live.collect("s3_buckets")
    content = document(requirement("cp-9"), baseline="own_profile.json")
    request = ImportSspRequest(parent=TENANT, ssp_id="backups", document=content)
    await live.compliance.ImportSsp(request)
    live.s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    live.s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    await live.post(versioned(live, bucket, "Enabled"))
    await live.post(versioned(live, bucket, "Suspended"))
    assert {each.check_id for each in await listed(live)} > {VERSIONING}
    ssp = f"{TENANT}/ssps/backups"
    told = await turns(watch(live, "0-0", ssp=ssp), 2)
    assert [each.check_turn.check_id for each in told] == [VERSIONING, VERSIONING]
    with pytest.raises(CallRefused) as refused:
        await anext(aiter(watch(live, ssp=f"{TENANT}/ssps/none")))
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_a_watch_ends_in_band_when_the_server_stops(live: Live) -> None:
    events = aiter(watch(live))
    await anext(events)
    live.server.draining.set()
    rest = [each async for each in events]
    assert [each.WhichOneof("event") for each in rest] == ["bookmark", "ended"]
    assert rest[-1].ended.code == grpc.StatusCode.UNAVAILABLE.value[0]


async def test_a_watch_that_cannot_begin_is_refused(live: Live) -> None:
    for revision, filter_, reason in (
        ("0-1", "", "REVISION_GONE"),
        ("0-0-0123456789ab", "", "REVISION_GONE"),
        ("7-1", "", "FIELD_INVALID"),
        ("", "colour == 1", "FILTER_INVALID"),
    ):
        with pytest.raises(CallRefused) as refused:
            await anext(aiter(watch(live, revision, filter_)))
        assert refused.value.reason == reason
