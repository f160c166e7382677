"""`secmesh security transition` and `history`, with their calls answered."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc_testing
import pytest
import typer
from typer.testing import CliRunner

from cli import security_findings
from cli.connection import Connection
from cli.output import OutputFormat
from mesh.contract.image import package_files
from secmesh.security.v1 import finding_service_pb2 as pb
from secmesh.security.v1.finding_event_pb2 import FindingEvent
from secmesh.security.v1.record_pb2 import Record
from secmesh_client import over
from tests.unit.cli_operator import SECONDS, TOKEN, Operator

SERVICES = {
    service.name: service
    for file in package_files("secmesh.security.v1")
    for service in file.services_by_name.values()
}
FULL = "tenants/acme/project_issues/1"


def commands(output: OutputFormat) -> typer.Typer:
    app = typer.Typer()
    security_findings.register(app)

    @app.callback()
    def root(context: typer.Context) -> None:
        context.obj = Connection("127.0.0.1:1", TOKEN, None, output)

    return app


class FindingOperator(Operator):
    """Answers the calls of the security service."""

    def security(self, *arguments: str, output: OutputFormat = OutputFormat.NDJSON):  # type: ignore[no-untyped-def]  # as its base gives it
        app = commands(output)
        return self._pool.submit(lambda: CliRunner().invoke(app, arguments))


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[FindingOperator]:
    channel = grpc_testing.channel(SERVICES.values(), grpc_testing.strict_real_time())
    wrapped = over(channel)
    monkeypatch.setattr("cli.connection.connect", lambda *_, **__: wrapped)
    monkeypatch.setattr("tests.unit.cli_operator.SERVICES", SERVICES)
    with ThreadPoolExecutor(1) as pool:
        yield FindingOperator(channel, pool)


def test_a_status_is_said_in_plain_words(operator: FindingOperator) -> None:
    words = ("risk-accepted", "--reason", "cheap", "--until", "2027-01-31", "--dry-run")
    done = operator.security("transition", "project_issues/1", *words)
    request: pb.TransitionFindingRequest = operator.answer(
        "FindingService", "TransitionFinding", Record(name=FULL, etag="e")
    )
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"name": FULL, "etag": "e"}
    assert (request.name, request.status) == (FULL, "FINDING_STATUS_RISK_ACCEPTED")
    assert (request.justification, request.validate_only) == ("cheap", True)
    assert request.expire_time.ToJsonString() == "2027-01-31T00:00:00Z"


def test_a_resolution_is_of_the_kind(operator: FindingOperator) -> None:
    done = operator.security(
        "transition", "sast_issues/1", "SAST_ISSUE_STATUS_RESOLVED", "--resolution", "wontfix"
    )
    request = operator.answer("FindingService", "TransitionFinding", Record())
    assert done.result(SECONDS).exit_code == 0
    assert request.status == "SAST_ISSUE_STATUS_RESOLVED"
    assert request.resolution == "SAST_RESOLUTION_WONTFIX"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("project_issues/1", "gone"), "one of open, in_triage"),
        (("teams/1", "open"), "no kind with a status"),
        (("project_issues/1", "open", "--resolution", "fixed"), "no kind with a resolution"),
    ],
)
def test_a_word_that_means_nothing_is_wrong_usage(
    operator: FindingOperator, arguments: tuple[str, ...], problem: str
) -> None:
    result = operator.security("transition", *arguments).result(SECONDS)
    assert result.exit_code == 2
    assert problem in " ".join(result.stderr.replace("│", " ").split())


def test_a_history_is_read_to_its_end(operator: FindingOperator) -> None:
    event = FindingEvent(actor="ann", to_status="FINDING_STATUS_CONFIRMED", justification="seen")
    event.fields.add(field="status", new_value="FINDING_STATUS_CONFIRMED")
    done = operator.security("history", FULL, output=OutputFormat.TABLE)
    page = pb.ListFindingHistoryResponse(events=[event], next_page_token="more")
    operator.answer("FindingService", "ListFindingHistory", page)
    last = pb.ListFindingHistoryResponse(events=[FindingEvent(actor="bob")])
    request = operator.answer("FindingService", "ListFindingHistory", last)
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert (request.parent, request.page_token) == (FULL, "more")
    assert "ann" in result.stdout
    assert "bob" in result.stdout
