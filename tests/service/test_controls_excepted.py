"""Trying a control says what exceptions in force would accept, now or at a moment of the past."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import control_service_pb2 as api
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.exceptions.exception_store import ExceptionStore
from tests.service.compliance_world import ACCOUNT, TENANT
from tests.service.controls_site import NAME, Site, control, estate, site

__all__ = ["site"]

CHECK = "custom.kms_only"
DAY = timedelta(days=1)
LONG_AGO = datetime(2025, 3, 1, tzinfo=UTC)


async def keep(site: Site, exception_id: str, **fields: Any) -> None:
    """Store an exception in the state that its times say."""
    made = CheckException(
        name=f"{TENANT}/checkExceptions/{exception_id}", check_id=CHECK, reason="It is known."
    )
    made.state = (
        CheckException.STATE_REVOKED if "revoke_time" in fields else CheckException.STATE_APPROVED
    )
    for name, value in fields.items():
        if isinstance(value, datetime):
            getattr(made, name).FromDatetime(value)
        else:
            setattr(made, name, value)
    async with site.world.store.transaction() as connection:
        await ExceptionStore(site.world.store).create(connection, made)


async def tried(site: Site, at: datetime | None = None, **subject: Any) -> pb.CheckResult:
    request = api.TestControlRequest(parent=TENANT, **(subject or {"control_id": "kms-only"}))
    if at is not None:
        request.read_time.FromDatetime(at)
    return (await site.stub.TestControl(request)).result


def counted(result: pb.CheckResult) -> tuple[int, int, int]:
    return result.passed, result.failed, result.excepted


async def test_a_trial_says_what_an_exception_in_force_accepts(site: Site) -> None:
    await estate(site)
    await site.create(control())
    assert counted(await tried(site)) == (1, 2, 0)
    now = datetime.now(UTC)
    times = {"create_time": now - DAY, "approve_time": now - DAY, "expire_time": now + DAY}
    await keep(site, "known", resources='encryption == "NONE"', **times)
    found = await tried(site)
    assert counted(found) == (1, 1, 1)
    (applied,) = found.exceptions
    assert applied.check_exception == f"{TENANT}/checkExceptions/known"
    assert "NONE" in found.failing_filter
    # What is not stored yet is weighed by the exceptions of its name, if it has one.
    assert counted(await tried(site, control=control(name=NAME))) == (1, 1, 1)
    assert counted(await tried(site, control=control())) == (1, 2, 0)
    # An exception whose condition does not fit what the control has become accepts nothing.
    change = {"collection": "iam_users", "condition": "mfa_enabled"}
    other = control(name=NAME, check=change, fixtures=[])
    assert counted(await tried(site, control=other)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("days", "fields", "excepted"),
    [
        (0, {"approve_time": 0, "expire_time": 9}, 1),
        (5, {"approve_time": 0, "expire_time": 9}, 1),
        (5, {"approve_time": 6, "expire_time": 9}, 0),
        (9, {"approve_time": 0, "expire_time": 9}, 0),
        (5, {"approve_time": 0, "expire_time": 9, "revoke_time": 6}, 1),
        (6, {"approve_time": 0, "expire_time": 9, "revoke_time": 6}, 0),
        (5, {"expire_time": 9}, 0),
    ],
)
async def test_a_trial_of_the_past_reckons_with_what_was_in_force_then(
    site: Site, days: int, fields: dict[str, int], excepted: int
) -> None:
    await collected(site)
    await site.create(control())
    times = {name: LONG_AGO + number * DAY for name, number in fields.items()}
    await keep(site, "then", create_time=LONG_AGO - DAY, **times)
    found = await tried(site, LONG_AGO + days * DAY)
    assert counted(found) == (0, 1 - excepted, excepted)


async def collected(site: Site) -> None:
    """One bucket that fails, collected day by day."""
    for day in range(10):
        await site.world.sync(["s3_buckets"], at=LONG_AGO + day * DAY)
    record = Record(
        name=f"{TENANT}/s3_buckets/then",
        etag="e",
        cloud_account_id=ACCOUNT,
        region="us-east-1",
        arn="arn:aws:s3:::then",
        sync=f"{TENANT}/syncs/s1",
        s3_bucket=S3Bucket(bucket_name="then", encryption="NONE"),
        valid_from=stamp(LONG_AGO),
    )
    async with site.world.store.transaction() as connection:
        await site.world.store.insert(connection, "s3_buckets", [record])


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made
