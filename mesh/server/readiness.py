"""Health of a server (grpc.health.v1), kept by asking whether the service is ready."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from grpc_health.v1 import health, health_pb2

from mesh.server.log import failure

_LOG = logging.getLogger(__name__)

Ready = Callable[[], Awaitable[bool]]
PATIENCE = 3
"""Checks in a row that may end without an answer: in a busy process every answer is late."""


class Readiness:
    """Sets the health of every service name, and of "", to what ``ready`` says."""

    def __init__(
        self,
        services: Iterable[str],
        ready: Ready,
        interval_seconds: float,
        tell: Callable[[bool], None],
    ) -> None:
        self.servicer = health.aio.HealthServicer()
        self._names = ("", *services)
        self._ready = ready
        self._interval = interval_seconds
        self._serving: bool | None = None
        self._tell = tell
        self._late = 0
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask once, then again in the background."""
        await self._check()
        self._loop = asyncio.create_task(self._keep(), name="readiness")

    async def stop(self) -> None:
        """Say NOT_SERVING from now on, whatever the service says."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        self._tell(False)
        await self.servicer.enter_graceful_shutdown()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._check()

    async def _check(self) -> None:
        serving = await self._ask()
        if serving == self._serving:
            return
        self._serving = serving
        self._tell(serving)
        _LOG.log(logging.INFO if serving else logging.WARNING, "ready" if serving else "not ready")
        answer = health_pb2.HealthCheckResponse
        status = answer.SERVING if serving else answer.NOT_SERVING
        for name in self._names:
            await self.servicer.set(name, status)

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(self._interval) as limit:
                ready = await self._ready()
        except Exception as error:  # noqa: BLE001 - any failure means not ready
            _LOG.warning("readiness check failed", extra={"fields": {"error": failure(error)}})
            self._late = self._late + 1 if limit.expired() else 0
            # A dependency that goes on hanging is not ready either.
            return bool(self._serving) and 0 < self._late < PATIENCE
        self._late = 0
        return ready
