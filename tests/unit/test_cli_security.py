"""`secmesh security`: records of the security service, looked at and written."""

import json
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, error_details_pb2, status_pb2

from secmesh.records.v1.ingest_pb2 import IngestRecordsResponse, IngestResult
from secmesh.records.v1.watch_pb2 import RECORD_CHANGE_TYPE_ENTERED
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_service_pb2 import ListRecordsResponse
from secmesh.security.v1.record_watch_pb2 import RecordEvent, WatchRecordsResponse
from secmesh.security.v1.team_pb2 import TEAM_TYPE_SECURITY, Team
from tests.unit.cli_operator import SECONDS, SECURITY, Operator, operator

__all__ = ["operator"]

NAME = "tenants/acme/teams/cloud"
RECORD = Record(name=NAME, etag="e1", team=Team(name="Cloud", team_type=TEAM_TYPE_SECURITY))


@pytest.fixture
def security(operator: Operator) -> Operator:
    operator.services = SECURITY
    return operator


def test_a_table_shows_the_fields_that_the_envelope_has(security: Operator) -> None:
    done = security.run("security", "ls", "teams", "--filter", "is_active")
    request = security.answer("RecordService", "ListRecords", ListRecordsResponse(records=[RECORD]))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert (request.parent, request.filter) == ("tenants/acme/teams", "is_active")
    header = result.stdout.splitlines()[1]
    assert "team_type" in header
    assert "region" not in header
    assert "unread" not in header
    assert "Cloud" in result.stdout


def test_get_and_watch_ask_the_security_service(security: Operator) -> None:
    done = security.run("-o", "json", "security", "get", "teams/cloud")
    request = security.answer("RecordService", "GetRecord", RECORD)
    assert json.loads(done.result(SECONDS).stdout)["team"]["name"] == "Cloud"
    assert request.name == NAME

    done = security.run("security", "watch", "teams", "--limit", "1")
    event = RecordEvent(name=NAME, type=RECORD_CHANGE_TYPE_ENTERED)
    security.stream(
        "RecordService", "WatchRecords", WatchRecordsResponse(revision="7-2", changed=event)
    )
    assert done.result(SECONDS).stdout.split() == ["7-2", "entered", NAME]


def test_put_makes_a_record_without_a_name(security: Operator, tmp_path: Path) -> None:
    file = tmp_path / "team.json"
    file.write_text('{"team": {"name": "Cloud", "teamType": "TEAM_TYPE_SECURITY"}}')
    done = security.run("-o", "json", "security", "put", str(file))
    request = security.answer("RecordService", "CreateRecord", RECORD)
    assert json.loads(done.result(SECONDS).stdout)["name"] == NAME
    assert (request.parent, request.record_id) == ("tenants/acme/teams", "")
    assert request.record.team == RECORD.team


@pytest.mark.parametrize(("options", "paths"), [((), []), (("--replace",), ["*"])])
def test_put_changes_a_record_with_a_name(
    security: Operator, options: tuple[str, ...], paths: list[str]
) -> None:
    typed = b'{"name": "teams/cloud", "etag": "e1", "team": {"name": "Cloud"}}'
    done = security.run("security", "put", "-", *options, typed=typed)
    request = security.answer("RecordService", "UpdateRecord", RECORD)
    assert done.result(SECONDS).exit_code == 0
    assert (request.record.name, request.record.etag) == (NAME, "e1")
    assert request.allow_missing
    assert list(request.update_mask.paths) == paths


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (b'{"team": ', "not as the contract says"),
        (b"\xff", "not as the contract says"),
        (b'{"team": {"colour": 1}}', "colour"),
        (b'{"team": {"name": "a", "name": "b"}}', "duplicate"),
        (b'{"labels": {"a": "b"}}', "has no body"),
    ],
)
def test_put_of_what_is_no_record_is_wrong_usage(
    security: Operator, typed: bytes, said: str
) -> None:
    result = security.run("security", "put", "-", typed=typed).result(SECONDS)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", "").split())


def test_rm_removes_by_name_and_etag(security: Operator) -> None:
    done = security.run("security", "rm", "teams/cloud", "--etag", "e1")
    request = security.answer("RecordService", "DeleteRecord", Empty())
    assert done.result(SECONDS).exit_code == 0
    assert (request.name, request.etag) == (NAME, "e1")


def rejected(sequence: int) -> IngestResult:
    detail = AnyMessage()
    detail.Pack(error_details_pb2.ErrorInfo(reason="FIELD_INVALID"))
    error = status_pb2.Status(
        code=code_pb2.INVALID_ARGUMENT, message="team.name: too short", details=[detail]
    )
    return IngestResult(sequence=sequence, outcome=IngestResult.OUTCOME_REJECTED, error=error)


NEW = IngestResult.OUTCOME_NEW
TWO_LINES = b'{"team": {"name": "a"}}\n\n{"team": {"name": ""}}\n'


def ingested(security: Operator, *results: IngestResult) -> list[Record]:
    """Take a stream of two records, answer it, and give the records."""
    method = SECURITY["RecordService"].methods_by_name["IngestRecords"]
    _, rpc = security.channel.take_stream_stream(method)
    rpc.send_initial_metadata(())
    opening = rpc.take_request()
    assert opening.parent == "tenants/acme"
    taken: list[Record] = []
    while len(taken) < len(results):
        taken += [item.record for item in rpc.take_request().items]
    rpc.send_response(IngestRecordsResponse(results=results))
    rpc.send_response(IngestRecordsResponse(ended=status_pb2.Status()))
    rpc.terminate((), grpc.StatusCode.OK, "")
    return taken


def test_ingest_names_the_lines_that_are_refused(security: Operator) -> None:
    done = security.run("security", "ingest", "-", typed=TWO_LINES)
    taken = ingested(security, IngestResult(sequence=1, outcome=NEW), rejected(2))
    result = done.result(SECONDS)
    assert [record.team.name for record in taken] == ["a", ""]
    assert result.exit_code == 1
    assert result.stdout == "line 3: FIELD_INVALID team.name: too short\n"
    assert "1 new, 1 rejected" in result.stderr


def test_ingest_of_good_records_is_quiet(security: Operator) -> None:
    done = security.run("-o", "ndjson", "security", "ingest", "-", typed=TWO_LINES)
    ingested(security, *(IngestResult(sequence=number, outcome=NEW) for number in (1, 2)))
    result = done.result(SECONDS)
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_line_that_is_no_record_ends_the_stream_after_what_came_before(
    security: Operator,
) -> None:
    done = security.run("security", "ingest", "-", typed=b'{"team": {"name": "a"}}\n{"te\n')
    ingested(security, IngestResult(sequence=1, outcome=NEW))
    result = done.result(SECONDS)
    assert result.exit_code == 2
    assert "line 2" in result.stderr
    assert "1 new" in result.stderr
