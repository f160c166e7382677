"""Channels from one service to another."""

import grpc

from mesh.client.outgoing import Outgoing
from secmesh_client.aio.channel import over, plain_channel
from secmesh_client.outgoing import Token
from secmesh_client.service_config import MIB
from secmesh_client.target import require_safe_target


def open_channel(
    target: str,
    *,
    package: str,
    token: Token | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    allow_plaintext: bool = False,
    max_message_bytes: int = 16 * MIB,
) -> grpc.aio.Channel:
    """Open a channel to the services of a package; stubs over it raise CallRefused.

    It is secmesh_client's channel, and what is called while a call is served takes over its
    request id and the time it has left. ``credentials`` are those of TLS or mTLS.
    """
    require_safe_target(target, credentials, allow_plaintext=allow_plaintext)
    plain = plain_channel(target, credentials, package, max_message_bytes)
    return over(plain, Outgoing(package, token))
