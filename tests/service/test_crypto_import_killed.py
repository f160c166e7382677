"""An import goes on in another process after one that drained and one that was killed."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.identifiers import new_uuid
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.crypto.v1 import user_import_pb2, user_service_pb2_grpc
from secmesh.crypto.v1 import user_service_pb2 as pb
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import CallRefused, connect
from tests.databases import empty_crypto_database
from tests.service.test_crypto_process import TENANT, _environment, served

USERS = [
    user_import_pb2.ImportedUser(
        sequence=number, user=User(address="1 Main Street", last_name=f"N{number}")
    )
    for number in range(1, 41)
]
PART = 10


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    create_signing_key(tmp_path / "keys")
    with empty_crypto_database() as access:
        yield _environment(access, tmp_path)


class Import:
    """One import, sent to whichever process there is."""

    def __init__(self, home: Path) -> None:
        self.import_id = new_uuid()
        self._token = sign_token(home / "keys", subject="ann", tenant="acme", roles=["admin"])

    def stub(self, address: str) -> Any:
        return user_service_pb2_grpc.UserServiceStub(connect(address, token=self._token))

    def resume_after(self, address: str) -> int:
        name = f"{TENANT}/user_imports/{self.import_id}"
        asked = user_import_pb2.GetUserImportRequest(name=name)
        return int(self.stub(address).GetUserImport(asked).resume_after)

    def send(
        self, address: str, after: int, stop_after: int = 0, stop: Callable[[], None] = print
    ) -> Any:
        """Send what comes after a sequence; once so far is stored, end the process instead."""
        return self.stub(address).ImportUsers(self._parts(address, after, stop_after, stop))

    def _parts(
        self, address: str, after: int, stop_after: int, stop: Callable[[], None]
    ) -> Iterable[user_import_pb2.ImportUsersRequest]:
        for start in range(after, len(USERS), PART):
            yield user_import_pb2.ImportUsersRequest(
                parent=TENANT, import_id=self.import_id, users=USERS[start : start + PART]
            )
            if start + PART == stop_after:
                deadline = time.monotonic() + 40
                while self._stored(address) < stop_after and time.monotonic() < deadline:
                    time.sleep(0.02)
                stop()
                # The stream stays open: the process ends it.
                time.sleep(3)

    def _stored(self, address: str) -> int:
        try:
            return self.resume_after(address)
        except CallRefused:
            return 0  # nothing has come yet


def test_it_is_stored_once_through_three_processes(environment: dict[str, str]) -> None:
    sent = Import(Path(environment["SECMESH_HOME"]))
    with served(environment) as (first, draining), served(environment) as (second, killed):
        answer = sent.send(first, 0, 10, draining.terminate)
        assert (answer.resume, answer.user_import.resume_after) == (True, 10)
        with pytest.raises((CallRefused, grpc.RpcError)):
            sent.send(second, answer.user_import.resume_after, 30, killed.kill)
    with served(environment) as (third, _):
        after = sent.resume_after(third)
        assert after >= 30
        ended = sent.send(third, after)
        assert (ended.resume, ended.user_import.stored, ended.user_import.refused) == (False, 40, 0)
        listed = sent.stub(third).ListUsers(pb.ListUsersRequest(parent=TENANT, page_size=1000))
        names = sorted(each.user.last_name for each in USERS)
        assert sorted(each.last_name for each in listed.users) == names
