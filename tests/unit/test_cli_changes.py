"""`secmesh inventory watch`: a line for each change, across streams that end."""

import json

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2

from secmesh.inventory.v1.record_watch_pb2 import RecordEvent, WatchRecordsResponse
from secmesh.records.v1.watch_pb2 import RECORD_CHANGE_TYPE_ENTERED, WatchBookmark
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]


def change(revision: str, record: str) -> WatchRecordsResponse:
    event = RecordEvent(name=f"tenants/acme/iam_users/{record}", type=RECORD_CHANGE_TYPE_ENTERED)
    return WatchRecordsResponse(revision=revision, changed=event)


def ended(revision: str, code: int, reason: str) -> WatchRecordsResponse:
    info = AnyMessage()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason))
    status = status_pb2.Status(code=code, message="over", details=[info])
    return WatchRecordsResponse(revision=revision, ended=status)


def test_it_goes_on_from_the_last_revision(operator: Operator) -> None:
    arguments = ("iam_users", "--filter", "mfa_enabled == false", "--since", "7-1", "--limit", "2")
    done = operator.run("-o", "ndjson", "inventory", "watch", *arguments)
    first = operator.stream(
        "RecordService",
        "WatchRecords",
        change("7-2", "a"),
        WatchRecordsResponse(revision="9-0", bookmark=WatchBookmark()),
        ended("9-0", code_pb2.UNAVAILABLE, "WATCH_ENDED"),
    )
    second = operator.stream("RecordService", "WatchRecords", change("9-1", "b"))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert (first.parent, first.revision) == ("tenants/acme/iam_users", "7-1")
    assert first.filter == second.filter == "mfa_enabled == false"
    assert second.revision == "9-0"
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["revision"] for each in shown] == ["7-2", "9-1"]


def test_a_forgotten_revision_is_told_and_not_gone_on_with(operator: Operator) -> None:
    done = operator.run("inventory", "watch")
    operator.stream(
        "RecordService",
        "WatchRecords",
        change("7-2", "a"),
        ended("7-2", code_pb2.OUT_OF_RANGE, "REVISION_GONE"),
    )
    result = done.result(SECONDS)
    assert result.exit_code == 1
    assert result.stdout.split() == ["7-2", "entered", "tenants/acme/iam_users/a"]
    assert "REVISION_GONE" in result.stderr
    assert "go on without --since" in result.stderr


def test_where_it_stood_is_told_if_it_is_refused_later(operator: Operator) -> None:
    done = operator.run("inventory", "watch", "--since", "7-1")
    over = ended("7-2", code_pb2.PERMISSION_DENIED, "PERMISSION_MISSING")
    operator.stream("RecordService", "WatchRecords", change("7-2", "a"), over)
    result = done.result(SECONDS)
    assert result.exit_code == 1
    assert "go on with --since 7-2" in result.stderr


def test_what_was_refused_is_not_gone_on_with(operator: Operator) -> None:
    done = operator.run("inventory", "watch", "--since", "x")
    refused = ended("", code_pb2.INVALID_ARGUMENT, "FIELD_INVALID")
    operator.stream("RecordService", "WatchRecords", refused)
    result = done.result(SECONDS)
    assert result.exit_code == 1
    assert "go on" not in result.stderr
