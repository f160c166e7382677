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
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from cli.main import app
from mesh.client.sync import wrap_sync_channel
from mesh.contract.image import package_files
from mesh.errors import PermissionMissing
from secmesh.inventory.v1 import (
    assessment_pb2,
    compliance_service_pb2,
    iam_pb2,
    record_pb2,
    record_service_pb2,
    ssp_pb2,
    sync_pb2,
    sync_service_pb2,
)

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
        self._channel = channel
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
        _, request, rpc = self._channel.take_unary_unary(descriptor)
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
        _, request, rpc = self._channel.take_unary_stream(descriptor)
        rpc.send_initial_metadata(())
        for event in events:
            rpc.send_response(event)
        rpc.terminate((), grpc.StatusCode.OK, "")
        return request


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Operator]:
    channel = grpc_testing.channel(SERVICES.values(), grpc_testing.strict_real_time())

    wrapped = wrap_sync_channel(channel, package="secmesh.inventory.v1")
    monkeypatch.setattr("cli.connection.open_sync_channel", lambda *_, **__: wrapped)
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
        ["compliance", "evaluate", "--ssp", "x", "--max-age", "soon"],
        ["compliance", "evaluate", "--ssp", "x", "--fail-on", "dreadful"],
        ["compliance", "import-ssp", "no-such-file.json"],
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


def test_a_stream_without_its_end_was_cut(operator: Operator) -> None:
    result, _ = run_sync(operator, sync_event(1, sync_pb2.Sync.STATE_RUNNING))
    assert result.exit_code == 3


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
