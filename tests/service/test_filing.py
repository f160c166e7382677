"""Assessments filed over two real servers: inventory on SQLite, security on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.client import CallRefused, open_channel
from secmesh.inventory.v1 import assessment_requests_pb2 as api
from secmesh.inventory.v1 import compliance_service_pb2_grpc as stubs
from secmesh.inventory.v1 import filing_pb2
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from secmesh.security.v1 import compliance_assessment_pb2 as claims
from secmesh.security.v1 import finding_service_pb2 as findings
from secmesh.security.v1.finding_event_pb2 import FindingEvent
from secmesh.security.v1.misconfiguration_pb2 import CHECK_STATUS_FAIL, CHECK_STATUS_PASS
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.vocabulary_pb2 import FindingStatus
from services.inventory.compliance_servicer import ComplianceServicer
from services.inventory.filing.security import Security
from tests.databases import security_database
from tests.service.compliance_world import (
    CATALOGUE,
    SSP,
    TENANT,
    document,
    requirement,
    tenant_checks,
)
from tests.service.filing_world import ACCOUNT, World, counted, filing
from tests.service.security_world import World as Records
from tests.service.security_world import copy_of, served
from tests.service.server_fixtures import PACKAGE, running

CLAIMS, RESOURCES = "compliance_assessments", "misconfigurations"
BAD, GOOD = S3Bucket(encryption="NONE"), S3Bucket(encryption="AES256")
CHECK = "s3.encryption"
STATE = claims.ComplianceAssessment


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


@pytest.fixture
async def buckets(world: World) -> list[str]:
    """Two bad buckets and a good one, and a plan that claims their encryption."""
    await world.inventory.plan(document(requirement("sc-28.1")))
    await world.inventory.sync(["s3_buckets"])
    return await world.inventory.add("s3_buckets", BAD, BAD, GOOD)


def status(record: Any) -> str:
    return FindingStatus.Name(record.misconfiguration.status).removeprefix("FINDING_STATUS_")


def state(record: Any) -> tuple[str, str]:
    """How far a claim's record is, and what it says."""
    body = record.compliance_assessment
    return (
        claims.AssessmentStatus.Name(body.status).removeprefix("ASSESSMENT_STATUS_"),
        STATE.TargetState.Name(body.findings[0].state).removeprefix("TARGET_STATE_"),
    )


OPEN_CLAIM = ("UNDER_REVIEW", "NOT_SATISFIED")


async def test_a_contradicted_claim_becomes_a_record_with_its_resources(
    world: World, buckets: list[str]
) -> None:
    assert await world.file() == {CLAIMS: {"created": 1}, RESOURCES: {"created": 2}}

    (account,) = world.listed("cloud_accounts")
    assert account.cloud_account.account_uid == ACCOUNT
    (framework,) = world.listed("compliance_frameworks")
    assert framework.compliance_framework.code == "NIST-800-53"
    claim = world.claim().compliance_assessment
    assert state(world.claim()) == OPEN_CLAIM
    assert claim.cloud_account_id == account.name
    assert claim.framework_id == framework.name
    assert claim.score == 0
    assert (claim.controls_total, claim.controls_not_satisfied) == (1, 1)
    assert [*claim.scope.control_ids] == ["sc-28.1"]
    assert [*claim.scope.components] == ["Cloud"]
    assert SSP in claim.scope.description
    assert claim.findings[0].title == "contradicted"
    assert CHECK in claim.findings[0].description
    (observation,) = claim.observations
    assert [each.rpartition("/")[2] for each in observation.subjects] == ["1", "2"]

    assets = {each.name: each.cloud_asset for each in world.listed("cloud_assets")}
    found = world.findings()
    assert sorted(found) == ["1", "2"]
    for record in found.values():
        body = record.misconfiguration
        assert (body.check_id, status(record), body.account_id) == (CHECK, "OPEN", account.name)
        assert body.check_status == CHECK_STATUS_FAIL
        assert body.HasField("due_time")
        assert assets[body.asset_id].resource_uid == body.evidence.detail
        assert assets[body.asset_id].resource_type == "AwsS3Bucket"
        assert "sc-28.1" in body.compliance_requirements[0].requirement_ids
        (seen,) = body.evidence.observations
        assert (seen.field, seen.observed) == ("encryption", '"NONE"')


async def test_filing_again_writes_nothing(world: World, buckets: list[str]) -> None:
    await world.file()
    before = {each: world.listed(each) for each in (CLAIMS, RESOURCES, "cloud_assets")}
    world.later()
    assert await world.file() == {CLAIMS: {"unchanged": 1}, RESOURCES: {"unchanged": 2}}
    assert {each: world.listed(each) for each in before} == before


async def test_what_is_mended_is_closed_and_what_returns_is_reopened(
    world: World, buckets: list[str]
) -> None:
    await world.file()
    world.later()
    await world.replace(buckets[0], GOOD)
    world.later()
    done = await world.file()
    assert done == {CLAIMS: {"updated": 1}, RESOURCES: {"closed": 1, "unchanged": 1}}
    found = world.findings()
    assert (status(found["1"]), status(found["2"])) == ("RESOLVED", "OPEN")
    assert found["1"].misconfiguration.check_status == CHECK_STATUS_PASS
    assert found["1"].misconfiguration.HasField("resolve_time")
    assert state(world.claim()) == OPEN_CLAIM

    await world.replace(buckets[1], GOOD)
    world.later()
    assert await world.file() == {
        CLAIMS: {"closed": 1},
        RESOURCES: {"closed": 1, "unchanged": 1},
    }
    assert state(world.claim()) == ("COMPLETED", "SATISFIED")
    assert world.claim().compliance_assessment.score == 100
    assert world.claim().compliance_assessment.HasField("end_time")

    await world.replace(buckets[0], BAD)
    world.later()
    assert await world.file() == {
        CLAIMS: {"reopened": 1},
        RESOURCES: {"reopened": 1, "unchanged": 1},
    }
    assert state(world.claim()) == OPEN_CLAIM
    assert not world.claim().compliance_assessment.HasField("end_time")
    back = world.findings()["1"]
    assert status(back) == "REOPENED"
    assert back.misconfiguration.check_status == CHECK_STATUS_FAIL
    history = world.life.ListFindingHistory(
        findings.ListFindingHistoryRequest(parent=back.name)
    ).events
    assert [each.change for each in history] == [FindingEvent.CHANGE_TRANSITION] * 2
    assert all(each.actor == "ann" and "/assessments/" in each.justification for each in history)


async def test_what_was_not_read_neither_closes_nor_opens(world: World, buckets: list[str]) -> None:
    await world.file()
    world.later()
    # One is mended, of the other nobody knows; a third would be new and is not read either.
    await world.replace(buckets[0], GOOD)
    await world.replace(buckets[1], S3Bucket(), unread={"encryption": "s3:GetBucketEncryption"})
    await world.replace(buckets[2], S3Bucket(), unread={"encryption": "s3:GetBucketEncryption"})
    world.later()
    assert await world.file() == {
        CLAIMS: {"unchanged": 1},
        RESOURCES: {"closed": 1, "unchanged": 1},
    }
    assert state(world.claim()) == OPEN_CLAIM
    assert status(world.findings()["2"]) == "OPEN"
    # Then nothing is read at all.
    await world.inventory.sync(["s3_buckets"], at=world.later(), denied=["s3:ListBuckets"])
    world.later()
    done = await world.file()
    assert done == {CLAIMS: {"unchanged": 1}, RESOURCES: {"unchanged": 2}}


async def test_a_resource_that_is_gone_is_mended(world: World, buckets: list[str]) -> None:
    await world.file()
    world.later()
    await world.remove(buckets[0])
    world.later()
    assert (await world.file())[RESOURCES] == {"closed": 1, "unchanged": 1}
    assert status(world.findings()["1"]) == "RESOLVED"


async def test_what_people_decided_stays(world: World, buckets: list[str]) -> None:
    await world.file()
    end = Timestamp()
    end.FromDatetime(world.times[-1].replace(year=2090))
    accepted = world.findings()["1"]
    request = findings.AcceptFindingRequest(
        name=accepted.name, justification="behind the firewall", expire_time=end
    )
    world.life.AcceptFinding(request)
    given_up = copy_of(world.claim())
    given_up.compliance_assessment.status = claims.ASSESSMENT_STATUS_CANCELED
    world.records.stub.UpdateRecord(UpdateRecordRequest(record=given_up))
    world.later()
    done = await world.file()
    assert done == {CLAIMS: {"unchanged": 1}, RESOURCES: {"unchanged": 2}}
    # The evidence is told all the same, the decision is not touched.
    await world.replace(buckets[0], GOOD)
    await world.replace(buckets[1], GOOD)
    world.later()
    done = await world.file()
    assert done == {CLAIMS: {"unchanged": 1}, RESOURCES: {"closed": 1, "updated": 1}}
    assert status(world.findings()["1"]) == "RISK_ACCEPTED"
    assert world.findings()["1"].misconfiguration.check_status == CHECK_STATUS_PASS
    assert state(world.claim()) == ("CANCELED", "NOT_SATISFIED")


async def test_a_claim_that_is_withdrawn_is_closed_and_its_resources_are_not(
    world: World, buckets: list[str]
) -> None:
    await world.file()
    await world.inventory.plan(document(requirement("sc-28.1", "planned")))
    world.later()
    assert await world.file() == {CLAIMS: {"closed": 1}, RESOURCES: {"unchanged": 2}}
    assert state(world.claim()) == ("COMPLETED", "NOT_SATISFIED")
    await world.inventory.plan(document(requirement("sc-28.1")))
    world.later()
    await world.file()
    await world.inventory.plan(document(requirement("at-2")))
    world.later()
    assert (await world.file())[CLAIMS] == {"closed": 1}
    assert state(world.claim()) == ("COMPLETED", "NOT_APPLICABLE")
    assert {status(each) for each in world.findings().values()} == {"OPEN"}


async def test_an_account_that_was_left_out_keeps_what_it_has(
    world: World, buckets: list[str]
) -> None:
    other = "222233334444"
    await world.inventory.sync(["s3_buckets"], account=other)
    await world.inventory.add("s3_buckets", BAD, account=other)
    assert (await world.file())[RESOURCES] == {"created": 3}
    assert not world.claim().compliance_assessment.HasField("cloud_account_id")
    world.later()
    for name in buckets[:2]:
        await world.replace(name, GOOD)
    world.later()
    assert await world.file(ACCOUNT) == {
        CLAIMS: {"unchanged": 1},
        RESOURCES: {"closed": 2, "unchanged": 1},
    }
    world.later()
    # What is left is in the other account alone.
    assert (await world.file())[CLAIMS] == {"updated": 1}
    assert world.claim().compliance_assessment.HasField("cloud_account_id")
    assert state(world.claim()) == OPEN_CLAIM


async def test_more_resources_than_a_result_lists_are_filed(world: World) -> None:
    await world.inventory.plan(document(requirement("sc-28.1")))
    await world.inventory.sync(["s3_buckets"])
    await world.inventory.add("s3_buckets", *[BAD] * 120)
    assert (await world.file())[RESOURCES] == {"created": 120}
    assert len(world.findings()) == 120


async def test_an_outcome_of_a_whole_account_is_a_finding_without_an_asset(world: World) -> None:
    await world.inventory.plan(document(requirement("au-2")))
    await world.inventory.sync(["cloudtrail_trails"])
    assert (await world.file())[RESOURCES]["created"]
    found = world.listed(RESOURCES)
    assert {each.misconfiguration.evidence.detail for each in found} == {ACCOUNT}
    assert not any(each.misconfiguration.HasField("asset_id") for each in found)


async def test_a_trial_tells_what_differs_and_writes_nothing(
    world: World, buckets: list[str]
) -> None:
    expected = {CLAIMS: {"created": 1}, RESOURCES: {"created": 2}}
    assert await world.file(validate_only=True) == expected
    assert not world.listed("cloud_accounts")
    assert not world.listed("compliance_frameworks")
    assert await world.file() == expected


async def test_two_filings_at_once_make_each_record_once(world: World, buckets: list[str]) -> None:
    request = filing_pb2.FileAssessmentRequest(name=await world.evaluate())
    await asyncio.gather(*(world.stub.FileAssessment(request) for _ in range(3)))
    assert len(world.listed(RESOURCES)) == 2
    assert len(world.listed(CLAIMS)) == 1
    assert len(world.listed("cloud_accounts")) == 1


async def test_a_filing_that_broke_off_is_repeated(
    world: World, buckets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.file()
    world.later()
    await world.replace(buckets[0], GOOD)
    world.later()
    name = await world.evaluate()

    async def lost(*_: object) -> Any:
        raise ConnectionError("the process ends here")

    with monkeypatch.context() as patched:
        # Between the step of the finding and the writing of everything else.
        patched.setattr(Security, "update", lost)
        with pytest.raises(CallRefused):
            await world.stub.FileAssessment(filing_pb2.FileAssessmentRequest(name=name))
    assert status(world.findings()["1"]) == "RESOLVED"
    done = counted(await world.stub.FileAssessment(filing_pb2.FileAssessmentRequest(name=name)))
    assert done == {CLAIMS: {"updated": 1}, RESOURCES: {"updated": 1, "unchanged": 1}}
    assert world.findings()["1"].misconfiguration.check_status == CHECK_STATUS_PASS


async def test_a_security_service_that_is_away_leaves_the_assessment(
    tmp_path: Path, world: World, buckets: list[str]
) -> None:
    store = world.inventory.store
    name = await world.evaluate()
    async with open_channel("127.0.0.1:1", package="secmesh.security.v1", token="any") as nowhere:

        def register(server: Any) -> None:
            away = ComplianceServicer(
                store, tenant_checks(store), lambda: world.times[-1], Security(nowhere)
            )
            stubs.add_ComplianceServiceServicer_to_server(away, server)

        async with (
            running(tmp_path, catalogue=CATALOGUE, register=register) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            stub = stubs.ComplianceServiceStub(channel)
            with pytest.raises(CallRefused) as refused:
                await stub.FileAssessment(filing_pb2.FileAssessmentRequest(name=name), timeout=20)
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert refused.value.metadata["dependency"] == "security"
    assert (await world.stub.GetAssessment(api.GetAssessmentRequest(name=name))).name == name
    answer = await world.stub.FileAssessment(filing_pb2.FileAssessmentRequest(name=name))
    assert counted(answer)[RESOURCES] == {"created": 2}


async def refusal(world: World, name: str, **claimed: Any) -> CallRefused:
    """File as somebody who is to be refused."""
    token = world.server.token(**claimed)
    async with open_channel(world.server.address, package=PACKAGE, token=token) as channel:
        stub = stubs.ComplianceServiceStub(channel)
        with pytest.raises(CallRefused) as refused:
            await stub.FileAssessment(filing_pb2.FileAssessmentRequest(name=name))
    return refused.value


async def test_who_may_not_file_is_told_what_is_missing(world: World, buckets: list[str]) -> None:
    name = await world.evaluate()
    auditor = await refusal(world, name, roles=("auditor",))
    assert auditor.metadata["permission"] == "inventory.assessments.file"
    # The security service's own words, which name the same request.
    reader = await refusal(
        world, name, roles=("viewer",), permissions=("inventory.assessments.file",)
    )
    assert reader.reason == "PERMISSION_MISSING"
    assert reader.metadata["permission"].startswith("security.")
    assert not world.listed(RESOURCES)
    stranger = await refusal(world, name, tenant="beta")
    assert stranger.reason == "RESOURCE_NOT_FOUND"
    missing = await refusal(world, f"{TENANT}/assessments/none")
    assert missing.reason == "RESOURCE_NOT_FOUND"
    assert missing.message.replace("none", "x") == stranger.message.replace(
        name.rpartition("/")[2], "x"
    )


async def test_an_older_assessment_is_not_filed(world: World, buckets: list[str]) -> None:
    old = await world.evaluate()
    world.later()
    newer = await world.evaluate()
    refused = await refusal(world, old)
    assert refused.reason == "ASSESSMENT_SUPERSEDED"
    assert refused.metadata["assessment"] == newer


async def test_without_an_address_nothing_is_filed(tmp_path: Path, world: World) -> None:
    def register(server: Any) -> None:
        servicer = ComplianceServicer(world.inventory.store, tenant_checks(world.inventory.store))
        stubs.add_ComplianceServiceServicer_to_server(servicer, server)

    async with (
        running(tmp_path, catalogue=CATALOGUE, register=register) as server,
        open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
    ):
        request = filing_pb2.FileAssessmentRequest(name=f"{TENANT}/assessments/any")
        with pytest.raises(CallRefused) as refused:
            await stubs.ComplianceServiceStub(channel).FileAssessment(request)
    assert refused.value.reason == "FILING_UNAVAILABLE"
