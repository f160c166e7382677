"""An erasure whose process is killed by the kernel, ended by the process after it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mesh.identity.keys import create_signing_key, sign_token
from secmesh.crypto.v1 import audit_service_pb2 as audit
from secmesh.crypto.v1 import audit_service_pb2_grpc, user_service_pb2_grpc
from secmesh.crypto.v1 import erasure_pb2 as pb
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.audit_pb2 import AUDIT_OPERATION_ERASE
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import CallRefused, connect
from tests.databases import empty_crypto_database
from tests.service.test_crypto_process import _environment, served

TENANT = "tenants/acme"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    create_signing_key(tmp_path / "keys")
    with empty_crypto_database() as access:
        yield _environment(access, tmp_path)


def _until(stub: Any, name: str, state: "pb.ErasureState.ValueType") -> pb.Erasure:
    """Wait until the erasure of a person is so far; there is one."""
    deadline = time.monotonic() + 40
    asked = pb.ListErasuresRequest(parent=TENANT, user_id=name.rpartition("/")[2])
    while time.monotonic() < deadline:
        found = stub.ListErasures(asked).erasures
        if found and found[0].state == state:
            (erasure,) = found
            return pb.Erasure.FromString(erasure.SerializeToString())
        time.sleep(0.05)
    raise AssertionError(found)


def test_the_next_process_ends_the_erasure_that_a_killed_one_began(
    environment: dict[str, str],
) -> None:
    home, owner = Path(environment["SECMESH_HOME"]), environment["DATABASE_MIGRATE_URL"]
    token = sign_token(home / "keys", subject="ann", tenant="acme", roles=["admin"])
    with ThreadPoolExecutor(1) as calls:
        with served(environment) as (address, process), connect(address, token=token) as channel:
            stub = user_service_pb2_grpc.UserServiceStub(channel)
            made = stub.CreateUser(
                users.CreateUserRequest(parent=TENANT, user=User(ssn="078-05-1120"))
            )
            with psycopg.connect(owner) as held:
                # The erasure is ordered, and in the middle of its work waits for the row.
                held.execute("SELECT * FROM users FOR UPDATE")
                asked = pb.EraseUserRequest(
                    name=made.name, confirm_user_id=made.name.rpartition("/")[2]
                )
                erasing = calls.submit(stub.EraseUser, asked)
                ordered = _until(stub, made.name, pb.ERASURE_STATE_ORDERED)
                process.kill()
                assert isinstance(erasing.exception(timeout=40), CallRefused)
        with psycopg.connect(owner) as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
            # The killed process's lease ends.
            connection.execute("UPDATE erasure_work SET due_at = now()")
    with served(environment) as (address, _), connect(address, token=token) as channel:
        stub = user_service_pb2_grpc.UserServiceStub(channel)
        done = _until(stub, made.name, pb.ERASURE_STATE_CERTIFIED)
        assert (done.name, list(done.key_versions)) == (ordered.name, [1])
        with pytest.raises(CallRefused, match="RESOURCE_NOT_FOUND"):
            stub.GetUser(users.GetUserRequest(name=made.name))
        selected = audit.AuditSelection(operation=AUDIT_OPERATION_ERASE)
        listing = audit.ListAuditEntriesRequest(parent=TENANT, selection=selected)
        log = audit_service_pb2_grpc.AuditServiceStub(channel)
        (entry,) = log.ListAuditEntries(listing).audit_entries
        assert (entry.success, entry.subject, entry.principal) == (True, done.subject, "ann")
    kept = list((home / "crypto-erasures" / "erasures").iterdir())
    assert [each.read_text() for each in kept] == [done.certificate]
