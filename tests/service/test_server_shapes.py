"""Each interceptor acts on all four RPC shapes alike."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import refusal_of
from tests.service.server_fixtures import Running, running
from tests.service.server_shapes import SHAPES, ShapeServicer, call, shapes

ALL = pytest.mark.parametrize("shape", SHAPES)
STREAMED_UP = pytest.mark.parametrize("shape", [name for name, (up, _) in SHAPES.items() if up])
ALLOWED: dict[str, Any] = {"roles": (), "permissions": ("shapes.items.draw",)}


class World:
    """A running server of shapes and a channel to it."""

    def __init__(self, running: Running, servicer: ShapeServicer, channel: Any, item: Any) -> None:
        self.running, self.servicer, self.channel, self.item = running, servicer, channel, item

    async def refused(self, shape: str, *items: Any, **rest: Any) -> Any:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(self.channel, self.item, shape, *items, **rest)
        return refusal_of(caught.value)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    catalogue, item = shapes()
    servicer = ShapeServicer(item)
    async with (
        running(tmp_path, catalogue=catalogue, register=servicer.register) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield World(server, servicer, channel, item)


@ALL
async def test_a_permitted_call_reaches_the_handler(world: World, shape: str) -> None:
    item = world.item(name="tenants/acme/items/1")
    answers = await call(
        world.channel, world.item, shape, item, metadata=world.running.metadata(**ALLOWED)
    )
    assert world.servicer.seen == [item.name]
    expected = {"Down": [item, item], "Up": [world.item(name="1")]}.get(shape, [item])
    assert answers == expected


@ALL
async def test_without_a_token_no_handler_runs(world: World, shape: str) -> None:
    error = await world.refused(shape, world.item(name="tenants/acme/items/1"))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    assert world.servicer.seen == []


@ALL
async def test_without_the_permission_no_message_is_seen(world: World, shape: str) -> None:
    error = await world.refused(
        shape,
        world.item(name="tenants/acme/items/1", note="too long"),
        metadata=world.running.metadata(),
    )
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert error.metadata["permission"] == "shapes.items.draw"
    assert world.servicer.seen == []


@ALL
async def test_an_invalid_message_names_its_field(world: World, shape: str) -> None:
    error = await world.refused(
        shape,
        world.item(name="tenants/acme/items/1", note="too long"),
        metadata=world.running.metadata(**ALLOWED),
    )
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert error.message.startswith("note: ")
    assert world.servicer.seen == []


@STREAMED_UP
async def test_every_message_of_a_stream_is_checked(world: World, shape: str) -> None:
    good = world.item(name="tenants/acme/items/1")
    foreign = world.item(name="tenants/rival/items/2")
    error = await world.refused(
        shape, good, foreign, good, metadata=world.running.metadata(**ALLOWED)
    )
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert world.servicer.seen == [good.name]


@ALL
async def test_the_text_of_an_unknown_error_stays_inside(world: World, shape: str) -> None:
    error = await world.refused(
        shape,
        world.item(name="tenants/acme/items/1", note="boom"),
        metadata=world.running.metadata(("x-request-id", "r-1"), **ALLOWED),
    )
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert error.request_id == "r-1"
    assert "secret detail" not in str(error.status)
    assert "ValueError" not in str(error.status)


@ALL
async def test_the_request_id_is_echoed_with_the_answer(world: World, shape: str) -> None:
    up, down = SHAPES[shape]
    make = getattr(world.channel, f"{'stream' if up else 'unary'}_{'stream' if down else 'unary'}")
    method = make(
        f"/secmesh.shapes.v1.ShapeService/{shape}",
        world.item.SerializeToString,
        world.item.FromString,
    )
    item = world.item(name="tenants/acme/items/1")
    metadata = world.running.metadata(("x-request-id", "r-2"), **ALLOWED)
    started = method(iter([item]) if up else item, metadata=metadata)
    if down:  # in the headers, for streams may never end
        told = await started.initial_metadata()
        started.cancel()
    else:
        await started
        told = await started.trailing_metadata()
    assert told["x-request-id"] == "r-2"
