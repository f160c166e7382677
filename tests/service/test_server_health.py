"""Health, readiness and reflection: what answers without a token."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pydantic import ValidationError

from mesh.contract.catalogue import load_catalogue
from mesh.server.settings import ServerSettings
from tests.service.server_fixtures import PACKAGE, running

Status = health_pb2.HealthCheckResponse


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status)


class Store:
    """What the service depends on."""

    def __init__(self) -> None:
        self.behaviour = "answers"

    async def ready(self) -> bool:
        if self.behaviour == "fails":
            raise ConnectionError("postgresql://user:secret@host/db")
        if self.behaviour == "hangs":
            await asyncio.sleep(30)
        return self.behaviour == "answers"


@pytest.mark.parametrize("behaviour", ["says no", "fails", "hangs"])
async def test_health_follows_readiness(
    tmp_path: Path, behaviour: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    names = ("", *load_catalogue(PACKAGE).services)
    async with (
        running(tmp_path, ready=store.ready, readiness_seconds=0.05) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        assert [await health_of(channel, name) for name in names] == [Status.SERVING] * len(names)
        for store.behaviour, wanted in (
            (behaviour, Status.NOT_SERVING),
            ("answers", Status.SERVING),
        ):
            async with asyncio.timeout(60):
                while {await health_of(channel, name) for name in names} != {wanted}:
                    await asyncio.sleep(0.05)
    assert "secret" not in caplog.text


async def test_one_late_answer_does_not_end_the_service(tmp_path: Path) -> None:
    asked = 0

    async def ready() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            await asyncio.sleep(30)
        return True

    async with (
        running(tmp_path, ready=ready, readiness_seconds=0.05) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        seen = set()
        while asked < 6:
            seen.add(await health_of(channel, ""))
            await asyncio.sleep(0.01)
    assert seen == {Status.SERVING}


async def test_health_of_an_unknown_service_is_not_found(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_of(channel, "no.such.Service")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_health_is_watched_until_the_drain(tmp_path: Path) -> None:
    disposed = asyncio.Event()

    async def dispose() -> None:
        disposed.set()

    async with (
        running(tmp_path, drain_seconds=0.1, dispose=dispose) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = aiter(stub.Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(watch)).status == Status.SERVING
        stopping = asyncio.create_task(server.server.stop(0.3))
        assert (await anext(watch)).status == Status.NOT_SERVING
        assert server.server.draining.is_set()
        await stopping
        assert disposed.is_set()


async def listed(address: str) -> list[str]:
    async with grpc.aio.insecure_channel(address) as channel:
        plain: Any = channel  # its stub's type knows sync channels only
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(plain)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [each async for each in stub.ServerReflectionInfo(iter([request]))]
    return [each.name for each in answers[0].list_services_response.service]


async def test_reflection_answers_on_loopback(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert set(load_catalogue(PACKAGE).services) <= set(await listed(server.address))


async def test_reflection_can_be_turned_off(tmp_path: Path) -> None:
    async with running(tmp_path, reflection=False) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await listed(server.address)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("listen", "reflection", "served"),
    [
        ("127.0.0.1:0", None, True),
        ("[::1]:50051", None, True),
        ("localhost:50051", None, True),
        ("0.0.0.0:50051", None, False),
        ("[::]:50051", None, False),
        ("10.0.0.7:50051", None, False),
        ("0.0.0.0:50051", True, True),
        ("127.0.0.1:0", False, False),
    ],
)
def test_reflection_is_off_where_others_reach_it(
    listen: str, reflection: bool | None, served: bool
) -> None:
    assert ServerSettings(listen=listen, reflection=reflection).serves_reflection is served


@pytest.mark.parametrize("listen", ["", "50051", ":50051", "host:", "host:port", "host:70000"])
def test_an_ill_formed_address_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError, match="host:port"):
        ServerSettings(listen=listen)
