"""Services that drain, as processes of their own behind a gateway."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from mesh.server.settings import ServerSettings
from secmesh.inventory.v1 import sync_pb2
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.mesh.gateway_fixtures import Gateway, process

PATIENCE_SECONDS = 40
GRACE_SECONDS = "10"
DRAIN_SECONDS = str(ServerSettings().drain_seconds)
"""As it is unless set: enough for the gateway to notice."""
_SYNC = sync_pb2.Sync(cloud_account_id="123456789012")


@dataclass(frozen=True)
class Replica:
    """One process."""

    address: str
    child: subprocess.Popen[str]
    log: Path

    def served(self) -> int:
        """Count the calls that it has served."""
        return self.log.read_text().count('"message":"call"')

    def send(self, number: signal.Signals) -> None:
        self.child.send_signal(number)


@contextlib.contextmanager
def replica(folder: Path, name: str) -> Iterator[Replica]:
    """Run a server whose GetRecord takes the seconds that the record's id says."""
    command = (sys.executable, "-m", "tests.service.server_process", str(folder / "keys"))
    log = folder / f"{name}.log"
    with process([*command, "127.0.0.1:0", GRACE_SECONDS, DRAIN_SECONDS], log) as child:
        assert child.stdout is not None
        word, _, rest = child.stdout.readline().partition(" ")
        assert word == "LISTENING", log.read_text()
        try:
            yield Replica(json.loads(rest)["address"], child, log)
        finally:
            child.send_signal(signal.SIGCONT)


def record(seconds: float) -> GetRecordRequest:
    return GetRecordRequest(name=f"tenants/acme/iam_users/{seconds}")


@dataclass
class Load:
    """Callers that never pause, each reading and writing in turn."""

    gateway: Gateway
    callers: int = 8
    stopped: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        async with grpc.aio.insecure_channel(self.gateway.address) as channel:
            await asyncio.gather(*(self._call(channel) for _ in range(self.callers)))

    async def until(self, reached: Callable[[], bool]) -> None:
        """Go on until this is so; TimeoutError when it takes too long."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reached():
                await asyncio.sleep(0.05)

    async def _call(self, channel: grpc.aio.Channel) -> None:
        records: Any = RecordServiceStub(channel)
        syncs: Any = SyncServiceStub(channel)
        start = StartSyncRequest(parent="tenants/acme", sync=_SYNC)
        options = {"metadata": self.gateway.bearer(), "timeout": 20}
        while not self.stopped:
            await self._count(records.GetRecord(record(0.02), **options))
            # Not idempotent, so that nobody may repeat it blindly.
            await self._count(syncs.StartSync(start, **options))

    async def _count(self, call: Any) -> None:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.outcomes[f"{error.code().name}: {error.details()}"] += 1
        else:
            self.outcomes["OK"] += 1
