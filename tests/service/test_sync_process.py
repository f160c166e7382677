"""The inventory service as its own process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.inventory.v1 import sync_service_pb2_grpc
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest, WatchSyncRequest
from secmesh_client import connect
from services.inventory.__main__ import main
from services.inventory.settings import InventorySettings
from tests.inventory_store import on_postgresql, store_variables
from tests.service.collect_world import CATALOGUE, SAMPLE_ACCOUNT, TENANT

COMMAND = [sys.executable, "-m", "services.inventory"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "SECMESH_HOME": str(folder), **store_variables(folder), **more}


def test_the_process_serves_syncs_and_stops_in_order(aws: AwsEndpoint, tmp_path: Path) -> None:
    create_signing_key(tmp_path / "keys")
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [*COMMAND, "serve"],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment(
            tmp_path, AWS_ENDPOINT_URL=aws.url, SECMESH_INVENTORY_ACCOUNTS=f"acme={SAMPLE_ACCOUNT}"
        ),
    )
    try:
        assert process.stdout is not None
        word, _, rest = process.stdout.readline().partition(" ")
        assert word == "LISTENING"
        address = json.loads(rest)["address"]
        with grpc.insecure_channel(address) as plain:
            health: Any = health_pb2_grpc.HealthStub(plain)
            for service in CATALOGUE.services:
                answer = health.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        token = sign_token(tmp_path / "keys", subject="ann", tenant="acme", roles=["admin"])
        with connect(address, token=token) as channel:
            stub = sync_service_pb2_grpc.SyncServiceStub(channel)
            wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=["s3_account_settings"])
            sync = stub.StartSync(StartSyncRequest(parent=TENANT, sync=wanted))
            events = list(stub.WatchSync(WatchSyncRequest(name=sync.name)))
        assert events[-2].sync.state == Sync.STATE_SUCCEEDED
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        log.close()
    assert on_postgresql() or (tmp_path / "inventory.db").stat().st_mode & 0o077 == 0
    for line in (tmp_path / "log").read_text().splitlines():
        assert json.loads(line)["level"] == "INFO"


@pytest.mark.file_only("without a setting the service has a file in its home")
def test_the_schema_is_made_without_serving(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "migrate"], env=environment(tmp_path), timeout=50, check=False)
    assert done.returncode == 0
    assert (tmp_path / "inventory.db").exists()


@pytest.mark.parametrize("command", [[], ["serve"], ["migrate"]])
def test_help_lists_every_setting(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert InventorySettings.describe() in said
    for variable in ("DATABASE_URL", "AWS_ENDPOINT_URL", "SECMESH_INVENTORY_JWKS", "AWS_REGION"):
        assert f"  {variable} " in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SECMESH_INVENTORY_READS", "none"),
        ("SECMESH_INVENTORY_ROLE", "arn:aws:iam::1:role/x"),
        ("SECMESH_INVENTORY_PAGE_KEY", "short"),
        ("SECMESH_INVENTORY_ACCOUNTS", "acme:123456789012"),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv("SECMESH_HOME", str(tmp_path))
    monkeypatch.setenv(variable, value)
    assert main(["serve"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{variable}: ")
    assert value not in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SECMESH_INVENTORY_JWKS", "/nowhere/jwks.json"), ("DATABASE_URL", "oracle://x")],
)
def test_what_cannot_be_opened_ends_the_start(tmp_path: Path, variable: str, value: str) -> None:
    create_signing_key(tmp_path / "keys")
    done = subprocess.run(
        [*COMMAND, "serve"],
        env=environment(tmp_path, **{variable: value}),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_secrets_are_not_shown() -> None:
    settings = InventorySettings(page_key="0123456789abcdef", external_id="outer")
    assert "0123456789abcdef" not in repr(settings)
    assert "outer" not in repr(settings)
