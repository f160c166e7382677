"""A rotation whose process is killed by the kernel, ended by the process after it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.identity.keys import create_signing_key, sign_token
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import (
    config_service_pb2_grpc,
    key_service_pb2_grpc,
    user_service_pb2_grpc,
)
from secmesh.crypto.v1 import key_service_pb2 as pb
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import connect
from services.crypto.custody.key_file import FileKey, write_key_file
from tests.databases import empty_crypto_database
from tests.service.test_crypto_process import _environment, served

TENANT = "tenants/acme"
ADDRESS = "1 Main Street, Springfield"
SSN = "078-05-1120"
COUNT = 250
"""More than one turn, fewer than two."""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    create_signing_key(tmp_path / "keys")
    with empty_crypto_database() as access:
        yield _environment(access, tmp_path)


def _store(channel: Any) -> str:
    """Store persons; give the name of one."""
    purpose = config.Purpose(fields=["address"])
    config_service_pb2_grpc.ConfigServiceStub(channel).CreatePurpose(
        config.CreatePurposeRequest(parent=TENANT, purpose=purpose, purpose_id="post")
    )
    new = [users.NewUser(user=User(address=ADDRESS, ssn=SSN))] * COUNT
    made = user_service_pb2_grpc.UserServiceStub(channel).BatchCreateUsers(
        users.BatchCreateUsersRequest(parent=TENANT, users=new)
    )
    return str(made.users[-1].name)


def _until(keys: Any, name: str, rows: int) -> Any:
    """Wait until a rotation wrote so many rows."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        found = keys.GetRotation(pb.GetRotationRequest(name=name))
        if found.affected_count >= rows:
            return found
        time.sleep(0.02)
    raise AssertionError(found)


@pytest.mark.parametrize(
    "key_type", [pb.KEY_TYPE_TENANT_KEK, pb.KEY_TYPE_USER_DEK, pb.KEY_TYPE_APP_KEY]
)
def test_the_next_process_ends_what_a_killed_one_began(
    environment: dict[str, str], key_type: "pb.KeyType.ValueType"
) -> None:
    home = Path(environment["SECMESH_HOME"]) / "keys"
    versions = {name: FileKey(True, name.encode() * 16) for name in ("v1", "v2")}
    write_key_file(home / "app.keys", versions)
    token = sign_token(home, subject="ann", tenant="acme", roles=["admin"])
    environment["SECMESH_CRYPTO_ROTATION_LEASE_SECONDS"] = "1"
    slow = {**environment, "SECMESH_CRYPTO_ROTATION_ROWS_PER_SECOND": "1"}
    with served(slow) as (address, process):
        with connect(address, token=token) as channel:
            person = _store(channel)
            keys = key_service_pb2_grpc.KeyServiceStub(channel)
            asked = pb.PlanRotationRequest(parent=TENANT, key_type=key_type)
            planned = keys.PlanRotation(asked)
            keys.RunRotation(pb.RunRotationRequest(name=planned.name))
            half = _until(keys, planned.name, 1)
        process.kill()
    assert half.status == pb.KEY_ROTATION_STATUS_RUNNING
    assert 0 < half.affected_count < planned.planned_count
    with served(environment) as (address, _), connect(address, token=token) as channel:
        keys = key_service_pb2_grpc.KeyServiceStub(channel)
        _until(keys, planned.name, planned.planned_count)
        deadline = time.monotonic() + 40
        done = half
        while done.status == pb.KEY_ROTATION_STATUS_RUNNING and time.monotonic() < deadline:
            done = keys.GetRotation(pb.GetRotationRequest(name=planned.name))
        assert done.status == pb.KEY_ROTATION_STATUS_COMPLETED
        assert done.affected_count == planned.planned_count
        wanted = users.GetUserRequest(name=person, unmask=["address"], purpose="post")
        assert user_service_pb2_grpc.UserServiceStub(channel).GetUser(wanted).address == ADDRESS
