"""Commands about records, and how every command leaves: what it asks, shows and ends with."""

import json
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner

from cli.app import app
from mesh.errors import PermissionMissing
from secmesh.inventory.v1 import (
    history_service_pb2,
    iam_pb2,
    record_pb2,
    record_service_pb2,
)
from secmesh.records.v1 import aggregate_pb2
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]


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
        ["compliance", "import-ssp", "README.md", "--format", "wordperfect"],
        ["compliance", "passages", "--ssp", "x", "--outcome", "glorious"],
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
