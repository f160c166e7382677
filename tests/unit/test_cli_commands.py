"""The command's side of each call: what it asks, what it shows, how it leaves."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import jwt
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from cli.app import app
from cli.compliance import FORMATS, ReportFormat
from mesh.contract.image import package_files
from mesh.errors import PermissionMissing
from secmesh.inventory.v1 import (
    assessment_pb2,
    check_pb2,
    compliance_service_pb2,
    history_service_pb2,
    iam_pb2,
    policy_pb2,
    record_pb2,
    record_service_pb2,
    ssp_pb2,
    sync_pb2,
    sync_service_pb2,
)
from secmesh.records.v1 import aggregate_pb2
from secmesh_client import over

SERVICES = {
    service.name: service
    for file in package_files("secmesh.inventory.v1")
    for service in file.services_by_name.values()
}
TOKEN = jwt.encode({"tenant": "acme", "sub": "ann"}, "k" * 32)
SECONDS = 20


class Operator:
    """Runs the command in a thread and answers its calls over a fake channel."""

    def __init__(self, channel: Any, pool: ThreadPoolExecutor) -> None:
        self.channel = channel
        self._pool = pool

    def run(self, *arguments: str) -> Future[Result]:
        environment = {"SECMESH_ENDPOINT": "127.0.0.1:1", "SECMESH_TOKEN": TOKEN}
        return self._pool.submit(
            lambda: CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
        )

    def answer(
        self, service: str, method: str, answer: Message | status_pb2.Status | grpc.StatusCode
    ) -> Any:
        """Take the one call of a unary method, answer it, and give the request."""
        descriptor = SERVICES[service].methods_by_name[method]
        _, request, rpc = self.channel.take_unary_unary(descriptor)
        rpc.send_initial_metadata(())
        if isinstance(answer, status_pb2.Status):
            status: Any = rpc_status.to_status(answer)
            rpc.terminate(None, status.trailing_metadata, status.code, status.details)
        elif isinstance(answer, grpc.StatusCode):
            rpc.terminate(None, (), answer, "no route to host")
        else:
            rpc.terminate(answer, (), grpc.StatusCode.OK, "")
        return request

    def stream(self, service: str, method: str, *events: Message) -> Any:
        """Take the one call of a server stream, send events, and give the request."""
        descriptor = SERVICES[service].methods_by_name[method]
        _, request, rpc = self.channel.take_unary_stream(descriptor)
        rpc.send_initial_metadata(())
        for event in events:
            rpc.send_response(event)
        rpc.terminate((), grpc.StatusCode.OK, "")
        return request


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Operator]:
    channel = grpc_testing.channel(SERVICES.values(), grpc_testing.strict_real_time())

    wrapped = over(channel)
    monkeypatch.setattr("cli.connection.connect", lambda *_, **__: wrapped)
    monkeypatch.setenv("SECMESH_HOME", str(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        yield Operator(channel, pool)


def users(*names: str) -> list[record_pb2.Record]:
    return [
        record_pb2.Record(
            name=f"tenants/acme/iam_users/{index}",
            region="global",
            iam_user=iam_pb2.IamUser(username=name, mfa_enabled=index % 2 == 0),
        )
        for index, name in enumerate(names)
    ]


def test_ls_reads_every_page_and_writes_ndjson(operator: Operator) -> None:
    done = operator.run(
        "-o", "ndjson", "inventory", "ls", "iam_users", "--filter", "mfa_enabled", "--limit", "0"
    )
    page = record_service_pb2.ListRecordsResponse
    first = operator.answer(
        "RecordService", "ListRecords", page(records=users("ann", "bo"), next_page_token="t2")
    )
    second = operator.answer("RecordService", "ListRecords", page(records=users("cy")))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["iamUser"]["username"] for line in result.stdout.splitlines()] == [
        "ann",
        "bo",
        "cy",
    ]
    assert (first.parent, first.filter) == ("tenants/acme/iam_users", "mfa_enabled")
    assert (first.page_token, second.page_token) == ("", "t2")


def test_ls_stops_at_its_limit(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "ls", "iam_users", "--limit", "2")
    page = record_service_pb2.ListRecordsResponse
    request = operator.answer(
        "RecordService", "ListRecords", page(records=users("ann", "bo"), next_page_token="more")
    )
    result = done.result(SECONDS)
    assert len(json.loads(result.stdout)) == 2
    assert request.page_size == 2


def test_a_table_shows_the_kinds_own_fields(operator: Operator) -> None:
    done = operator.run("inventory", "ls", "iam_users")
    operator.answer(
        "RecordService",
        "ListRecords",
        record_service_pb2.ListRecordsResponse(records=users("[red]ann")),
    )
    result = done.result(SECONDS)
    assert "username" in result.stdout
    assert "[red]ann" in result.stdout, "foreign text is no markup"


def test_an_empty_list_is_an_empty_json_list(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "ls", "iam_users")
    operator.answer("RecordService", "ListRecords", record_service_pb2.ListRecordsResponse())
    assert json.loads(done.result(SECONDS).stdout) == []


def test_get_takes_a_short_name(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "get", "iam_users/0")
    request = operator.answer("RecordService", "GetRecord", users("ann")[0])
    assert request.name == "tenants/acme/iam_users/0"
    assert json.loads(done.result(SECONDS).stdout)["iamUser"]["username"] == "ann"


def test_the_past_is_asked_by_its_moment(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "ls", "iam_users", "--at", "2026-01-31")
    answer = record_service_pb2.ListRecordsResponse(records=users("ann"))
    request = operator.answer("RecordService", "ListRecords", answer)
    assert request.read_time.ToJsonString() == "2026-01-31T00:00:00Z"
    assert done.result(SECONDS).exit_code == 0
    done = operator.run("inventory", "get", "iam_users/0", "--at", "2026-01-31T12:00:00+02:00")
    request = operator.answer("RecordService", "GetRecord", users("ann")[0])
    assert request.read_time.ToJsonString() == "2026-01-31T10:00:00Z"
    assert done.result(SECONDS).exit_code == 0


def test_a_comparison_takes_times_and_runs(operator: Operator) -> None:
    done = operator.run("inventory", "diff", "--from", "2026-01-31", "--to", "r2")
    change = history_service_pb2.RecordChange(
        name="tenants/acme/iam_users/1",
        type=history_service_pb2.RecordChange.TYPE_CHANGED,
        arn="arn:aws:iam::1:user/ann",
    )
    value = history_service_pb2.FieldChange.TYPE_VALUE
    change.fields.add(field="mfa_enabled", type=value, old_value="true", new_value="false")
    gap = record_pb2.Unread(code="Denied")
    reading = history_service_pb2.FieldChange.TYPE_READING
    change.fields.add(field="path", type=reading, old_value="1", new_value="1", new_unread=gap)
    request = operator.answer(
        "HistoryService",
        "DiffRecords",
        history_service_pb2.DiffRecordsResponse(changes=[change]),
    )
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert request.parent == "tenants/acme/-"
    assert request.from_time.ToJsonString() == "2026-01-31T00:00:00Z"
    assert request.to_sync == "tenants/acme/syncs/r2"
    assert "mfa_enabled: true -> false" in result.stdout
    assert "path: read -> unread (Denied)" in result.stdout


def test_a_history_lists_versions(operator: Operator) -> None:
    done = operator.run("-o", "ndjson", "inventory", "history", "iam_users/0", "--limit", "5")
    answer = record_service_pb2.ListRecordVersionsResponse(records=users("new", "old"))
    request = operator.answer("RecordService", "ListRecordVersions", answer)
    lines = done.result(SECONDS).stdout.splitlines()
    assert (request.parent, request.page_size) == ("tenants/acme/iam_users/0", 5)
    assert [json.loads(line)["iamUser"]["username"] for line in lines] == ["new", "old"]


def test_aggregates_are_asked_and_shown(operator: Operator) -> None:
    done = operator.run(
        *("inventory", "aggregate", "iam_users", "--by", "mfa_enabled"),
        *("--bucket", "month:last_login", "--max", "last_login", "--at", "2026-01-31"),
    )
    scalar = aggregate_pb2.Scalar
    start = scalar(timestamp_value=Timestamp(seconds=0))
    group = aggregate_pb2.AggregateGroup(
        keys=[scalar(bool_value=False), start], count=7, values=[scalar()]
    )
    answer = aggregate_pb2.AggregateRecordsResponse(groups=[group])
    request = operator.answer("RecordService", "AggregateRecords", answer)
    result = done.result(SECONDS)
    assert list(request.group_by) == ["mfa_enabled"]
    assert request.time_bucket.unit == aggregate_pb2.TimeBucket.UNIT_MONTH
    assert request.aggregates[0].function == aggregate_pb2.Aggregate.FUNCTION_MAX
    assert request.read_time.ToJsonString() == "2026-01-31T00:00:00Z"
    for text in ("no", "1970-01-01T00:00:00Z", "7", "max(last_login)"):
        assert text in result.stdout


def test_a_refusal_goes_to_stderr_with_its_reason_and_exit_code_1(operator: Operator) -> None:
    done = operator.run("inventory", "ls", "iam_users")
    refusal = PermissionMissing("inventory.iam_users.list").status("req-1")
    operator.answer("RecordService", "ListRecords", refusal)
    result = done.result(SECONDS)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "PERMISSION_MISSING" in result.stderr
    assert "inventory.iam_users.list" in result.stderr
    assert "req-1" in result.stderr


def test_an_endpoint_that_does_not_answer_is_exit_code_3(operator: Operator) -> None:
    done = operator.run("inventory", "get", "iam_users/0")
    operator.answer("RecordService", "GetRecord", grpc.StatusCode.UNAVAILABLE)
    assert done.result(SECONDS).exit_code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["inventory", "ls"],
        ["nonsense"],
        ["inventory", "diff"],
        ["inventory", "aggregate", "iam_users", "--bucket", "age:last_login"],
        ["inventory", "diff", "--from", "2026-13-01"],
        ["inventory", "ls", "iam_users", "--at", "yesterday"],
        ["inventory", "get", "iam_users/0", "--at", "2026-02-30"],
        ["compliance", "evaluate", "--ssp", "x", "--max-age", "soon"],
        ["compliance", "evaluate", "--ssp", "x", "--fail-on", "dreadful"],
        ["compliance", "import-ssp", "no-such-file.json"],
        ["compliance", "coverage", "--baseline", "strictest"],
        ["compliance", "report", "--format", "docx"],
        ["token", "--lifetime", "forever"],
        ["token"],
        ["--output", "xml", "inventory", "kinds"],
    ],
)
def test_wrong_usage_is_exit_code_2(operator: Operator, arguments: list[str]) -> None:
    assert operator.run(*arguments).result(SECONDS).exit_code == 2


def test_no_endpoint_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECMESH_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["inventory", "kinds"])
    assert result.exit_code == 2
    assert "SECMESH_ENDPOINT" in result.stderr


def sync_event(done: int, state: sync_pb2.Sync.State.ValueType) -> Message:
    progress = sync_pb2.SyncProgress(units=2, units_done=done, resources=7)
    run = sync_pb2.Sync(name="tenants/acme/syncs/s1", state=state, progress=progress)
    return sync_service_pb2.WatchSyncResponse(sync=run)


ENDED = sync_service_pb2.WatchSyncResponse(ended=status_pb2.Status(code=code_pb2.OK))


def run_sync(operator: Operator, *events: Message) -> tuple[Result, Any]:
    arguments = ["--account", "123456789012", "--region", "us-east-1", "--region", "eu-west-1"]
    done = operator.run("-o", "json", "inventory", "sync", *arguments)
    request = operator.answer(
        "SyncService", "StartSync", sync_pb2.Sync(name="tenants/acme/syncs/s1")
    )
    operator.stream("SyncService", "WatchSync", *events)
    return done.result(SECONDS), request


def test_sync_follows_the_run_to_its_end(operator: Operator) -> None:
    result, request = run_sync(
        operator,
        sync_event(1, sync_pb2.Sync.STATE_RUNNING),
        sync_event(2, sync_pb2.Sync.STATE_SUCCEEDED),
        ENDED,
    )
    assert result.exit_code == 0, result.output
    assert request.sync.cloud_account_id == "123456789012"
    assert list(request.sync.regions) == ["us-east-1", "eu-west-1"]
    assert json.loads(result.stdout)["state"] == "STATE_SUCCEEDED"


def test_a_failed_run_is_exit_code_1(operator: Operator) -> None:
    failed = sync_pb2.Sync(
        state=sync_pb2.Sync.STATE_FAILED, error=status_pb2.Status(message="no credentials")
    )
    result, _ = run_sync(operator, sync_service_pb2.WatchSyncResponse(sync=failed), ENDED)
    assert result.exit_code == 1
    assert "no credentials" in result.stderr


def test_a_stream_without_its_end_was_cut(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.inventory.PATIENCE", 0.0)
    result, _ = run_sync(operator, sync_event(1, sync_pb2.Sync.STATE_RUNNING))
    assert result.exit_code == 3
    assert "the run goes on" in result.stderr


def test_a_run_is_followed_across_a_cut(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "resume", "s1")
    operator.answer("SyncService", "ResumeSync", sync_pb2.Sync(name="tenants/acme/syncs/s1"))
    operator.stream("SyncService", "WatchSync", sync_event(1, sync_pb2.Sync.STATE_RUNNING))
    again = operator.stream(
        "SyncService", "WatchSync", sync_event(2, sync_pb2.Sync.STATE_SUCCEEDED), ENDED
    )
    assert json.loads(done.result(SECONDS).stdout)["state"] == "STATE_SUCCEEDED"
    assert again.name == "tenants/acme/syncs/s1"


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
    assert "/a: odd" in result.stderr


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
    response = compliance_service_pb2.EvaluateResponse
    count = assessment_pb2.VerdictCount(verdict=verdict, count=2)
    done = assessment_pb2.Assessment(
        name="tenants/acme/assessments/a1", claims=2, claim_counts=[count]
    )
    return [
        response(progress=compliance_service_pb2.EvaluateProgress(checks=2, checks_done=1)),
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
    assert len({*FORMATS.values()}) == len(compliance_service_pb2.ReportFormat.values()) - 1


def test_report_is_of_the_newest_assessment(operator: Operator, tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    done = operator.run("compliance", "report", "--out", str(out))
    newest = assessment_pb2.Assessment(name="tenants/acme/assessments/a9")
    operator.answer(
        "ComplianceService",
        "ListAssessments",
        compliance_service_pb2.ListAssessmentsResponse(assessments=[newest]),
    )
    body = HttpBody(content_type="text/markdown", data="# Ärger".encode())
    request = operator.answer("ComplianceService", "ExportAssessment", body)
    assert done.result(SECONDS).exit_code == 0
    assert request.name == newest.name
    assert request.format == compliance_service_pb2.REPORT_FORMAT_MARKDOWN
    assert out.read_text() == "# Ärger"


@pytest.mark.parametrize("name", ["r1", "tenants/acme/syncs/r1"])
def test_cancel_takes_a_run_by_id_or_name(operator: Operator, name: str) -> None:
    done = operator.run("-o", "json", "inventory", "cancel", name)
    cancelled = sync_pb2.Sync(
        name="tenants/acme/syncs/r1", state=sync_pb2.Sync.State.STATE_CANCELLED
    )
    request = operator.answer("SyncService", "CancelSync", cancelled)
    assert request.name == cancelled.name
    result = done.result(SECONDS)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "STATE_CANCELLED"


def test_checks_are_asked_for_by_collection_and_control(operator: Operator) -> None:
    done = operator.run("compliance", "checks", "--control", "AC-2(3)", "--collection", "iam_users")
    check = check_pb2.Check(id="iam.mfa", title="MFA [red]", severity=check_pb2.SEVERITY_HIGH)
    check.controls.add(control_id="ia-2.1")
    check.controls.add(control_id="ia-2.2")
    page = compliance_service_pb2.ListChecksResponse
    request = operator.answer("ComplianceService", "ListChecks", page(checks=[check]))
    result = done.result(SECONDS)
    assert (request.control_id, request.collection) == ("AC-2(3)", "iam_users")
    for wanted in ("iam.mfa", "high", "MFA [red]", "ia-2.1"):
        assert wanted in result.stdout


def test_coverage_says_how_much_is_complete_today(operator: Operator) -> None:
    done = operator.run("compliance", "coverage", "--account", "123456789012")
    covered = compliance_service_pb2.Coverage(
        controls=323, testable=104, bound=40, complete=12, missing_actions=["s3:Get"]
    )
    covered.control_coverage.add(control_id="sc-28.1", check_ids=["s3.encryption"], complete=True)
    covered.control_coverage.add(control_id="at-2")
    request = operator.answer("ComplianceService", "GetCoverage", covered)
    result = done.result(SECONDS)
    assert request.parent == "tenants/acme"
    assert request.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert list(request.cloud_account_ids) == ["123456789012"]
    words = " ".join(result.stdout.split())
    assert "104 of 323 testable, 40 bound, 12 complete today" in words
    assert "sc-28.1" in words
    assert "at-2" not in words
    assert "s3:Get" in result.stderr


def test_a_report_that_cannot_be_written(operator: Operator, tmp_path: Path) -> None:
    out = tmp_path / "missing" / "report.md"
    done = operator.run("compliance", "report", "--assessment", "a9", "--out", str(out))
    operator.answer("ComplianceService", "ExportAssessment", HttpBody(data=b"# Report"))
    result = done.result(SECONDS)
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
    assert "Traceback" not in result.stderr


def test_resume_follows_the_run_to_its_end(operator: Operator) -> None:
    done = operator.run("-o", "json", "inventory", "resume", "r1")
    running = sync_pb2.Sync(name="tenants/acme/syncs/r1", state=sync_pb2.Sync.State.STATE_RUNNING)
    request = operator.answer("SyncService", "ResumeSync", running)
    assert request.name == running.name
    operator.stream("SyncService", "WatchSync", sync_event(2, sync_pb2.Sync.STATE_PARTIAL), ENDED)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["progress"]["unitsDone"] == 2
    assert "secmesh inventory manifest" in result.stderr


def test_policy_writes_documents_that_aws_takes(operator: Operator) -> None:
    done = operator.run("inventory", "policy", "--collection", "kms_keys", "--run", "r1")
    document = '{"Version":"2012-10-17","Statement":[]}'
    answer = policy_pb2.SuggestPolicyResponse(documents=[document])
    request = operator.answer("SyncService", "SuggestPolicy", answer)
    assert (request.parent, request.sync) == ("tenants/acme", "tenants/acme/syncs/r1")
    assert list(request.collections) == ["kms_keys"]
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(document)


def test_policy_says_that_nothing_is_missing(operator: Operator) -> None:
    done = operator.run("inventory", "policy", "--run", "tenants/acme/syncs/r1")
    request = operator.answer("SyncService", "SuggestPolicy", policy_pb2.SuggestPolicyResponse())
    assert request.sync == "tenants/acme/syncs/r1"
    result = done.result(SECONDS)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing is missing" in result.stderr
