"""The inventory and tenancy services at one address, as a gateway has them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from tests.service.lent_world import LentWorld


class Junction(grpc.GenericRpcHandler):
    """Hands each call on to the service that it is for, as a gateway does."""

    def __init__(self, inventory: str, tenancy: str) -> None:
        self._channels = {
            "secmesh.inventory": grpc.insecure_channel(inventory),
            "secmesh.tenancy": grpc.insecure_channel(tenancy),
        }

    def service(self, handler_call_details: Any) -> "grpc.RpcMethodHandler[bytes, bytes]":
        method = handler_call_details.method
        package = ".".join(method.lstrip("/").split(".")[:2])
        call: Any = self._channels[package].unary_unary(method)

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                made: bytes = call(request, metadata=context.invocation_metadata(), timeout=60)
            except grpc.RpcError as error:
                failed: Any = error
                context.set_trailing_metadata(failed.trailing_metadata())
                context.abort(failed.code(), failed.details())
            return made

        return grpc.unary_unary_rpc_method_handler(answer)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()


@contextmanager
def joined(world: LentWorld) -> Iterator[str]:
    """Serve both services at one address."""
    assert world.inventory is not None
    junction = Junction(world.inventory.address, world.tenancy.address)
    server = grpc.server(ThreadPoolExecutor(4), handlers=[junction])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        junction.close()
