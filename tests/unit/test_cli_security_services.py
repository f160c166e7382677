"""`secmesh security workflow|mfa|phishing|dashboard|measure|report`, with their calls answered."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2, status_pb2

from secmesh.records.v1.aggregate_pb2 import Scalar
from secmesh.security.v1 import analytics_service_pb2 as analytics
from secmesh.security.v1 import mfa_service_pb2 as mfa
from secmesh.security.v1 import phishing_service_pb2 as phishing
from secmesh.security.v1 import workflow_service_pb2 as workflow
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.workflow_run_pb2 import WorkflowStepRun
from tests.unit.cli_operator import SECONDS, SECURITY, Operator, operator

__all__ = ["operator"]
ID = "tenants/acme"
MADE = Record(name=f"{ID}/workflows/1", etag="e")
DASHBOARD = f"{ID}/analytics_dashboards/d"


@pytest.fixture
def security(operator: Operator) -> Operator:
    operator.services = SECURITY
    return operator


def asked(
    security: Operator, words: str, call: str, answer: Any = MADE, typed: bytes = b""
) -> dict[str, Any]:
    """Run a command and give the request that it makes."""
    done = security.run("-o", "json", "security", *words.split(), typed=typed)
    service, _, method = call.partition(".")
    request = security.answer(service, method, answer)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert answer is not MADE or json.loads(result.stdout)["etag"] == "e"
    said: dict[str, Any] = MessageToDict(request, preserving_proto_field_name=True)
    return said


RUN = f"{ID}/workflow_executions/9"


@pytest.mark.parametrize(
    ("words", "method", "request_"),
    [
        (
            "activate workflows/1 --dry-run --etag x",
            "ActivateWorkflow",
            {"name": MADE.name, "etag": "x", "validate_only": True},
        ),
        ("deactivate workflows/1", "DeactivateWorkflow", {"name": MADE.name}),
        (
            'run workflows/1 --input {"n":3} --incident incidents/7',
            "RunWorkflow",
            {"name": MADE.name, "input": {"n": 3}, "incident": f"{ID}/incidents/7"},
        ),
        (
            "cancel workflow_executions/9 --reason enough",
            "CancelExecution",
            {"name": RUN, "reason": "enough"},
        ),
        ("resume workflow_executions/9", "ResumeExecution", {"name": RUN}),
        (
            f"decide {RUN} ask --approve --comment fine",
            "DecideApproval",
            {"name": RUN, "path": "ask", "approve": True, "comment": "fine"},
        ),
    ],
)
def test_workflows(security: Operator, words: str, method: str, request_: dict[str, Any]) -> None:
    answer = WorkflowStepRun(path="ask") if method == "DecideApproval" else MADE
    assert asked(security, f"workflow {words}", f"WorkflowService.{method}", answer) == request_


def test_steps_of_a_run_are_listed(security: Operator) -> None:
    step = WorkflowStepRun(path="each[2]/note", state=WorkflowStepRun.STATE_FAILED)
    step.attempts.add()
    step.error_message = "was answered with 503"
    done = security.run("security", "workflow", "steps", "workflow_executions/9")
    request = security.answer(
        "WorkflowService", "ListStepRuns", workflow.ListStepRunsResponse(step_runs=[step])
    )
    shown = done.result(SECONDS).stdout
    assert request.parent == RUN
    assert all(each in shown for each in ("each[2]/note", "failed", "503"))


@pytest.mark.parametrize("given", ["[1]", "{", "3"])
def test_what_is_no_input_is_wrong_usage(security: Operator, given: str) -> None:
    done = security.run("security", "workflow", "run", "workflows/1", "--input", given)
    assert done.result(SECONDS).exit_code == 2


@pytest.mark.parametrize(
    ("words", "method", "request_"),
    [
        (
            "enroll users/ann --display-name phone",
            "EnrollTotp",
            {"parent": f"{ID}/users/ann", "display_name": "phone"},
        ),
        ("confirm mfa_devices/1", "ConfirmTotp", {"name": f"{ID}/mfa_devices/1", "code": "123456"}),
        (
            "verify mfa_devices/1 --source-ip 192.0.2.7",
            "VerifyTotp",
            {"name": f"{ID}/mfa_devices/1", "code": "123456", "source_ip": "192.0.2.7"},
        ),
        (
            "codes users/ann --until 2027-01-31",
            "CreateBackupCodes",
            {"parent": f"{ID}/users/ann", "expire_time": "2027-01-31T00:00:00Z"},
        ),
        ("use-code users/ann", "UseBackupCode", {"parent": f"{ID}/users/ann", "code": "123456"}),
        (
            "revoke mfa_devices/1 --reason lost",
            "RevokeDevice",
            {"name": f"{ID}/mfa_devices/1", "justification": "lost"},
        ),
    ],
)
def test_second_factors(
    security: Operator, words: str, method: str, request_: dict[str, Any]
) -> None:
    answers = {
        "EnrollTotp": mfa.EnrollTotpResponse(otpauth_uri="otpauth://totp/x"),
        "CreateBackupCodes": mfa.CreateBackupCodesResponse(codes=["abcd"]),
    }
    done = security.run("-o", "json", "security", "mfa", *words.split(), typed=b"123456\n")
    request = security.answer("MfaService", method, answers.get(method, MADE))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert MessageToDict(request, preserving_proto_field_name=True) == request_
    assert "123456" not in result.output, "a code is not shown"


def test_campaigns(security: Operator) -> None:
    name = f"{ID}/phishing_campaigns/1"
    for word, method in (("launch", "LaunchCampaign"), ("complete", "CompleteCampaign")):
        words = f"phishing {word} phishing_campaigns/1"
        assert asked(security, words, f"PhishingService.{method}") == {"name": name}
    told = asked(
        security,
        "phishing record phishing_campaigns/1 key7 clicked",
        "PhishingService.RecordEvents",
        phishing.RecordEventsResponse(),
    )
    event = {"recipient_key": "key7", "type": "PHISHING_EVENT_TYPE_CLICKED"}
    assert told == {"parent": name, "events": [event]}
    wrong = security.run("security", "phishing", "record", "phishing_campaigns/1", "k", "eaten")
    result = wrong.result(SECONDS)
    assert (result.exit_code, "clicked" in result.output) == (2, True)
    answer = phishing.CampaignResults(total=phishing.CampaignNumbers(targets=9, clicked=4))
    answer.groups.add(group="Finance").numbers.targets = 5
    done = security.run("security", "phishing", "results", name)
    security.answer("PhishingService", "GetCampaignResults", answer)
    shown = done.result(SECONDS).stdout
    assert all(each in shown for each in ("Finance", "all", "9", "4", "clicked"))


def test_a_dashboard_shows_points_and_problems(security: Operator) -> None:
    answer = analytics.EvaluateDashboardResponse(name=DASHBOARD)
    good = answer.widgets.add(key="a", title="By severity")
    good.series.points.add(keys=[Scalar(string_value="HIGH")], value=Scalar(int_value=7))
    bad = answer.widgets.add(key="b")
    bad.error.CopyFrom(status_pb2.Status(code=code_pb2.PERMISSION_DENIED, message="not allowed"))
    done = security.run("security", "dashboard", "analytics_dashboards/d")
    request = security.answer("AnalyticsService", "EvaluateDashboard", answer)
    shown = done.result(SECONDS).stdout
    assert request.name == DASHBOARD
    assert all(each in shown for each in ("By severity", "HIGH", "7", "not allowed"))
    measured = asked(
        security,
        "measure analytics_dashboards/d --period week",
        "AnalyticsService.RecordMetrics",
        analytics.RecordMetricsResponse(created=1),
    )
    assert measured == {"dashboard": DASHBOARD, "period": "TREND_PERIOD_WEEK"}


def test_a_report_is_written_as_it_is(security: Operator, tmp_path: Path) -> None:
    document = b"a,b\r\n1,\xc3\xa9\r\n"
    answer = analytics.GenerateReportResponse(document=document, media_type="text/csv")
    file = tmp_path / "report.csv"
    words = f"report analytics_reports/1 --file {file} --dry-run"
    request = asked(security, words, "AnalyticsService.GenerateReport", answer)
    assert request == {"name": f"{ID}/analytics_reports/1", "validate_only": True}
    assert file.read_bytes() == document
    done = security.run("security", "report", "analytics_reports/1")
    security.answer("AnalyticsService", "GenerateReport", answer)
    assert done.result(SECONDS).stdout_bytes == document


def test_a_refusal_ends_as_elsewhere(security: Operator) -> None:
    done = security.run("security", "workflow", "activate", "workflows/1")
    refusal = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="step a: is wrong")
    security.answer("WorkflowService", "ActivateWorkflow", refusal)
    result = done.result(SECONDS)
    assert (result.exit_code, "step a: is wrong" in result.output) == (1, True)
