"""An endpoint that throttles slows a run down; what it cannot read in time is marked so."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.check_pb2 import (
    EVIDENCE_OUTCOME_FAIL,
    EVIDENCE_OUTCOME_UNREAD,
    EvidenceOutcome,
)
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_THROTTLED
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.service.collect_world import SAMPLE_ACCOUNT, body_of, by, client, gaps, world
from tests.service.compliance_world import document, requirement
from tests.service.inventory_story import story
from tests.service.sync_process import service

LIMIT = 10
"""Calls a second that the endpoint answers; it answers 503 SlowDown beyond."""
FEW = "555566667777"


@pytest.fixture
def few(aws: AwsEndpoint, faults: Faults) -> Iterator[str]:
    """An account with four buckets: enough calls to be throttled, for some seconds."""
    s3 = client(aws, "s3", FEW)
    for number in range(4):
        s3.create_bucket(Bucket=f"throttled-{number}")
    yield FEW
    faults.clear()
    for bucket in s3.list_buckets()["Buckets"]:
        s3.delete_bucket(Bucket=bucket["Name"])


async def test_patience_reads_everything_and_runs_share_one_pace(
    aws: AwsEndpoint, faults: Faults, few: str, tmp_path: Path
) -> None:
    calm, slow = tmp_path / "calm", tmp_path / "slow"
    calm.mkdir()
    slow.mkdir()
    async with world(aws, calm) as made:
        await made.sync("s3_buckets", account=few)
        expected = {name: record.etag for name, record in (await made.rows("s3_buckets")).items()}
    assert len(expected) == 4
    faults.clear()
    faults.limit(LIMIT)
    async with world(aws, slow) as made:
        sync = await made.ended_in(120, "s3_buckets", account=few)
        assert sync.state == Sync.STATE_SUCCEEDED
        assert sync.progress.throttles > 0
        # The rate is found: few calls are wasted on throttles.
        assert sync.progress.throttles < sync.progress.calls / 2
        rows = await made.rows("s3_buckets")
        assert {name: record.etag for name, record in rows.items()} == expected
        assert not [entry for entry in await made.manifest(sync) if entry.code == "SlowDown"]
        # What the first run found out, the second need not.
        second = await made.ended_in(120, "s3_buckets", account=few)
        assert second.progress.throttles < sync.progress.throttles
        assert second.state == Sync.STATE_SUCCEEDED


async def test_what_time_did_not_allow_is_throttled_and_nothing_is_wrong(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    async with world(aws, tmp_path) as made:
        await made.sync("s3_buckets")
        whole = by(await made.rows("s3_buckets"), "bucket_name")
    faults.clear()
    faults.limit(LIMIT // 3)
    async with world(aws, tmp_path, unit_seconds=6) as made:
        sync = await made.ended_in(60, "s3_buckets")
        assert sync.state == Sync.STATE_PARTIAL
        found = by(await made.rows("s3_buckets"), "bucket_name")
        assert found.keys() == whole.keys()
        # What needs another collection, never collected here, was unread before too.
        marks = [
            mark
            for name, record in found.items()
            for field, mark in gaps(record).items()
            if field not in gaps(whole[name])
        ]
        assert marks
        assert {mark.outcome for mark in marks} == {READ_OUTCOME_THROTTLED}
        assert {mark.code for mark in marks} == {"SlowDown"}
        for name, record in found.items():
            # Read or kept, every value is the right one.
            assert body_of(record) == body_of(whole[name])
        unanswered = [entry for entry in await made.manifest(sync) if entry.code]
        for entry in unanswered:
            if entry.code == "SlowDown":
                assert entry.outcome == READ_OUTCOME_THROTTLED
        assert "DeadlineExceeded" not in {entry.code for entry in unanswered}


async def test_a_verdict_says_what_was_throttled_and_never_turns(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    """Over gRPC, with two services over the same account: one undisturbed, one throttled."""

    def judged(folder: Path, limit: int, seconds: float) -> pb.CheckResult:
        create_signing_key(folder / "keys")
        faults.clear()
        faults.limit(limit)
        patience = {"SECMESH_INVENTORY_UNIT_SECONDS": str(seconds)}
        with (
            service(folder, aws, **patience) as (_, address),
            story(address, folder, SAMPLE_ACCOUNT) as told,
        ):
            told.plan(document(requirement("cp-9")))
            told.collect("s3_buckets")
            found = told.verdict("cp-9").check_results
        (result,) = [each for each in found if each.check_id == "s3.versioning"]
        return result

    def outcomes(result: pb.CheckResult) -> dict[str, EvidenceOutcome.ValueType]:
        return {each.subject: each.outcome for each in result.evidence}

    calm, slow = tmp_path / "calm", tmp_path / "slow"
    calm.mkdir()
    slow.mkdir()
    truth = await asyncio.to_thread(judged, calm, 0, 900)
    seen = await asyncio.to_thread(judged, slow, LIMIT // 3, 6)
    assert truth.complete
    assert not truth.unread
    assert seen.unread > 0
    assert not seen.complete
    assert seen.passed <= truth.passed
    assert seen.passed + seen.failed + seen.unread == truth.passed + truth.failed
    # What failed undisturbed fails or is unread now, and nothing else fails.
    failing = {name for name, each in outcomes(truth).items() if each == EVIDENCE_OUTCOME_FAIL}
    for name, outcome in outcomes(seen).items():
        assert outcome == EVIDENCE_OUTCOME_UNREAD or name in failing
    marks = [mark for each in seen.evidence for mark in each.unread]
    assert marks
    assert {(mark.outcome, mark.code) for mark in marks} == {(READ_OUTCOME_THROTTLED, "SlowDown")}
