"""`secmesh compliance watch`: a line for each new contradiction, across streams that end."""

import json

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2

from secmesh.inventory.v1 import assessment_pb2, check_pb2
from secmesh.inventory.v1.contradiction_pb2 import Contradiction
from secmesh.inventory.v1.contradiction_service_pb2 import (
    ListContradictionsResponse,
    WatchContradictionsResponse,
)
from secmesh.inventory.v1.ssp_pb2 import Ssp
from secmesh.records.v1.watch_pb2 import WatchBookmark
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]


def found(revision: str, control: str) -> WatchContradictionsResponse:
    contradiction = Contradiction(
        control_id=control,
        verdict=assessment_pb2.VERDICT_CONTRADICTED,
        severity=check_pb2.SEVERITY_HIGH,
        ssp="tenants/acme/ssps/prod",
    )
    return WatchContradictionsResponse(revision=revision, contradiction=contradiction)


def ended(revision: str) -> WatchContradictionsResponse:
    info = AnyMessage()
    info.Pack(error_details_pb2.ErrorInfo(reason="WATCH_ENDED"))
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="over", details=[info])
    return WatchContradictionsResponse(revision=revision, ended=status)


def test_it_goes_on_from_the_last_revision(operator: Operator) -> None:
    options = ("--ssp", "prod", "--filter", "severity > 2", "--since", "0-1", "--limit", "2")
    done = operator.run("-o", "ndjson", "compliance", "watch", *options)
    operator.answer("ComplianceService", "GetSsp", Ssp(name="tenants/acme/ssps/prod"))
    first = operator.stream(
        "ContradictionService",
        "WatchContradictions",
        found("0-2", "ac-2"),
        WatchContradictionsResponse(revision="0-7", bookmark=WatchBookmark()),
        ended("0-7"),
    )
    second = operator.stream("ContradictionService", "WatchContradictions", found("0-8", "sc-8"))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert (first.parent, first.revision) == ("tenants/acme", "0-1")
    assert first.filter == second.filter == "ssp == r'tenants/acme/ssps/prod' && (severity > 2)"
    assert second.revision == "0-7"
    shown = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["contradiction"]["controlId"] for each in shown] == ["ac-2", "sc-8"]


def test_a_line_says_what_turned_against_what(operator: Operator) -> None:
    done = operator.run("compliance", "watch", "--limit", "1")
    operator.stream("ContradictionService", "WatchContradictions", found("0-2", "ac-2"))
    words = done.result(SECONDS).stdout.split()
    assert words == ["0-2", "high", "contradicted", "ac-2", "tenants/acme/ssps/prod"]


def test_what_was_found_is_listed(operator: Operator) -> None:
    done = operator.run("-o", "ndjson", "compliance", "contradictions")
    page = ListContradictionsResponse(contradictions=[found("", "ac-2").contradiction])
    request = operator.answer("ContradictionService", "ListContradictions", page)
    assert json.loads(done.result(SECONDS).stdout)["controlId"] == "ac-2"
    assert request.parent == "tenants/acme"
