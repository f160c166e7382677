"""Whether the services behind the gateway can serve."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import grpc
from grpc_health.v1 import health_pb2

from gateway.envoy_clusters import replicas

CHECK_PATH = "/grpc.health.v1.Health/Check"
CHECK_SECONDS = 5.0
REMEMBER_SECONDS = 1.0
"""How long an answer is given again, so that strangers cannot multiply the checks."""
# A service that comes back is seen at once, not after gRPC's two minutes of patience.
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 1000))
UNREACHABLE = "UNREACHABLE"
SERVING = "SERVING"


class HealthProbe:
    """Asks each service by the gRPC health protocol.

    Args:
        services: Address by service name; those of replicas are joined by ``+``.
        credentials: Of TLS; without them services are asked in the clear.
    """

    def __init__(
        self, services: Mapping[str, str], credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        self._channels = {
            name: [_channel(address, credentials) for address in replicas(addresses)]
            for name, addresses in services.items()
        }
        self._known: dict[str, str] = {}
        self._known_until = 0.0
        self._lock = asyncio.Lock()

    async def statuses(self) -> Mapping[str, str]:
        """Give each service's status, ``SERVING`` if it can serve; at most 1 s old."""
        async with self._lock:
            if time.monotonic() >= self._known_until:
                answers = await asyncio.gather(*map(self._best, self._channels.values()))
                self._known = dict(zip(self._channels, answers, strict=True))
                self._known_until = time.monotonic() + REMEMBER_SECONDS
            return self._known

    async def close(self) -> None:
        for channels in self._channels.values():
            for channel in channels:
                await channel.close()

    async def _best(self, channels: Sequence[grpc.aio.Channel]) -> str:
        """Ask all replicas: one that serves is enough."""
        answers = await asyncio.gather(*map(self._ask, channels))
        return SERVING if SERVING in answers else answers[0]

    async def _ask(self, channel: grpc.aio.Channel) -> str:
        check = channel.unary_unary(
            CHECK_PATH,
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=CHECK_SECONDS)
        except grpc.aio.AioRpcError:
            return UNREACHABLE
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
