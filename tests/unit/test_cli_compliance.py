"""Commands about plans, assessments and checks."""

import json
from pathlib import Path

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message
from google.rpc import status_pb2

from cli.compliance import FORMATS, ReportFormat
from secmesh.inventory.v1 import (
    assessment_pb2,
    assessment_requests_pb2,
    check_pb2,
    check_requests_pb2,
    coverage_pb2,
    filing_pb2,
    report_pb2,
    ssp_pb2,
    ssp_requests_pb2,
)
from tests.unit.cli_operator import SECONDS, SERVICES, Operator, operator

__all__ = ["operator"]


def test_import_sends_the_file_under_an_id_made_of_its_name(
    operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "My System (v2).json"
    file.write_bytes(b"{}")
    done = operator.run("compliance", "import-ssp", str(file), "--baseline", "fedramp-moderate")
    ssp = ssp_pb2.Ssp(
        name="tenants/acme/ssps/my-system-v2",
        issues=[ssp_pb2.ImportIssue(pointer="/a", problem="odd")],
    )
    request = operator.answer("ComplianceService", "ImportSsp", ssp)
    result = done.result(SECONDS)
    assert (request.ssp_id, request.document) == ("my-system-v2", b"{}")
    assert request.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert (request.file_name, request.format) == (file.name, ssp_pb2.SSP_FORMAT_UNSPECIFIED)
    assert "/a: odd" in result.stderr


def test_the_format_of_a_plan_can_be_given(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "plan.dat"
    file.write_bytes(b"AC-2: Planned")
    done = operator.run("compliance", "import-ssp", str(file), "--format", "text")
    request = operator.answer("ComplianceService", "ImportSsp", ssp_pb2.Ssp())
    assert done.result(SECONDS).exit_code == 0
    assert request.format == ssp_pb2.SSP_FORMAT_TEXT


def test_passages_are_listed_by_what_became_of_them(operator: Operator) -> None:
    done = operator.run(
        "-o", "json", "compliance", "passages", "--ssp", "plan", "--outcome", "not-understood"
    )
    passage = ssp_pb2.Passage(
        source="line 3", outcome=ssp_pb2.Passage.OUTCOME_NOT_UNDERSTOOD, reason="odd"
    )
    page = ssp_requests_pb2.ListPassagesResponse(passages=[passage])
    request = operator.answer("ComplianceService", "ListPassages", page)
    shown = done.result(SECONDS).stdout
    assert request.parent == "tenants/acme/ssps/plan"
    assert request.filter == "outcome == 1"
    assert "line 3" in shown
    assert "odd" in shown


def test_import_sends_a_large_file_in_parts(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    content = bytes(range(256)) * (13 * 4096)
    file.write_bytes(content)
    done = operator.run("compliance", "import-ssp", str(file), "--baseline", "nist-low")
    descriptor = SERVICES["ComplianceService"].methods_by_name["UploadSsp"]
    _, rpc = operator.channel.take_stream_unary(descriptor)
    rpc.send_initial_metadata(())
    parts = [rpc.take_request()]
    while sum(len(part.file.data) for part in parts) < len(content):
        parts.append(rpc.take_request())
    rpc.requests_closed()
    rpc.terminate(ssp_pb2.Ssp(name="tenants/acme/ssps/large"), (), grpc.StatusCode.OK, "")
    assert done.result(SECONDS).exit_code == 0
    assert b"".join(part.file.data for part in parts) == content
    first, *rest = parts
    assert (first.parent, first.ssp_id) == ("tenants/acme", "large")
    assert first.baseline == ssp_pb2.BASELINE_NIST_LOW
    assert all([field.name for field, _ in part.ListFields()] == ["file"] for part in rest)


def evaluation(verdict: assessment_pb2.Verdict.ValueType) -> list[Message]:
    response = assessment_requests_pb2.EvaluateResponse
    count = assessment_pb2.VerdictCount(verdict=verdict, count=2)
    done = assessment_pb2.Assessment(
        name="tenants/acme/assessments/a1", claims=2, claim_counts=[count]
    )
    return [
        response(progress=assessment_requests_pb2.EvaluateProgress(checks=2, checks_done=1)),
        response(assessment=done),
        response(ended=status_pb2.Status()),
    ]


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(assessment_pb2.VERDICT_CONTRADICTED, 4), (assessment_pb2.VERDICT_SUPPORTED, 0)],
)
def test_fail_on_makes_the_exit_code_4(
    operator: Operator, verdict: assessment_pb2.Verdict.ValueType, code: int
) -> None:
    done = operator.run(
        "-o", "json", "compliance", "evaluate", "--ssp", "plan", "--max-age", "36h",
        "--fail-on", "contradicted",
    )  # fmt: skip
    request = operator.stream("ComplianceService", "Evaluate", *evaluation(verdict))
    result = done.result(SECONDS)
    assert result.exit_code == code, result.output
    assert request.ssp == "tenants/acme/ssps/plan"
    assert request.max_age.seconds == 36 * 3600
    assert json.loads(result.stdout)["name"] == "tenants/acme/assessments/a1"


def test_a_cut_evaluation_is_not_taken_for_a_result(operator: Operator) -> None:
    done = operator.run("compliance", "evaluate", "--ssp", "plan")
    events = evaluation(assessment_pb2.VERDICT_SUPPORTED)[:-1]
    operator.stream("ComplianceService", "Evaluate", *events)
    assert done.result(SECONDS).exit_code == 3


@pytest.mark.parametrize("form", list(ReportFormat))
def test_each_format_asks_for_its_own(operator: Operator, form: ReportFormat) -> None:
    done = operator.run("compliance", "report", "--assessment", "a1", "--format", form.value)
    body = HttpBody(content_type="text/plain", data=b"written")
    request = operator.answer("ComplianceService", "ExportAssessment", body)
    result = done.result(SECONDS)
    assert (result.exit_code, result.stdout) == (0, "written\n")
    assert request.name == "tenants/acme/assessments/a1"
    assert request.format == FORMATS[form]
    assert len({*FORMATS.values()}) == len(report_pb2.ReportFormat.values()) - 1


def test_report_is_of_the_newest_assessment(operator: Operator, tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    done = operator.run("compliance", "report", "--out", str(out))
    newest = assessment_pb2.Assessment(name="tenants/acme/assessments/a9")
    operator.answer(
        "ComplianceService",
        "ListAssessments",
        assessment_requests_pb2.ListAssessmentsResponse(assessments=[newest]),
    )
    body = HttpBody(content_type="text/markdown", data="# Ärger".encode())
    request = operator.answer("ComplianceService", "ExportAssessment", body)
    assert done.result(SECONDS).exit_code == 0
    assert request.name == newest.name
    assert request.format == report_pb2.REPORT_FORMAT_MARKDOWN
    assert out.read_text() == "# Ärger"


def test_checks_are_asked_for_by_collection_and_control(operator: Operator) -> None:
    done = operator.run("compliance", "checks", "--control", "AC-2(3)", "--collection", "iam_users")
    check = check_pb2.Check(id="iam.mfa", title="MFA [red]", severity=check_pb2.SEVERITY_HIGH)
    check.controls.add(control_id="ia-2.1")
    check.controls.add(control_id="ia-2.2")
    page = check_requests_pb2.ListChecksResponse
    request = operator.answer("ComplianceService", "ListChecks", page(checks=[check]))
    result = done.result(SECONDS)
    assert (request.control_id, request.collection) == ("AC-2(3)", "iam_users")
    for wanted in ("iam.mfa", "high", "MFA [red]", "ia-2.1"):
        assert wanted in result.stdout


def test_coverage_says_how_much_is_complete_today(operator: Operator) -> None:
    done = operator.run("compliance", "coverage", "--account", "123456789012")
    covered = coverage_pb2.Coverage(
        controls=323, testable=104, bound=40, complete=12, failing=3, missing_actions=["s3:Get"]
    )
    covered.control_coverage.add(control_id="sc-28.1", check_ids=["s3.encryption"], complete=True)
    covered.control_coverage.add(control_id="at-2")
    request = operator.answer("ComplianceService", "GetCoverage", covered)
    result = done.result(SECONDS)
    assert request.parent == "tenants/acme"
    assert request.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert list(request.cloud_account_ids) == ["123456789012"]
    words = " ".join(result.stdout.split())
    assert "104 of 323 testable, 40 bound, 12 complete today, 3 failing" in words
    assert "sc-28.1" in words
    assert "at-2" not in words
    assert "s3:Get" in result.stderr


def test_a_report_that_cannot_be_written(operator: Operator, tmp_path: Path) -> None:
    out = tmp_path / "missing" / "report.md"
    done = operator.run("compliance", "report", "--assessment", "a9", "--out", str(out))
    operator.answer("ComplianceService", "ExportAssessment", HttpBody(data=b"# Report"))
    result = done.result(SECONDS)
    assert result.exit_code == 1
    assert "No such file or directory" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_file_shows_what_became_of_the_newest_assessment(operator: Operator) -> None:
    done = operator.run("compliance", "file", "--dry-run")
    name = "tenants/acme/assessments/7"
    page = assessment_requests_pb2.ListAssessmentsResponse(
        assessments=[assessment_pb2.Assessment(name=name)]
    )
    operator.answer("ComplianceService", "ListAssessments", page)
    answer = filing_pb2.FileAssessmentResponse()
    answer.counts.add(collection="misconfigurations", created=3, rejected=1)
    answer.rejections.add(collection="misconfigurations", subject="s3.x arn", reason="too long")
    request = operator.answer("ComplianceService", "FileAssessment", answer)
    result = done.result(SECONDS)
    assert (request.name, request.validate_only) == (name, True)
    assert "misconfigurations" in result.stdout
    assert "misconfigurations, s3.x arn: too long" in result.stderr
