"""Reports, checks and coverage over gRPC."""

import html
import json
from datetime import timedelta
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused
from secmesh.inventory.v1 import check_requests_pb2, coverage_pb2, report_pb2, ssp_pb2
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.compliance.controls import baseline_controls
from tests.service.compliance_served import Served, estate
from tests.service.compliance_world import (
    CHECKS,
    NOW,
    TENANT,
    document,
    requirement,
)
from tests.unit.oscal_rules import obeying


async def test_reports(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    request = report_pb2.ExportAssessmentRequest(name=assessment.name)
    written = await served.stub.ExportAssessment(request)
    assert written.content_type == "application/json"
    read = json.loads(written.data)
    assert read["assessment"]["name"] == assessment.name
    assert len(read["verdicts"]) == 323
    request.format = report_pb2.REPORT_FORMAT_MARKDOWN
    text = await served.stub.ExportAssessment(request)
    assert text.content_type == "text/markdown; charset=utf-8"
    assert b"## Contradicted" in text.data
    assert b"Controls (of 323)" in text.data


async def test_every_form_of_the_contract_is_written(served: Served) -> None:
    await estate(served)
    assessment = await served.assessment()
    for form in report_pb2.ReportFormat.values()[1:]:
        request = report_pb2.ExportAssessmentRequest(name=assessment.name, format=form)
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
    request = report_pb2.ExportAssessmentRequest(
        name=assessment.name, format=report_pb2.REPORT_FORMAT_OSCAL_RESULTS
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
    request.format = report_pb2.REPORT_FORMAT_OSCAL_POAM
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
    request = report_pb2.ExportAssessmentRequest(
        name=assessment.name, format=report_pb2.REPORT_FORMAT_OSCAL_POAM
    )
    with pytest.raises(CallRefused) as caught:
        await served.stub.ExportAssessment(request)
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "NOTHING_TO_PLAN"
    assert caught.value.metadata["assessment"] == assessment.name


async def test_checks_are_listed_in_pages_and_chosen(served: Served) -> None:
    names: list[str] = []
    token = ""
    while True:
        page = await served.stub.ListChecks(
            check_requests_pb2.ListChecksRequest(page_size=7, page_token=token)
        )
        assert len(page.checks) <= 7
        names += [check.id for check in page.checks]
        token = page.next_page_token
        if not token:
            break
    assert names == sorted(CHECKS.checks)
    whole = await served.stub.ListChecks(check_requests_pb2.ListChecksRequest())
    assert [check.id for check in whole.checks] == names
    assert whole.checks[0] == CHECKS.checks[names[0]].message
    of_users = await served.stub.ListChecks(
        check_requests_pb2.ListChecksRequest(collection="iam_users")
    )
    assert of_users.checks
    assert {check.collection for check in of_users.checks} == {"iam_users"}
    for written in ("ac-2.3", "AC-2(3)"):
        chosen = await served.stub.ListChecks(
            check_requests_pb2.ListChecksRequest(control_id=written)
        )
        assert {check.id for check in chosen.checks} == {each.id for each in CHECKS.of("ac-2.3")}
        assert chosen.checks
    none = await served.stub.ListChecks(
        check_requests_pb2.ListChecksRequest(collection="s3_buckets", control_id="ac-2.3")
    )
    assert not none.checks


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"control_id": "nonsense"}, "FIELD_INVALID"),
        ({"control_id": "ZZ-99"}, "FIELD_INVALID"),
        ({"collection": "s3_bucket"}, "KIND_UNKNOWN"),
        ({"page_token": "nonsense"}, "PAGE_TOKEN_INVALID"),
        ({"page_size": -1}, "FIELD_INVALID"),
    ],
)
async def test_a_wrong_choice_of_checks_is_refused(
    served: Served, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CallRefused) as caught:
        await served.stub.ListChecks(check_requests_pb2.ListChecksRequest(**change))
    assert caught.value.reason == reason


async def coverage(served: Served, *accounts: str) -> coverage_pb2.Coverage:
    return await served.stub.GetCoverage(
        coverage_pb2.GetCoverageRequest(
            parent=TENANT,
            baseline=ssp_pb2.BASELINE_FEDRAMP_MODERATE,
            cloud_account_ids=accounts,
        )
    )


async def test_coverage_counts_controls_and_what_was_read_whole(served: Served) -> None:
    before = await coverage(served)
    moderate = baseline_controls(ssp_pb2.BASELINE_FEDRAMP_MODERATE)
    bound = [control for control in moderate if CHECKS.of(control)]
    assert before.controls == len(before.control_coverage) == 323
    assert before.bound == len(bound)
    assert before.bound < before.testable < 323
    assert before.complete == 0
    assert not before.cloud_account_ids
    await served.world.sync(["s3_buckets"])
    await served.world.add("s3_buckets", S3Bucket(encryption="AES256", https_only=True))
    after = await coverage(served)
    of_buckets = {
        control
        for control in bound
        if {check.message.collection for check in CHECKS.of(control)} == {"s3_buckets"}
    }
    complete = {each.control_id for each in after.control_coverage if each.complete}
    assert after.complete == len(complete)
    assert "sc-28.1" in complete
    assert complete <= of_buckets
    assert list(after.cloud_account_ids) == ["111122223333"]


async def test_coverage_falls_with_denied_reads_and_names_them(served: Served) -> None:
    await served.world.sync(["s3_buckets"], denied=["s3:GetEncryptionConfiguration"])
    await served.world.add(
        "s3_buckets",
        S3Bucket(https_only=True),
        unread={"encryption": "s3:GetEncryptionConfiguration"},
    )
    found = await coverage(served)
    assert "sc-28.1" not in {each.control_id for each in found.control_coverage if each.complete}
    assert list(found.missing_actions) == ["s3:GetEncryptionConfiguration"]
    other = await coverage(served, "999999999999")
    assert other.complete == 0


async def test_coverage_of_no_baseline_is_refused(served: Served) -> None:
    with pytest.raises(CallRefused) as caught:
        await served.stub.GetCoverage(coverage_pb2.GetCoverageRequest(parent=TENANT))
    assert caught.value.reason == "FIELD_INVALID"


async def test_the_page_tells_the_trend_and_the_command_that_mends(served: Served) -> None:
    await served.world.sync(["s3_buckets"])
    await served.world.add("s3_buckets", S3Bucket(bucket_name="it's", encryption="NONE"))
    await served.import_ssp(document(requirement("sc-28.1")))
    assessment = await served.assessment()
    request = report_pb2.ExportAssessmentRequest(
        name=assessment.name, format=report_pb2.REPORT_FORMAT_HTML
    )
    written = await served.stub.ExportAssessment(request)
    page = html.unescape(written.data.decode())
    first = page[page.index('id="first"') : page.index("Posture")]
    assert "<b>1</b> of 1 claim is false" in first
    assert """aws s3api put-bucket-encryption --bucket 'it'"'"'s'""" in first
    assert "first assessment of these accounts" in page
