"""Channelz on a port of its own: the connections and calls that gRPC itself sees."""

import grpc
from grpc_channelz.v1 import channelz


async def start_channelz(address: str) -> tuple[grpc.aio.Server, int]:
    """Serve ``grpc.channelz.v1.Channelz`` without a token; give the server and its port.

    Raises RuntimeError if the address cannot be had.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    channelz.add_channelz_servicer(server)
    port = server.add_insecure_port(address)
    await server.start()
    return server, port
