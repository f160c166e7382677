"""A contract of all four RPC shapes, made at run time: no contract of the project has them all."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.api import annotations_pb2, resource_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from buf.validate import validate_pb2
from mesh.contract.catalogue import Catalogue, build_catalogue
from secmesh.options.v1 import method_pb2

_PACKAGE = "secmesh.shapes.v1"
_FILE = "secmesh/shapes/v1/shapes.proto"
SERVICE = f"{_PACKAGE}.ShapeService"
SHAPES = {
    "One": (False, False),
    "Down": (False, True),
    "Up": (True, False),
    "Both": (True, True),
    "BothByHand": (True, True),
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto3")
    file.dependency.extend(
        each.DESCRIPTOR.name for each in (validate_pb2, annotations_pb2, resource_pb2, method_pb2)
    )
    message = file.message_type.add(name="Item")
    text = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    name = message.field.add(name="name", number=1, type=text, label=1)
    name.options.Extensions[resource_pb2.resource_reference].type = "*"
    note = message.field.add(name="note", number=2, type=text, label=1)
    note.options.Extensions[validate_pb2.field].string.max_len = 5
    service = file.service.add(name="ShapeService")
    for shape, (up, down) in SHAPES.items():
        method = service.method.add(
            name=shape,
            input_type=f".{_PACKAGE}.Item",
            output_type=f".{_PACKAGE}.Item",
            client_streaming=up,
            server_streaming=down,
        )
        method.options.Extensions[method_pb2.method].permission = "shapes.items.draw"
        method.options.Extensions[annotations_pb2.http].get = f"/shapes/v1/{shape}"
    return file


def _descriptor() -> Any:
    pool = descriptor_pool.Default()
    try:
        return pool.FindFileByName(_FILE)
    except KeyError:
        return pool.AddSerializedFile(_file().SerializeToString()) or pool.FindFileByName(_FILE)


def shapes() -> tuple[Catalogue, Any]:
    """Give the catalogue of the contract and its message class."""
    file = _descriptor()
    item = message_factory.GetMessageClass(file.message_types_by_name["Item"])
    return build_catalogue(_PACKAGE, [file]), item


class ShapeServicer:
    """Echoes items, and notes the names that its handlers saw."""

    def __init__(self, item: Any) -> None:
        self.seen: list[str] = []
        self._item = item

    def _note(self, item: Any) -> None:
        self.seen.append(item.name)
        if item.note == "boom":
            raise ValueError("secret detail")

    async def one(self, request: Any, _context: Any) -> Any:
        self._note(request)
        return request

    async def down(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        yield request
        self._note(request)
        yield request

    async def up(self, requests: AsyncIterator[Any], _context: Any) -> Any:
        async for each in requests:
            self._note(each)
        return self._item(name=str(len(self.seen)))

    async def both(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        async for each in requests:
            self._note(each)
            yield each

    async def both_by_hand(self, _requests: Any, context: Any) -> None:
        while (each := await context.read()) is not grpc.aio.EOF:
            self._note(each)
            await context.write(each)

    def register(self, server: grpc.aio.Server) -> None:
        coders = (self._item.FromString, self._item.SerializeToString)
        handlers = {
            "One": grpc.unary_unary_rpc_method_handler(self.one, *coders),
            "Down": grpc.unary_stream_rpc_method_handler(self.down, *coders),
            "Up": grpc.stream_unary_rpc_method_handler(self.up, *coders),
            "Both": grpc.stream_stream_rpc_method_handler(self.both, *coders),
            "BothByHand": grpc.stream_stream_rpc_method_handler(self.both_by_hand, *coders),
        }
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        server.add_generic_rpc_handlers((generic,))


async def call(
    channel: grpc.aio.Channel, item: Any, shape: str, *items: Any, **rest: Any
) -> list[Any]:
    """Call one shape and give all responses."""
    up, down = SHAPES[shape]
    make = getattr(channel, f"{'stream' if up else 'unary'}_{'stream' if down else 'unary'}")
    started = make(f"/{SERVICE}/{shape}", item.SerializeToString, item.FromString)(
        iter(items) if up else items[0], **rest
    )
    return [each async for each in started] if down else [await started]
