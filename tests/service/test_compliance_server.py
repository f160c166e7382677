"""ComplianceService over gRPC: import, evaluation, lists, reports and refusals."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from mesh.client import CallRefused, open_channel
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import (
    assessment_requests_pb2,
    coverage_pb2,
    report_pb2,
    ssp_pb2,
    ssp_requests_pb2,
)
from secmesh.inventory.v1 import compliance_service_pb2_grpc as stubs
from services.inventory import light_page
from services.inventory.compliance_servicer import ComplianceServicer
from tests.service.compliance_served import Served, estate
from tests.service.compliance_world import (
    NOW,
    SSP,
    TENANT,
    document,
    requirement,
    tenant_checks,
)
from tests.service.server_fixtures import PACKAGE


async def test_a_plan_is_imported_read_and_listed(served: Served) -> None:
    made = await served.import_ssp(document(requirement("AC-2(3)"), requirement("at-2")))
    assert (made.name, made.controls, made.claims) == (SSP, 2, 2)
    assert made.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert await served.stub.GetSsp(ssp_requests_pb2.GetSspRequest(name=SSP)) == made
    listed = await served.stub.ListSsps(
        ssp_requests_pb2.ListSspsRequest(parent=TENANT, filter="claims == 2")
    )
    assert list(listed.ssps) == [made]
    none = await served.stub.ListSsps(
        ssp_requests_pb2.ListSspsRequest(parent=TENANT, filter="claims == 3")
    )
    assert not none.ssps


async def test_importing_again_replaces_the_claims(served: Served) -> None:
    await served.import_ssp(document(requirement("ac-2"), requirement("at-2")))
    again = await served.import_ssp(document(requirement("at-3")))
    assert again.claims == 1
    page = await served.world.store.page("claims", SSP)
    assert [claim.control_id for claim in page.items] == ["at-3"]  # type: ignore[attr-defined]  # a claim
    chosen = await served.import_ssp(
        document(requirement("at-3")), baseline=ssp_pb2.BASELINE_NIST_LOW
    )
    assert chosen.baseline == ssp_pb2.BASELINE_NIST_LOW
    listed = await served.stub.ListSsps(ssp_requests_pb2.ListSspsRequest(parent=TENANT))
    assert len(listed.ssps) == 1


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (b"not json", ""),
        (b'{"profile": {}}', "/profile"),
        (b'{"system-security-plan": {}}', "/system-security-plan/metadata"),
        (b"<xml/>", ""),
    ],
)
async def test_a_broken_plan_is_refused_and_the_old_one_stays(
    served: Served, content: bytes, pointer: str
) -> None:
    before = await served.import_ssp(document(requirement("ac-2")))
    with pytest.raises(CallRefused) as caught:
        await served.import_ssp(content)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "SSP_INVALID"
    assert caught.value.metadata["pointer"] == pointer
    assert await served.stub.GetSsp(ssp_requests_pb2.GetSspRequest(name=SSP)) == before
    assert len((await served.world.store.page("claims", SSP)).items) == 1


async def test_an_evaluation_streams_progress_the_result_and_its_end(served: Served) -> None:
    await estate(served)
    events = await served.evaluate()
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[-2:] == ["assessment", "ended"]
    assert set(kinds[:-2]) == {"progress"}
    done = [event.progress.checks_done for event in events if event.HasField("progress")]
    assert done == list(range(events[0].progress.checks + 1))
    assert events[-1].ended.code == 0
    assessment = events[-2].assessment
    assert assessment.evaluate_time.ToDatetime() == NOW.replace(tzinfo=None)
    assert assessment.max_age.ToTimedelta() == timedelta(days=7)
    named = assessment_requests_pb2.GetAssessmentRequest(name=assessment.name)
    assert await served.stub.GetAssessment(named) == assessment


async def test_verdicts_come_worst_first_in_pages_and_by_filter(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    found: list[pb.ClaimVerdict] = []
    token = ""
    while True:
        page = await served.stub.ListVerdicts(
            assessment_requests_pb2.ListVerdictsRequest(
                parent=assessment.name, page_size=100, page_token=token
            )
        )
        found += page.verdicts
        token = page.next_page_token
        if not token:
            break
    assert len({verdict.name for verdict in found}) == len(found) == 323
    assert [verdict.verdict for verdict in found] == sorted(verdict.verdict for verdict in found)
    assert found[0].control_id == "sc-28.1"
    chosen = await served.stub.ListVerdicts(
        assessment_requests_pb2.ListVerdictsRequest(
            parent=assessment.name,
            filter='verdict == VERDICT_CONTRADICTED && control_id.startsWith("sc-")',
        )
    )
    assert [verdict.control_id for verdict in chosen.verdicts] == ["sc-28.1"]


async def test_a_page_of_heavy_verdicts_is_shorter_and_none_is_lost(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await estate(served)
    assessment = await served.assessment()
    monkeypatch.setattr(light_page, "MAX_PAGE_BYTES", 4000)
    names: list[str] = []
    token = ""
    while True:
        page = await served.stub.ListVerdicts(
            assessment_requests_pb2.ListVerdictsRequest(
                parent=assessment.name, page_size=1000, page_token=token
            )
        )
        assert len(page.verdicts) == 1 or page.ByteSize() <= 4100
        names += [verdict.name for verdict in page.verdicts]
        token = page.next_page_token
        if not token:
            break
    assert len(set(names)) == len(names) == 323


async def test_assessments_are_listed_newest_first(served: Served) -> None:
    await estate(served)
    first = await served.assessment()
    newer = ComplianceServicer(
        served.world.store, tenant_checks(served.world.store), lambda: NOW + timedelta(hours=1)
    )
    events = newer.Evaluate(assessment_requests_pb2.EvaluateRequest(ssp=SSP), None)
    (second,) = [event.assessment async for event in events if event.HasField("assessment")]
    listed = await served.stub.ListAssessments(
        assessment_requests_pb2.ListAssessmentsRequest(parent=TENANT)
    )
    assert [each.name for each in listed.assessments] == [second.name, first.name]


async def test_nothing_collected_is_refused(served: Served) -> None:
    await served.import_ssp(document(requirement("ac-2")))
    with pytest.raises(CallRefused) as caught:
        await served.evaluate()
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "NOTHING_COLLECTED"
    with pytest.raises(CallRefused, match="collected of 210987654321 yet"):
        await served.evaluate(cloud_account_ids=["210987654321"])


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("GetSsp", ssp_requests_pb2.GetSspRequest(name=f"{TENANT}/ssps/none")),
        (
            "GetAssessment",
            assessment_requests_pb2.GetAssessmentRequest(name=f"{TENANT}/assessments/none"),
        ),
        (
            "ListVerdicts",
            assessment_requests_pb2.ListVerdictsRequest(parent=f"{TENANT}/assessments/none"),
        ),
        ("ExportAssessment", report_pb2.ExportAssessmentRequest(name=f"{TENANT}/assessments/none")),
    ],
)
async def test_what_is_not_there_is_not_found(
    served: Served, method: str, request_message: Any
) -> None:
    with pytest.raises(CallRefused) as caught:
        await getattr(served.stub, method)(request_message)
    assert caught.value.code == grpc.StatusCode.NOT_FOUND
    assert caught.value.reason == "RESOURCE_NOT_FOUND"


async def test_an_evaluation_of_no_plan_is_not_found(served: Served) -> None:
    with pytest.raises(CallRefused) as caught:
        await served.evaluate()
    assert caught.value.reason == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cloud_account_ids": ["12"]}, "cloud_account_ids[0]"),
        ({"max_age": Duration(seconds=0)}, "max_age"),
    ],
)
async def test_requests_out_of_bounds_are_refused(
    served: Served, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(CallRefused) as caught:
        await served.evaluate(**change)
    assert caught.value.reason == "FIELD_INVALID"
    assert field in caught.value.message


async def test_another_tenant_sees_nothing(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    stranger = served.server.token(tenant="other")
    async with open_channel(served.server.address, package=PACKAGE, token=stranger) as channel:
        stub: stubs.ComplianceServiceAsyncStub = stubs.ComplianceServiceStub(channel)
        with pytest.raises(CallRefused) as caught:
            await stub.GetSsp(ssp_requests_pb2.GetSspRequest(name=SSP))
        assert caught.value.code == grpc.StatusCode.NOT_FOUND
        request = assessment_requests_pb2.ListVerdictsRequest(parent=assessment.name)
        with pytest.raises(CallRefused) as caught:
            await stub.ListVerdicts(request)
        assert caught.value.code == grpc.StatusCode.NOT_FOUND
        with pytest.raises(CallRefused) as caught:
            await stub.GetCoverage(
                coverage_pb2.GetCoverageRequest(parent=TENANT, baseline=ssp_pb2.BASELINE_NIST_LOW)
            )
        assert caught.value.code == grpc.StatusCode.NOT_FOUND
        own = await stub.ListSsps(ssp_requests_pb2.ListSspsRequest(parent="tenants/other"))
        assert not own.ssps
