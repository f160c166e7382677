"""A whole FedRAMP Moderate plan against a large account: seconds, and few bytes a finding."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import ssp_pb2
from secmesh.inventory.v1.iam_pb2 import IamAccessKey, IamUser
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.compliance.controls import baseline_controls, load_controls
from tests.service.compliance_world import NOW, World, document, new_world, requirement

RESOURCES = 5000
"""Generous: the machine that runs tests is shared."""


@pytest.fixture
async def world(tmp_path: Path, database: str) -> AsyncIterator[World]:
    async with new_world(tmp_path, database) as made:
        yield made


def user(number: int) -> IamUser:
    body = IamUser(
        username=f"user-{number}",
        is_root=False,
        password_enabled=number % 2 == 0,
        mfa_enabled=number % 4 == 0,
    )
    body.credential_unused_since.FromDatetime(NOW - timedelta(days=number % 100))
    return body


def key(number: int) -> IamAccessKey:
    body = IamAccessKey(username=f"user-{number}", active=True)
    body.last_rotated.FromDatetime(NOW - timedelta(days=number % 200))
    return body


def bucket(number: int) -> S3Bucket:
    return S3Bucket(
        bucket_name=f"bucket-{number}",
        encryption="NONE" if number % 10 == 0 else "AES256",
        https_only=True,
        public=False,
        versioning="Enabled",
        data_events_logged=True,
    )


async def test_a_whole_moderate_plan(world: World) -> None:
    controls = baseline_controls(ssp_pb2.BASELINE_FEDRAMP_MODERATE)
    known = load_controls()
    states = ("implemented", "planned", "implemented", "partial", "implemented")
    words = {
        "ac-02.03_odp.02": "ninety (90) days",
        "au-11_odp": "one (1) year",
        "ia-05_odp.01": "sixty (60) days",
    }
    requirements = [
        requirement(
            control,
            states[place % len(states)],
            **{
                parameter.replace(".", "__"): words.get(parameter, "as the policy says")
                for parameter in known[control].parameters
                if parameter != "ia-05.01_odp.02"
            },
        )
        for place, control in enumerate(controls)
    ]
    await world.plan(document(*requirements))
    await world.sync(["access_keys", "iam_users", "s3_buckets"])
    await world.add("iam_users", *map(user, range(RESOURCES)))
    await world.add("access_keys", *map(key, range(RESOURCES)))
    await world.add("s3_buckets", *map(bucket, range(RESOURCES)))
    found = await world.evaluate()
    assert found.assessment.controls == found.assessment.claims == 323
    counts = Counter(pb.Verdict.Name(each.verdict) for each in found.verdicts)
    assert sum(counts.values()) == 323
    with_checks = {each.control_id for each in found.verdicts if each.check_results}
    assert counts["VERDICT_NO_EVIDENCE"] == 323 - len(with_checks)
    mfa = found.result("ia-2.8", "iam.user_console_mfa")
    assert (mfa.passed, mfa.failed, mfa.not_applicable) == (1250, 1250, 2500)
    unused = found.result("ac-2.3", "iam.unused_credentials")
    assert (unused.passed, unused.failed) == (4550, 450)
    keys = found.result("ia-5", "iam.key_rotation")
    assert dict(keys.thresholds) == {"rotation_period": 60}
    assert (keys.passed, keys.failed) == (25 * 61, 5000 - 25 * 61)
    stored = sum(verdict.ByteSize() for verdict in found.verdicts)
    outcomes = sum(
        result.passed + result.failed
        for verdict in found.verdicts
        for result in verdict.check_results
    )
    assert stored / outcomes < 500
