"""`secmesh inventory events` against services that answer from a table."""

import json
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2

from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.event_service_pb2 import (
    ChangedRecord,
    EventReading,
    EventResult,
    ListCheckTurnsResponse,
    PostEventsResponse,
    WatchCheckTurnsResponse,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.records.v1.watch_pb2 import WatchBookmark
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]

EVENT = {"id": "one", "account": "123456789012", "detail": {"eventName": "CreateBucket"}}


@pytest.mark.parametrize(
    "text",
    [json.dumps(EVENT), json.dumps([EVENT]), f"\n{json.dumps(EVENT)}\n\n"],
    ids=["one", "list", "lines"],
)
def test_events_of_a_file_are_posted(operator: Operator, tmp_path: Path, text: str) -> None:
    file = tmp_path / "events.json"
    file.write_text(text, encoding="utf-8")
    done = operator.run("-o", "json", "inventory", "events", "post", str(file), "--wait", "3")
    result = EventResult(event_id="one", state=EventResult.STATE_REFUSED, reason="ACCOUNT_UNKNOWN")
    answer = PostEventsResponse(results=[result])
    request = operator.answer("EventService", "PostEvents", answer)
    assert request.parent == "tenants/acme"
    assert [dict(each)["id"] for each in request.events] == ["one"]
    assert request.wait.seconds == 3
    told = done.result(SECONDS)
    assert told.exit_code == 1, told.output
    assert json.loads(told.stdout)["results"][0]["reason"] == "ACCOUNT_UNKNOWN"
    assert "ACCOUNT_UNKNOWN" in told.stderr


DEEP = '{"a":' * 3_000 + "1" + "}" * 3_000


@pytest.mark.parametrize(
    "text",
    ["{", '"text"', "[[1]]", "{}\nno", "", "[]", '{"id": NaN}', DEEP, DEEP[:500] + "1" + "}" * 100],
)
def test_a_file_without_events_is_refused(operator: Operator, tmp_path: Path, text: str) -> None:
    file = tmp_path / "events.json"
    file.write_text(text, encoding="utf-8")
    told = operator.run("inventory", "events", "post", str(file)).result(SECONDS)
    assert told.exit_code == 2
    assert "holdsnoevents" in told.output.translate({ord(each): None for each in " │\n"})


def test_what_events_changed_is_shown_in_tables(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_text(json.dumps(EVENT), encoding="utf-8")
    done = operator.run("inventory", "events", "post", str(file))
    run = "tenants/acme/syncs/20261123t180001-72bbe7c3"
    reading = EventReading(
        sync=Sync(name=run, state=Sync.STATE_SUCCEEDED),
        records=[ChangedRecord(change=ChangedRecord.CHANGE_GONE, arn="arn:aws:s3:::two")],
        turns=[turned("").check_turn],
    )
    result = EventResult(event_id="one", state=EventResult.STATE_READ, syncs=[run])
    answer = PostEventsResponse(results=[result], readings=[reading])
    operator.answer("EventService", "PostEvents", answer)
    told = done.result(SECONDS)
    assert told.exit_code == 0, told.output
    rows = [" ".join(line.replace("│", " ").split()) for line in told.stdout.splitlines()]
    assert f"one read {run}" in rows
    assert "gone arn:aws:s3:::two" in rows
    assert "low s3.versioning pass fail arn:aws:s3:::one" in rows
    assert "{" not in told.stdout


def test_an_event_that_was_not_read_is_told(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_text(json.dumps(EVENT), encoding="utf-8")
    done = operator.run("inventory", "events", "post", str(file))
    result = EventResult(
        event_id="one", state=EventResult.STATE_FAILED, syncs=["tenants/a/syncs/b"]
    )
    operator.answer("EventService", "PostEvents", PostEventsResponse(results=[result]))
    told = done.result(SECONDS)
    assert told.exit_code == 1
    assert "secmesh inventory manifest tenants/a/syncs/b" in told.stderr


def turned(revision: str, check: str = "s3.versioning") -> WatchCheckTurnsResponse:
    turn = CheckTurn(
        check_id=check,
        severity=check_pb2.SEVERITY_LOW,
        old_outcome=check_pb2.EVIDENCE_OUTCOME_PASS,
        new_outcome=check_pb2.EVIDENCE_OUTCOME_FAIL,
        arn="arn:aws:s3:::one",
    )
    return WatchCheckTurnsResponse(revision=revision, check_turn=turn)


def test_turns_are_watched_on_from_the_last_revision(operator: Operator) -> None:
    chosen = ("--account", "123456789012", "--check", "s3.versioning", "--ssp", "prod")
    more = ("--filter", "severity > 2", "--since", "0-1", "--limit", "2")
    done = operator.run("-o", "ndjson", "inventory", "events", "watch", *chosen, *more)
    info = AnyMessage()
    info.Pack(error_details_pb2.ErrorInfo(reason="WATCH_ENDED"))
    over = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="over", details=[info])
    first = operator.stream(
        "EventService",
        "WatchCheckTurns",
        turned("0-2"),
        WatchCheckTurnsResponse(revision="0-7", bookmark=WatchBookmark()),
        WatchCheckTurnsResponse(revision="0-7", ended=over),
    )
    second = operator.stream("EventService", "WatchCheckTurns", turned("0-8"))
    told = done.result(SECONDS)
    assert told.exit_code == 0, told.output
    assert (first.parent, first.ssp) == ("tenants/acme", "tenants/acme/ssps/prod")
    assert (first.revision, second.revision) == ("0-1", "0-7")
    assert first.filter == (
        "cloud_account_id == r'123456789012' && check_id == r's3.versioning' && (severity > 2)"
    )
    shown = [json.loads(line) for line in told.stdout.splitlines()]
    assert [each["revision"] for each in shown] == ["0-2", "0-8"]


def test_a_line_says_what_turned(operator: Operator) -> None:
    done = operator.run("inventory", "events", "watch", "--limit", "1")
    operator.stream("EventService", "WatchCheckTurns", turned("0-2"))
    words = done.result(SECONDS).stdout.split()
    assert words == ["0-2", "-", "low", "s3.versioning", "pass", "fail", "arn:aws:s3:::one"]


def test_turns_are_listed(operator: Operator) -> None:
    done = operator.run("-o", "ndjson", "inventory", "events", "turns", "--check", "s3.versioning")
    page = ListCheckTurnsResponse(check_turns=[turned("").check_turn])
    request = operator.answer("EventService", "ListCheckTurns", page)
    assert json.loads(done.result(SECONDS).stdout)["checkId"] == "s3.versioning"
    assert request.filter == "check_id == r's3.versioning'"


def test_a_check_that_is_none_is_refused(operator: Operator) -> None:
    told = operator.run("inventory", "events", "turns", "--check", "a' || 'b").result(SECONDS)
    assert told.exit_code == 2
