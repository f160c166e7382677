"""Excepted failures are not filed as open, and come back when their exception is over."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from secmesh.inventory.v1.check_exception_pb2 import CheckException
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from secmesh.security.v1 import compliance_assessment_pb2 as claims
from secmesh.security.v1 import finding_service_pb2 as findings
from secmesh.security.v1.misconfiguration_pb2 import CHECK_STATUS_FAIL
from secmesh.security.v1.vocabulary_pb2 import FindingStatus
from tests.databases import security_database
from tests.service.compliance_world import NOW, TENANT, document, requirement
from tests.service.filing_world import ACCOUNT, World, filing
from tests.service.security_world import World as Records
from tests.service.security_world import served

CLAIMS, RESOURCES = "compliance_assessments", "misconfigurations"
BAD, GOOD = S3Bucket(encryption="NONE"), S3Bucket(encryption="AES256")
END = NOW + timedelta(days=2)


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    with (
        security_database() as access,
        served(access, tmp_path_factory.mktemp("home")) as made,
    ):
        yield made


@pytest.fixture
async def world(tmp_path: Path, security: Records) -> AsyncIterator[World]:
    async with filing(tmp_path, security) as made:
        yield made


async def accept(world: World, check_id: str, resources: str = "") -> None:
    """Let an approved exception be there."""
    made = CheckException(
        name=f"{TENANT}/checkExceptions/accepted",
        check_id=check_id,
        resources=resources,
        reason="It is public.",
        state=CheckException.STATE_APPROVED,
        etag="v2",
    )
    made.expire_time.FromDatetime(END)
    store = world.inventory.store
    async with store.transaction() as connection:
        await store.upsert(connection, "check_exceptions", [made])


def status(record: Any) -> str:
    return FindingStatus.Name(record.misconfiguration.status).removeprefix("FINDING_STATUS_")


async def test_excepted_resources_are_closed_and_open_when_it_ends(world: World) -> None:
    await world.inventory.plan(document(requirement("sc-28.1")))
    await world.inventory.sync(["s3_buckets"])
    await world.inventory.add("s3_buckets", BAD, BAD, BAD, GOOD)
    await world.file()
    world.later()
    await accept(world, "s3.encryption", 'record.arn.endsWith("/1")')
    assert await world.file() == {
        CLAIMS: {"updated": 1},
        RESOURCES: {"closed": 1, "unchanged": 2},
    }
    one = world.findings()["1"]
    assert status(one) == "RESOLVED"
    # It is accepted, and has not become right.
    assert one.misconfiguration.check_status == CHECK_STATUS_FAIL
    (event,) = world.life.ListFindingHistory(
        findings.ListFindingHistoryRequest(parent=one.name)
    ).events
    assert event.justification.endswith("finds it excepted by accepted until 2030-01-03.")
    world.later()
    assert await world.file() == {CLAIMS: {"unchanged": 1}, RESOURCES: {"unchanged": 3}}

    world.later()
    await accept(world, "s3.encryption")
    done = await world.file()
    assert done == {CLAIMS: {"closed": 1}, RESOURCES: {"closed": 2, "unchanged": 1}}
    claim = world.claim().compliance_assessment
    assert claim.status == claims.ASSESSMENT_STATUS_COMPLETED
    assert claim.findings[0].state == claims.ComplianceAssessment.TARGET_STATE_NOT_SATISFIED
    assert claim.findings[0].title == "partly-supported"
    assert claim.score == 0

    world.later(days=2)
    assert await world.file() == {CLAIMS: {"reopened": 1}, RESOURCES: {"reopened": 3}}
    assert {status(each) for each in world.findings().values()} == {"REOPENED"}


async def test_what_is_excepted_from_the_beginning_is_not_filed(world: World) -> None:
    await world.inventory.plan(document(requirement("sc-28.1")))
    await world.inventory.sync(["s3_buckets"])
    await world.inventory.add("s3_buckets", BAD, BAD)
    await accept(world, "s3.encryption", 'record.arn.endsWith("/1")')
    assert await world.file() == {CLAIMS: {"created": 1}, RESOURCES: {"created": 1}}
    assert sorted(world.findings()) == ["2"]


async def test_an_account_is_excepted_as_a_whole(world: World) -> None:
    await world.inventory.plan(document(requirement("au-2")))
    await world.inventory.sync(["cloudtrail_trails"])
    await world.file()
    before = {each.misconfiguration.check_id: each for each in world.listed(RESOURCES)}
    assert status(before["cloudtrail.multi_region"]) == "OPEN"
    world.later()
    await accept(world, "cloudtrail.multi_region")
    await world.file()
    after = {each.misconfiguration.check_id: each for each in world.listed(RESOURCES)}
    assert status(after["cloudtrail.multi_region"]) == "RESOLVED"
    assert after["cloudtrail.multi_region"].misconfiguration.evidence.detail == ACCOUNT
