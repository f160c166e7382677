"""A rotation whose process is killed by the kernel, ended by the process after it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.identity.keys import create_signing_key, sign_token
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import (
    config_service_pb2_grpc,
    key_pb2,
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
COUNT = 8


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    create_signing_key(tmp_path / "keys")
    with empty_crypto_database() as access:
        yield _environment(access, tmp_path)


def _store(channel: Any) -> str:
    """Store persons; give the name of one."""
    purpose = config.Purpose(fields=["address", "ssn"])
    config_service_pb2_grpc.ConfigServiceStub(channel).CreatePurpose(
        config.CreatePurposeRequest(parent=TENANT, purpose=purpose, purpose_id="post")
    )
    new = [users.NewUser(user=User(address=ADDRESS, ssn=SSN))] * COUNT
    made = user_service_pb2_grpc.UserServiceStub(channel).BatchCreateUsers(
        users.BatchCreateUsersRequest(parent=TENANT, users=new)
    )
    return str(made.users[-1].name)


def _until(keys: Any, name: str, rows: int, status: "key_pb2.KeyRotationStatus.ValueType") -> Any:
    """Wait until a rotation wrote so many rows and stands as wanted."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = keys.GetRotation(pb.GetRotationRequest(name=name))
        if found.affected_count >= rows and found.status == status:
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def _is_half_done(keys: Any, begun: Any) -> None:
    half = _until(keys, begun.name, 1, key_pb2.KEY_ROTATION_STATUS_RUNNING)
    assert 0 < half.affected_count < begun.planned_count


def _is_read(channel: Any, person: str) -> bool:
    wanted = users.GetUserRequest(name=person, unmask=["address", "ssn"], purpose="post")
    found = user_service_pb2_grpc.UserServiceStub(channel).GetUser(wanted)
    return (found.address, found.ssn) == (ADDRESS, SSN)


@pytest.mark.parametrize(
    "key_type",
    [
        key_pb2.KEY_TYPE_KMS_CMK,
        key_pb2.KEY_TYPE_TENANT_KEK,
        key_pb2.KEY_TYPE_USER_DEK,
        key_pb2.KEY_TYPE_APP_KEY,
    ],
    ids=key_pb2.KeyType.Name,
)
def test_the_next_process_ends_what_a_killed_one_began_and_undid(
    environment: dict[str, str], key_type: "key_pb2.KeyType.ValueType"
) -> None:
    home = Path(environment["SECMESH_HOME"]) / "keys"
    for file, names in (("app.keys", ("v1", "v2")), ("kms.keys", ("main", "next"))):
        write_key_file(home / file, {name: FileKey(True, os.urandom(32)) for name in names})
    token = sign_token(home, subject="ann", tenant="acme", roles=["admin"])
    environment["SECMESH_CRYPTO_ROTATION_LEASE_SECONDS"] = "1"
    person = ""
    if key_type == key_pb2.KEY_TYPE_KMS_CMK:
        with served(environment) as (address, _), connect(address, token=token) as channel:
            person = _store(channel)
        environment["SECMESH_CRYPTO_KMS_KEY_ID"] = "file:next"
    slow = {**environment, "SECMESH_CRYPTO_ROTATION_ROWS_PER_SECOND": "1"}
    with served(slow) as (address, process):
        with connect(address, token=token) as channel:
            person = person or _store(channel)
            keys = key_service_pb2_grpc.KeyServiceStub(channel)
            planned = keys.PlanRotation(pb.PlanRotationRequest(parent=TENANT, key_type=key_type))
            keys.RunRotation(pb.RunRotationRequest(name=planned.name))
            _is_half_done(keys, planned)
        process.kill()
    with served(slow) as (address, process):
        with connect(address, token=token) as channel:
            keys = key_service_pb2_grpc.KeyServiceStub(channel)
            count = planned.planned_count
            done = _until(keys, planned.name, count, key_pb2.KEY_ROTATION_STATUS_COMPLETED)
            assert done.affected_count == count
            assert _is_read(channel, person)
            undoing = keys.RollBackRotation(pb.RollBackRotationRequest(name=planned.name))
            _is_half_done(keys, undoing)
        process.kill()
    with served(environment) as (address, _), connect(address, token=token) as channel:
        keys = key_service_pb2_grpc.KeyServiceStub(channel)
        undone = _until(keys, undoing.name, 1, key_pb2.KEY_ROTATION_STATUS_COMPLETED)
        assert undone.affected_count == undoing.planned_count == planned.planned_count
        found = keys.GetRotation(pb.GetRotationRequest(name=planned.name))
        assert found.status == key_pb2.KEY_ROTATION_STATUS_ROLLED_BACK
        assert _is_read(channel, person)
