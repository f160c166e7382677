"""A bucket changes between two runs: diff, the past, the verdict and the command all tell so."""

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from cli.app import app
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.history_service_pb2 import RecordChange
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.service.collect_world import ROLE, client
from tests.service.compliance_world import document, requirement
from tests.service.inventory_story import Story, story, token
from tests.service.sync_process import service

ACCOUNT = "444455556666"
"""Reached by assuming a role; nothing else is in it."""
BUCKET = "changed-bucket"


async def test_a_changed_bucket_shows_everywhere(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    await asyncio.to_thread(_story, aws, tmp_path)


def _story(aws: AwsEndpoint, folder: Path) -> None:
    create_signing_key(folder / "keys")
    s3 = client(aws, "s3", ACCOUNT)
    s3.create_bucket(Bucket=BUCKET)
    grants = {
        "SECMESH_INVENTORY_ACCOUNTS": f"acme={ACCOUNT}",
        "SECMESH_INVENTORY_ROLE": ROLE,
    }
    try:
        with (
            service(folder, aws, **grants) as (_, address),
            story(address, folder, ACCOUNT) as told,
        ):
            told.plan(document(requirement("cp-9")))
            first = told.collect("s3_buckets")
            unversioned = told.verdict("cp-9")
            s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
            second = told.collect("s3_buckets")
            versioned, again = told.verdict("cp-9"), told.verdict("cp-9")
            assert first.state == second.state == Sync.STATE_SUCCEEDED
            _check_history(told, first, second)
            _check_verdicts(unversioned, versioned, again)
            _check_command(address, folder, first, second)
    finally:
        s3.delete_bucket(Bucket=BUCKET)


def _check_history(told: Story, first: Sync, second: Sync) -> None:
    (change,) = told.diff("s3_buckets", first, second)
    assert change.type == RecordChange.TYPE_CHANGED
    assert {each.field for each in change.fields} == {"versioning"}
    assert told.diff("s3_buckets", second, first)[0].fields[0].field == "versioning"
    before, after = told.record(change.name, first.end_time), told.record(change.name)
    assert (before.s3_bucket.versioning, after.s3_bucket.versioning) == ("Disabled", "Enabled")
    assert before.valid_to == after.valid_from
    assert before.etag != after.etag
    assert told.record(change.name, second.end_time) == after


def _check_verdicts(old: pb.ClaimVerdict, new: pb.ClaimVerdict, again: pb.ClaimVerdict) -> None:
    def counts(verdict: pb.ClaimVerdict) -> tuple[int, int]:
        (found,) = [each for each in verdict.check_results if each.check_id == "s3.versioning"]
        return found.passed, found.failed

    assert (counts(old), counts(new)) == ((0, 1), (1, 0))
    assert new.verdict != old.verdict
    assert new.previous_verdict == old.verdict
    assert new.since.ToDatetime() > old.since.ToDatetime()
    # Looking again begins no new interval.
    assert (again.verdict, again.since) == (new.verdict, new.since)


def _check_command(address: str, folder: Path, first: Sync, second: Sync) -> None:
    runs = [each.name.rpartition("/")[2] for each in (first, second)]
    shown = CliRunner().invoke(
        app,
        ["--output", "json", "inventory", "diff", "--from", runs[0], "--to", runs[1]],
        env={"SECMESH_ENDPOINT": f"http://{address}", "SECMESH_TOKEN": token(folder)},
        catch_exceptions=False,
    )
    assert shown.exit_code == 0, shown.output
    (change,) = json.loads(shown.stdout)
    assert change["arn"].endswith(BUCKET)
    assert {each["field"] for each in change["fields"]} == {"versioning"}
