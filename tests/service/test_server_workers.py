"""The inventory service by several workers on one port, on one SQLite file."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mesh.client import CallRefused, open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.inventory.v1 import (
    record_service_pb2_grpc,
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from tests.inventory_store import store_variables
from tests.service.collect_world import ROLE, SAMPLE_ACCOUNT, TENANT
from tests.service.server_fixtures import PACKAGE

COMMAND = [sys.executable, "-m", "services.inventory", "serve"]


@dataclass
class Service:
    process: subprocess.Popen[str]
    said: dict[str, Any]
    folder: Path

    def channel(self) -> Any:
        token = sign_token(self.folder / "keys", subject="ann", tenant="acme", roles=["admin"])
        return open_channel(self.said["address"], package=PACKAGE, token=token)

    @property
    def pids(self) -> list[int]:
        return [int(worker["pid"]) for worker in self.said["workers"]]


def start(folder: Path, **settings: str) -> subprocess.Popen[str]:
    create_signing_key(folder / "keys")
    store = store_variables(folder)
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            COMMAND,
            env={**os.environ, "SECMESH_HOME": str(folder), **store, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


@contextlib.contextmanager
def service(folder: Path, **settings: str) -> Iterator[Service]:
    process = start(folder, SECMESH_INVENTORY_WORKERS="2", **settings)
    assert process.stdout is not None
    try:
        word, _, rest = process.stdout.readline().partition(" ")
        assert word == "LISTENING", (folder / "log").read_text()
        yield Service(process, json.loads(rest), folder)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of two workers that tests look at and leave as it is."""
    with service(tmp_path_factory.mktemp("undisturbed")) as running:
        yield running


def gone(pid: int, seconds: float = 60) -> bool:
    """Wait for the end of a process that is no child of ours."""
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z":
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


async def test_two_workers_write_one_file_and_share_page_tokens(
    aws: AwsEndpoint, tmp_path: Path
) -> None:
    settings = {
        "AWS_ENDPOINT_URL": aws.url,
        "SECMESH_INVENTORY_ACCOUNTS": "acme=*",
        "SECMESH_INVENTORY_ROLE": ROLE,
    }
    with service(tmp_path, **settings) as running:
        accounts = [SAMPLE_ACCOUNT, "210987654321", "310987654321"]
        ended = await asyncio.gather(*(_sync(running, each) for each in accounts * 3))
        # Each run collects an account alone, whichever worker was asked for it.
        assert ended.count("SYNC_RUNNING") == 6
        assert {each for each in ended if each != "SYNC_RUNNING"} <= {"SUCCEEDED", "PARTIAL"}
        names, token = set(), ""
        for _ in range(50):
            async with running.channel() as channel:
                records: Any = record_service_pb2_grpc.RecordServiceStub(channel)
                page = await records.ListRecords(_page(token))
            names |= {record.name for record in page.records}
            token = page.next_page_token
            if not token:
                break
        assert not token
        assert len(names) > 3


async def _sync(running: Service, account: str) -> str:
    """Collect over a connection of its own, which either worker may get; tell how it ended."""
    async with running.channel() as channel:
        stub: Any = sync_service_pb2_grpc.SyncServiceStub(channel)
        wanted = sync_pb2.Sync(cloud_account_id=account, collections=["s3_buckets", "iam_users"])
        request = sync_service_pb2.StartSyncRequest(parent=TENANT, sync=wanted)
        try:
            made = await stub.StartSync(request)
        except CallRefused as refused:
            return refused.reason
        while made.state == sync_pb2.Sync.STATE_RUNNING:
            await asyncio.sleep(0.2)
            made = await stub.GetSync(sync_service_pb2.GetSyncRequest(name=made.name))
    return str(sync_pb2.Sync.State.Name(made.state).removeprefix("STATE_"))


def _page(token: str) -> Any:
    return ListRecordsRequest(parent=f"{TENANT}/s3_buckets", page_size=1, page_token=token)


def test_each_worker_has_its_own_metrics(undisturbed: Service) -> None:
    admins = {worker["admin"] for worker in undisturbed.said["workers"]}
    assert len(admins) == 2
    for admin in admins:
        assert httpx.get(f"http://{admin}/readyz", trust_env=False).status_code == 200


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        first, other = running.pids
        os.kill(first, signal.SIGKILL)
        until = time.monotonic() + 60
        # Looked for behind its death: what it wrote last may be lost with it.
        while "listening" not in (tmp_path / "log").read_text().partition("worker died")[2]:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert Path(f"/proc/{other}").exists()
        died = [line for line in (tmp_path / "log").read_text().splitlines() if "died" in line]
        assert [json.loads(line)["code"] for line in died] == [-signal.SIGKILL]


def test_a_signal_drains_all(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert all(gone(pid) for pid in running.pids)
        assert (tmp_path / "log").read_text().count('"message":"stopped"') == 2
        assert running.process.stdout is not None
        assert running.process.stdout.read() == ""


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.process.kill()
        assert all(gone(pid) for pid in running.pids)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_service_on_the_port_is_refused(
    undisturbed: Service, tmp_path: Path, workers: str
) -> None:
    address = undisturbed.said["address"]
    settings = {"SECMESH_INVENTORY_LISTEN": address, "SECMESH_INVENTORY_WORKERS": workers}
    process = start(tmp_path, **settings)
    out, _ = process.communicate(timeout=150)
    assert (process.returncode, out) == (1, "")
    said = (tmp_path / "log").read_text()
    assert f"cannot listen on {address}: the address is in use or not ours" in said


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"DATABASE_URL": "sqlite://"}, "a scratch database is of one process"),
        ({"SECMESH_INVENTORY_TLS_KEY": "absent.pem"}, "worker 0 ended with code 1"),
    ],
)
def test_what_workers_cannot_have_is_told(
    tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    process = start(tmp_path, SECMESH_INVENTORY_WORKERS="2", **settings)
    out, _ = process.communicate(timeout=150)
    assert (process.returncode, out) == (1, "")
    said = (tmp_path / "log").read_text()
    assert problem in said or problem.replace("worker 0", "worker 1") in said
