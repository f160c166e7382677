"""An operator: runs commands and answers their calls over a fake channel."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import jwt
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from cli.app import app
from mesh.contract.image import package_files
from secmesh.inventory.v1 import (
    sync_pb2,
    sync_service_pb2,
)
from secmesh_client import over

SERVICES = {
    service.name: service
    for file in package_files("secmesh.inventory.v1")
    for service in file.services_by_name.values()
}


SECURITY = {
    service.name: service
    for file in package_files("secmesh.security.v1")
    for service in file.services_by_name.values()
}
TENANCY = {
    service.name: service
    for file in package_files("secmesh.tenancy.v1")
    for service in file.services_by_name.values()
}
TOKEN = jwt.encode({"tenant": "acme", "sub": "ann"}, "k" * 32)


SECONDS = 20


class Operator:
    """Runs the command in a thread and answers its calls over a fake channel."""

    def __init__(self, channel: Any, pool: ThreadPoolExecutor) -> None:
        self.channel = channel
        self.services = SERVICES
        """Whose methods are answered."""
        self._pool = pool

    def run(self, *arguments: str, typed: bytes = b"") -> Future[Result]:
        environment = {"SECMESH_ENDPOINT": "127.0.0.1:1", "SECMESH_TOKEN": TOKEN}
        return self._pool.submit(
            lambda: CliRunner().invoke(
                app, arguments, input=typed, env=environment, catch_exceptions=False
            )
        )

    def answer(
        self, service: str, method: str, answer: Message | status_pb2.Status | grpc.StatusCode
    ) -> Any:
        """Take the one call of a unary method, answer it, and give the request."""
        descriptor = self.services[service].methods_by_name[method]
        _, request, rpc = self.channel.take_unary_unary(descriptor)
        rpc.send_initial_metadata(())
        if isinstance(answer, status_pb2.Status):
            status: Any = rpc_status.to_status(answer)
            rpc.terminate(None, status.trailing_metadata, status.code, status.details)
        elif isinstance(answer, grpc.StatusCode):
            rpc.terminate(None, (), answer, "no route to host")
        else:
            rpc.terminate(answer, (), grpc.StatusCode.OK, "")
        return request

    def stream(self, service: str, method: str, *events: Message) -> Any:
        """Take the one call of a server stream, send events, and give the request."""
        descriptor = self.services[service].methods_by_name[method]
        _, request, rpc = self.channel.take_unary_stream(descriptor)
        rpc.send_initial_metadata(())
        for event in events:
            rpc.send_response(event)
        rpc.terminate((), grpc.StatusCode.OK, "")
        return request


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Operator]:
    channel = grpc_testing.channel(
        [*SERVICES.values(), *SECURITY.values(), *TENANCY.values()], grpc_testing.strict_real_time()
    )

    wrapped = over(channel)
    monkeypatch.setattr("cli.connection.connect", lambda *_, **__: wrapped)
    monkeypatch.setenv("SECMESH_HOME", str(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        yield Operator(channel, pool)


def sync_event(done: int, state: sync_pb2.Sync.State.ValueType) -> Message:
    progress = sync_pb2.SyncProgress(units=2, units_done=done, resources=7)
    run = sync_pb2.Sync(name="tenants/acme/syncs/s1", state=state, progress=progress)
    return sync_service_pb2.WatchSyncResponse(sync=run)


ENDED = sync_service_pb2.WatchSyncResponse(ended=status_pb2.Status(code=code_pb2.OK))
