"""The crypto service as its operator runs it: migrated, checked, served, killed, served again."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from mesh.embedded.postgres import Access
from mesh.identity.keys import create_signing_key, sign_token
from mesh.server.deployable import CommandFailed
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import config_service_pb2_grpc, user_service_pb2_grpc
from secmesh.crypto.v1 import user_service_pb2 as pb
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import connect
from services.crypto.assembly import open_custody
from services.crypto.keys_command import CREATE_KEYS
from services.crypto.settings import CryptoSettings
from tests.databases import empty_crypto_database

TENANT = "tenants/acme"
SSN = "078-05-1120"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    create_signing_key(tmp_path / "keys")
    with empty_crypto_database() as access:
        yield _environment(access, tmp_path)


def _environment(access: Access, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "DATABASE_URL": access.application,
        "DATABASE_MIGRATE_URL": access.owner,
        "SECMESH_HOME": str(home),
    }


def run(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services.crypto", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def served(environment: dict[str, str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    # A pipe that nobody reads would stop the service once it is full.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.crypto", "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        word, _, rest = process.stdout.readline().partition(" ")
        try:
            assert word == "LISTENING", _whole(log)
            yield json.loads(rest)["address"], process
        finally:
            process.terminate()
            process.communicate()
            assert SSN not in _whole(log)


def _whole(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def test_what_was_stored_is_read_by_the_process_after_one_that_was_killed(
    environment: dict[str, str],
) -> None:
    made = run(environment, "migrate", "--output", "json")
    assert json.loads(made.stdout)["versions"][0]["revision"] == "0001"
    checked = run(environment, "check", "--output", "json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    names = {each["name"] for each in json.loads(checked.stdout)}
    assert names >= {"tables", "indexes", "views", "triggers", "extensions", "configuration"}
    assert "erasures" in names
    token = sign_token(
        Path(environment["SECMESH_HOME"]) / "keys", subject="ann", tenant="acme", roles=["admin"]
    )
    with served(environment) as (address, process):
        with connect(address, token=token) as channel:
            name = _store(channel)
        process.kill()
    with served(environment) as (address, _), connect(address, token=token) as channel:
        users = user_service_pb2_grpc.UserServiceStub(channel)
        asked = pb.GetUserRequest(name=name, unmask=["ssn"], purpose="billing")
        assert users.GetUser(asked).ssn == SSN


async def test_files_of_keys_are_made_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = CryptoSettings(SECMESH_HOME=tmp_path)
    await CREATE_KEYS.run(settings, argparse.Namespace(next_app_key=False))
    assert capsys.readouterr().out.count("made ") == 2
    before = settings.app_key_file.read_bytes()
    await CREATE_KEYS.run(settings, argparse.Namespace(next_app_key=False))
    assert capsys.readouterr().out.count("kept ") == 2
    assert settings.app_key_file.read_bytes() == before
    assert settings.audit_key_file.stat().st_mode & 0o777 == 0o600


async def test_files_of_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    settings = CryptoSettings(SECMESH_HOME=tmp_path, environment="production")
    with pytest.raises(CommandFailed, match="tier 3 needs two parties"):
        await open_custody(settings)
    (tmp_path / "keys" / "app.keys").write_text("v1 enabled none\n")
    with pytest.raises(CommandFailed, match=r"app\.keys: line 1"):
        await open_custody(settings)


def _store(channel: Any) -> str:
    purpose = config.Purpose(fields=["ssn"])
    config_service_pb2_grpc.ConfigServiceStub(channel).CreatePurpose(
        config.CreatePurposeRequest(parent=TENANT, purpose=purpose, purpose_id="billing")
    )
    users = user_service_pb2_grpc.UserServiceStub(channel)
    made = users.CreateUser(pb.CreateUserRequest(parent=TENANT, user=User(ssn=SSN)))
    return str(made.name)
