"""ComplianceService over gRPC: import, evaluation, lists, reports and refusals."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from mesh.client import CallRefused, open_channel
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import compliance_service_pb2 as api
from secmesh.inventory.v1 import compliance_service_pb2_grpc as stubs
from secmesh.inventory.v1 import ssp_pb2
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory import compliance_servicer
from services.inventory.compliance.controls import baseline_controls
from services.inventory.compliance_servicer import ComplianceServicer
from tests.service.compliance_world import (
    CATALOGUE,
    CHECKS,
    NOW,
    SSP,
    TENANT,
    World,
    document,
    new_world,
    requirement,
)
from tests.service.server_fixtures import PACKAGE, Running, running
from tests.unit.oscal_rules import obeying


@dataclass
class Served:
    """The service over a tenant's store."""

    world: World
    server: Running
    stub: "stubs.ComplianceServiceAsyncStub"

    async def import_ssp(self, content: bytes, **more: Any) -> ssp_pb2.Ssp:
        request = api.ImportSspRequest(parent=TENANT, ssp_id="main", document=content, **more)
        return await self.stub.ImportSsp(request)

    async def evaluate(self, **more: Any) -> list[api.EvaluateResponse]:
        request = api.EvaluateRequest(ssp=SSP, **more)
        return [event async for event in self.stub.Evaluate(request)]

    async def assessment(self) -> pb.Assessment:
        (found,) = [
            event.assessment for event in await self.evaluate() if event.HasField("assessment")
        ]
        return found


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with new_world(tmp_path) as world:

        def register(server: grpc.aio.Server) -> None:
            servicer = ComplianceServicer(world.store, CHECKS, lambda: NOW)
            stubs.add_ComplianceServiceServicer_to_server(servicer, server)

        async with (
            running(tmp_path, catalogue=CATALOGUE, register=register) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            yield Served(world, server, stubs.ComplianceServiceStub(channel))


async def estate(served: Served) -> None:
    """A bad and a good bucket, and a plan with three claims."""
    await served.world.sync(["s3_buckets"])
    await served.world.add(
        "s3_buckets",
        S3Bucket(encryption="NONE", https_only=True),
        S3Bucket(encryption="AES256", https_only=True),
    )
    await served.import_ssp(
        document(requirement("sc-28.1"), requirement("sc-8"), requirement("at-2"))
    )


async def test_a_plan_is_imported_read_and_listed(served: Served) -> None:
    made = await served.import_ssp(document(requirement("AC-2(3)"), requirement("at-2")))
    assert (made.name, made.controls, made.claims) == (SSP, 2, 2)
    assert made.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert await served.stub.GetSsp(api.GetSspRequest(name=SSP)) == made
    listed = await served.stub.ListSsps(api.ListSspsRequest(parent=TENANT, filter="claims == 2"))
    assert list(listed.ssps) == [made]
    none = await served.stub.ListSsps(api.ListSspsRequest(parent=TENANT, filter="claims == 3"))
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
    listed = await served.stub.ListSsps(api.ListSspsRequest(parent=TENANT))
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
    assert await served.stub.GetSsp(api.GetSspRequest(name=SSP)) == before
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
    named = api.GetAssessmentRequest(name=assessment.name)
    assert await served.stub.GetAssessment(named) == assessment


async def test_verdicts_come_worst_first_in_pages_and_by_filter(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    found: list[pb.ClaimVerdict] = []
    token = ""
    while True:
        page = await served.stub.ListVerdicts(
            api.ListVerdictsRequest(parent=assessment.name, page_size=100, page_token=token)
        )
        found += page.verdicts
        token = page.next_page_token
        if not token:
            break
    assert len({verdict.name for verdict in found}) == len(found) == 323
    assert [verdict.verdict for verdict in found] == sorted(verdict.verdict for verdict in found)
    assert found[0].control_id == "sc-28.1"
    chosen = await served.stub.ListVerdicts(
        api.ListVerdictsRequest(
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
    monkeypatch.setattr(compliance_servicer, "MAX_PAGE_BYTES", 4000)
    names: list[str] = []
    token = ""
    while True:
        page = await served.stub.ListVerdicts(
            api.ListVerdictsRequest(parent=assessment.name, page_size=1000, page_token=token)
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
    newer = ComplianceServicer(served.world.store, CHECKS, lambda: NOW + timedelta(hours=1))
    events = newer.Evaluate(api.EvaluateRequest(ssp=SSP), None)
    (second,) = [event.assessment async for event in events if event.HasField("assessment")]
    listed = await served.stub.ListAssessments(api.ListAssessmentsRequest(parent=TENANT))
    assert [each.name for each in listed.assessments] == [second.name, first.name]


async def test_reports(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    request = api.ExportAssessmentRequest(name=assessment.name)
    written = await served.stub.ExportAssessment(request)
    assert written.content_type == "application/json"
    read = json.loads(written.data)
    assert read["assessment"]["name"] == assessment.name
    assert len(read["verdicts"]) == 323
    request.format = api.REPORT_FORMAT_MARKDOWN
    text = await served.stub.ExportAssessment(request)
    assert text.content_type == "text/markdown; charset=utf-8"
    assert b"## Contradicted" in text.data
    assert b"Controls (of 323)" in text.data


async def test_every_form_of_the_contract_is_written(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    for form in api.ReportFormat.values()[1:]:
        request = api.ExportAssessmentRequest(name=assessment.name, format=form)
        written = await served.stub.ExportAssessment(request)
        assert written.content_type.partition(";")[0] in {
            "application/json",
            "text/csv",
            "text/html",
            "text/markdown",
        }
        assert await served.stub.ExportAssessment(request) == written, "the same each time"


async def test_oscal_of_a_whole_plan_is_valid_and_linked_to_its_statements(served: Served) -> None:
    controls = baseline_controls(ssp_pb2.BASELINE_FEDRAMP_MODERATE)
    within = {"ra-05_odp.03".replace(".", "__"): "high: 10 days; moderate: 20 days; low: 40 days"}
    requirements = [
        requirement(control, **(within if control == "ra-5" else {})) for control in controls
    ]
    await served.world.sync(["s3_buckets"])
    await served.world.add(
        "s3_buckets", *(S3Bucket(encryption="NONE", https_only=False) for _ in range(60))
    )
    await served.import_ssp(document(*requirements))
    assessment = await served.assessment()
    request = api.ExportAssessmentRequest(
        name=assessment.name, format=api.REPORT_FORMAT_OSCAL_RESULTS
    )
    written = await served.stub.ExportAssessment(request)
    (result,) = obeying(written.data, "assessment_results")["results"]
    assert len(result["observations"]) == 323
    (selection,) = result["reviewed-controls"]["control-selections"]
    assert {each["control-id"] for each in selection["include-controls"]} == set(controls)
    statements = {
        part["uuid"]: each["control-id"] for each in requirements for part in each["by-components"]
    }
    (finding,) = [
        each for each in result["findings"] if each["target"]["target-id"] == "sc-28.1_smt"
    ]
    assert statements[finding["implementation-statement-uuid"]] == "sc-28.1"
    request.format = api.REPORT_FORMAT_OSCAL_POAM
    plan = obeying((await served.stub.ExportAssessment(request)).data, "plan_of_action")
    assert len(plan["poam-items"]) == len(plan["risks"]) >= 2
    (risk,) = [each for each in plan["risks"] if each["title"].startswith("SC-28(1)")]
    severity = risk["characterizations"][0]["facets"][0]["value"]
    days = {"critical": 10, "high": 10, "medium": 20, "low": 40}[severity]
    assert risk["deadline"] == f"{(NOW + timedelta(days=days)):%Y-%m-%d}T00:00:00Z"


async def test_a_poam_of_no_weakness_is_refused(served: Served) -> None:
    await served.world.sync(["s3_buckets"])
    await served.import_ssp(document(requirement("at-2")))
    assessment = await served.assessment()
    request = api.ExportAssessmentRequest(name=assessment.name, format=api.REPORT_FORMAT_OSCAL_POAM)
    with pytest.raises(CallRefused) as caught:
        await served.stub.ExportAssessment(request)
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "NOTHING_TO_PLAN"
    assert caught.value.metadata["assessment"] == assessment.name


async def test_nothing_collected_is_refused(served: Served) -> None:
    await served.import_ssp(document(requirement("ac-2")))
    with pytest.raises(CallRefused) as caught:
        await served.evaluate()
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "NOTHING_COLLECTED"


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("GetSsp", api.GetSspRequest(name=f"{TENANT}/ssps/none")),
        ("GetAssessment", api.GetAssessmentRequest(name=f"{TENANT}/assessments/none")),
        ("ListVerdicts", api.ListVerdictsRequest(parent=f"{TENANT}/assessments/none")),
        ("ExportAssessment", api.ExportAssessmentRequest(name=f"{TENANT}/assessments/none")),
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
            await stub.GetSsp(api.GetSspRequest(name=SSP))
        assert caught.value.code == grpc.StatusCode.NOT_FOUND
        request = api.ListVerdictsRequest(parent=assessment.name)
        with pytest.raises(CallRefused) as caught:
            await stub.ListVerdicts(request)
        assert caught.value.code == grpc.StatusCode.NOT_FOUND
        own = await stub.ListSsps(api.ListSspsRequest(parent="tenants/other"))
        assert not own.ssps
