"""The audit as its operator sees it: kept through a kill, verified by commands, tampered with."""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from mesh.embedded.postgres import OWNER, SUPERUSER, Access
from mesh.identity.keys import create_signing_key, sign_token
from mesh.server.deployable import Command, CommandFailed
from mesh.sql.engine import open_engine
from secmesh.crypto.v1 import audit_service_pb2 as pb
from secmesh.crypto.v1.audit_service_pb2_grpc import AuditServiceStub
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2 import CreateUserRequest
from secmesh.crypto.v1.user_service_pb2_grpc import UserServiceStub
from secmesh_client import connect
from services.crypto.audit import __main__ as verifier
from services.crypto.audit_command import AUDIT_COMMANDS
from services.crypto.audit_upkeep import open_audit_keys, open_writer, upkeep_of
from services.crypto.settings import CryptoSettings
from tests.databases import crypto_database
from tests.service.crypto_audit_store import told
from tests.service.test_crypto_process import served

_PATIENCE = 20
_COMMANDS: dict[str, Command[CryptoSettings]] = {each.name: each for each in AUDIT_COMMANDS}


@pytest.fixture
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
def settings(access: Access, tmp_path: Path) -> CryptoSettings:
    return CryptoSettings(
        DATABASE_URL=access.application,
        DATABASE_MIGRATE_URL=access.owner,
        SECMESH_HOME=tmp_path,
        audit_anchor_folder=tmp_path / "anchors",
    )


async def _run(settings: CryptoSettings, name: str, **arguments: object) -> None:
    await _COMMANDS[name].run(settings, argparse.Namespace(output="text", **arguments))


async def _fill(settings: CryptoSettings) -> None:
    """Record entries of one process and do once what the audit does by itself."""
    keys = open_audit_keys(settings)
    application, owner = open_engine(settings.database), open_engine(settings.owner_database)
    writer = open_writer(keys, application)
    writer.start()
    await writer.record([told()] * 10)
    await writer.close()
    for work in upkeep_of(settings, keys, owner):
        await work.look()
    await application.dispose()
    await owner.dispose()


def _tamper(access: Access) -> None:
    with psycopg.connect(access.owner.replace(f"{OWNER}@", f"{SUPERUSER}@")) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE encryption_audit SET principal = 'bob' WHERE seq = 2")


async def test_what_was_exported_is_verified_without_the_service(
    settings: CryptoSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _fill(settings)
    folder = tmp_path / "bundle"
    await _run(settings, "export-audit", folder=folder)
    with pytest.raises(CommandFailed, match="is not empty"):
        await _run(settings, "export-audit", folder=folder)
    capsys.readouterr()
    await _run(settings, "audit-keys")
    keys = [f"--key={key}" for key in capsys.readouterr().out.split()]
    anchors = str(tmp_path / "anchors" / "checkpoints")
    command = ["verify", str(folder), *keys, "--anchors", anchors, "--output", "json"]
    assert verifier.main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["whole"], report["verified"], report["anchors"]) == (True, 12, 1)


async def test_tampering_ends_the_command_with_what_was_done(
    settings: CryptoSettings, access: Access, capsys: pytest.CaptureFixture[str]
) -> None:
    await _fill(settings)
    await _run(settings, "verify-audit")
    assert capsys.readouterr().out.startswith("WHOLE; 12 entries verified, 0 not sealed yet")
    _tamper(access)
    with pytest.raises(CommandFailed, match="tampered with"):
        await _run(settings, "verify-audit")
    assert "entry_changed: " in capsys.readouterr().out


async def test_without_the_owner_nothing_is_sealed_or_verified(
    settings: CryptoSettings, caplog: pytest.LogCaptureFixture
) -> None:
    alone = settings.model_copy(update={"database_migrate_url": ""})
    with pytest.raises(CommandFailed, match="DATABASE_MIGRATE_URL is not set"):
        await _run(alone, "verify-audit")
    assert upkeep_of(alone, open_audit_keys(alone), None) == ()
    assert "another process must seal" in caplog.text


async def test_keys_that_are_not_all_there_are_named(settings: CryptoSettings) -> None:
    open_audit_keys(settings)
    lines = settings.audit_key_file.read_text().splitlines(keepends=True)
    for key_id in ("sealer", "writer", "subject-"):
        kept = [line for line in lines if not line.startswith(key_id)]
        settings.audit_key_file.write_text("".join(kept))
        with pytest.raises(CommandFailed, match=f"holds no key {key_id}"):
            open_audit_keys(settings)


async def test_a_process_that_was_killed_leaves_a_whole_audit(
    settings: CryptoSettings, access: Access, capsys: pytest.CaptureFixture[str]
) -> None:
    create_signing_key(settings.home / "keys")
    token = sign_token(settings.home / "keys", subject="ann", tenant="acme", roles=["admin"])
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "DATABASE_URL": access.application,
        "DATABASE_MIGRATE_URL": access.owner,
        "SECMESH_HOME": str(settings.home),
    }
    with served(environment) as (address, process):
        with connect(address, token=token) as channel:
            request = CreateUserRequest(parent="tenants/acme", user=User(ssn="078-05-1120"))
            UserServiceStub(channel).CreateUser(request)
            audit = AuditServiceStub(channel)
            asked = pb.ListAuditEntriesRequest(parent="tenants/acme")
            # The entry of the call, and that of the trigger, which the checkpointer makes.
            words = ("AUDIT_OPERATION_CREATE", "AUDIT_OPERATION_WRITE_ROW")
            _until(lambda: all(word in str(audit.ListAuditEntries(asked)) for word in words))
        process.kill()
    await _run(settings, "verify-audit")
    assert capsys.readouterr().out.startswith("WHOLE; ")


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)
