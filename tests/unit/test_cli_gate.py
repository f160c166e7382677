"""`secmesh security gate`, with its calls answered: what it prints, and how it ends."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc_testing
import pytest

from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import quality_gate_service_pb2 as pb
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_service_pb2 import ListRecordsResponse
from secmesh.security.v1.sast_quality_gate_pb2 import QualityGateStatus, SastQualityGate
from secmesh.security.v1.vocabulary_detection_pb2 import EnforcementMode
from secmesh_client import over
from tests.unit.cli_operator import SECONDS, SECURITY, Operator

PROJECT = "tenants/acme/sast_projects/7"


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    channel = grpc_testing.channel(SECURITY.values(), grpc_testing.strict_real_time())
    wrapped = over(channel)
    monkeypatch.setattr("cli.connection.connect", lambda *_, **__: wrapped)
    with ThreadPoolExecutor(1) as pool:
        made = Operator(channel, pool)
        made.services = SECURITY
        yield made


def verdict(status: str, *, blocking: bool) -> pb.EvaluateGateResponse:
    answer = pb.EvaluateGateResponse(
        project=PROJECT,
        branch="main",
        blocking=blocking,
        status=QualityGateStatus.Value(f"QUALITY_GATE_STATUS_{status}"),
        enforcement=EnforcementMode.ENFORCEMENT_MODE_BLOCK,
    )
    below = SastQualityGate.OPERATOR_LT
    answer.conditions.add(
        metric_key="coverage",
        comparator=below,
        error_threshold=80,
        actual_value=79.5,
        status=pb.ConditionResult.STATUS_ERROR,
    )
    answer.conditions.add(
        metric_key="bugs",
        comparator=SastQualityGate.OPERATOR_GT,
        status=pb.ConditionResult.STATUS_NOT_COMPUTED,
        reason="no scan of it is complete",
    )
    return answer


def test_a_failed_gate_is_a_table_and_ends_with_four(operator: Operator) -> None:
    done = operator.run("security", "gate", "sast_projects/7", "--branch", "topic")
    request = operator.answer("QualityGateService", "EvaluateGate", verdict("ERROR", blocking=True))
    result = done.result(SECONDS)
    assert result.exit_code == 4
    assert (request.project, request.branch, request.validate_only) == (PROJECT, "topic", False)
    for text in ("coverage", "79.5", "< 80", "error", "not-computed", "no scan of it is complete"):
        assert text in result.stdout
    assert "quality gate failed: 2 of 2 conditions are not met" in result.stderr


def test_a_gate_that_lets_pass_ends_with_zero(operator: Operator) -> None:
    done = operator.run("security", "gate", PROJECT, "--dry-run", "--json")
    request = operator.answer("QualityGateService", "EvaluateGate", verdict("OK", blocking=False))
    result = done.result(SECONDS)
    assert result.exit_code == 0
    assert request.validate_only
    assert json.loads(result.stdout)["conditions"][0]["actualValue"] == 79.5


def test_what_could_not_be_computed_does_not_pass(operator: Operator) -> None:
    done = operator.run("security", "gate", PROJECT)
    operator.answer("QualityGateService", "EvaluateGate", verdict("NONE", blocking=True))
    result = done.result(SECONDS)
    assert result.exit_code == 4
    assert "quality gate not computed" in result.stderr


def test_a_project_is_found_by_its_key(operator: Operator) -> None:
    done = operator.run("security", "gate", 'a"b')
    none = ListRecordsResponse()
    first: ListRecordsRequest = operator.answer("RecordService", "ListRecords", none)
    whole = "tenants/acme/projects/1"
    found = ListRecordsResponse(records=[Record(name=whole)])
    second: ListRecordsRequest = operator.answer("RecordService", "ListRecords", found)
    request = operator.answer("QualityGateService", "EvaluateGate", verdict("OK", blocking=False))
    assert done.result(SECONDS).exit_code == 0
    assert (first.parent, first.filter) == ("tenants/acme/sast_projects", r'key == "a\"b"')
    assert (second.parent, request.project) == ("tenants/acme/projects", whole)


def test_a_key_that_nothing_has_is_wrong_usage(operator: Operator) -> None:
    done = operator.run("security", "gate", "lost")
    for _ in range(3):
        operator.answer("RecordService", "ListRecords", ListRecordsResponse())
    result = done.result(SECONDS)
    assert result.exit_code == 2
    assert "no project has the key" in result.stderr
