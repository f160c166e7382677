"""`secmesh crypto rotate` and `rollback`."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc_testing
import pytest

from cli import crypto_rotation
from mesh.contract.image import package_files
from secmesh.crypto.v1 import key_pb2
from secmesh_client import over
from tests.unit.cli_operator import SECONDS, Operator

SERVICES = {
    service.name: service
    for file in package_files("secmesh.crypto.v1")
    for service in file.services_by_name.values()
}
ID = "key_rotations/01999999-0000-7000-8000-000000000001"
NAME = f"tenants/acme/{ID}"


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    channel = grpc_testing.channel(SERVICES.values(), grpc_testing.strict_real_time())
    wrapped = over(channel)
    monkeypatch.setattr("cli.connection.connect", lambda *_, **__: wrapped)
    monkeypatch.setattr(crypto_rotation, "SECONDS", 0)
    with ThreadPoolExecutor(1) as pool:
        made = Operator(channel, pool)
        made.services = SERVICES
        yield made


def rotation(
    status: "key_pb2.KeyRotationStatus.ValueType", affected: int = 0
) -> key_pb2.KeyRotation:
    return key_pb2.KeyRotation(name=NAME, status=status, planned_count=7, affected_count=affected)


def test_a_key_is_rotated_and_waited_for(operator: Operator) -> None:
    done = operator.run("-o", "json", "crypto", "rotate", "tenant-kek")
    planned = rotation(key_pb2.KEY_ROTATION_STATUS_PLANNED)
    request = operator.answer("KeyService", "PlanRotation", planned)
    assert request.key_type == key_pb2.KEY_TYPE_TENANT_KEK
    running = rotation(key_pb2.KEY_ROTATION_STATUS_RUNNING)
    assert operator.answer("KeyService", "RunRotation", running).name == NAME
    operator.answer("KeyService", "GetRotation", running)
    operator.answer("KeyService", "GetRotation", rotation(key_pb2.KEY_ROTATION_STATUS_COMPLETED, 7))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["status"] == "KEY_ROTATION_STATUS_COMPLETED"


def test_a_dry_run_only_counts(operator: Operator) -> None:
    done = operator.run("-o", "json", "crypto", "rotate", "user-dek", "--dry-run")
    operator.answer("KeyService", "PlanRotation", rotation(key_pb2.KEY_ROTATION_STATUS_PLANNED))
    result = done.result(SECONDS)
    assert result.exit_code == 0, result.output
    assert int(json.loads(result.stdout)["plannedCount"]) == 7


def test_a_rollback_that_fails_says_so(operator: Operator) -> None:
    done = operator.run("crypto", "rollback", NAME)
    running = rotation(key_pb2.KEY_ROTATION_STATUS_RUNNING)
    assert operator.answer("KeyService", "RollBackRotation", running).name == NAME
    operator.answer("KeyService", "GetRotation", rotation(key_pb2.KEY_ROTATION_STATUS_FAILED))
    assert done.result(SECONDS).exit_code == 1


def test_a_key_that_is_not_there_is_named(operator: Operator) -> None:
    result = operator.run("crypto", "rotate", "house").result(SECONDS)
    assert result.exit_code == 2
    assert "tenant_kek" in result.output
