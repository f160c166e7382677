"""Tokens for a service's credential under asyncio, for one tenant after the other."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import grpc

from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client.refusal import CallRefused
from secmesh_client.service_token import (
    MAX_TENANTS,
    PASSING,
    RETRY_SECONDS,
    HeldToken,
    ServiceCredential,
    no_token,
)


class ServiceTokens:
    """Gives a token for each call; ``connect`` of asyncio takes it as ``token``.

    A call cannot wait for a token: ``ready`` is awaited before the first, and tokens are then
    fetched anew, in the background, before they end. One fetch of a tenant is under way at a
    time. Calls raise CallRefused (UNAVAILABLE) where there is no token.

    Args:
        channel: Leads to the tenancy service, without a token of its own.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        credential: ServiceCredential,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stub = TokenServiceStub(channel)
        self._credential = credential
        self._clock = clock
        self._tenant: ContextVar[str] = ContextVar("tenant", default="")
        self._held: OrderedDict[str, HeldToken] = OrderedDict()
        self._flights: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def acting_for(self, tenant: str) -> Iterator[None]:
        """Have calls of this task carry tokens that act for a tenant."""
        before = self._tenant.set(tenant)
        try:
            yield
        finally:
            self._tenant.reset(before)

    async def ready(self) -> None:
        """Wait until there is a token that is not about to end. CallRefused, OSError."""
        tenant = self._tenant.get()
        held = self._held.get(tenant)
        if held is None or self._clock() >= held.renew_at:
            await asyncio.shield(self._flight(tenant))

    def __call__(self) -> str:
        tenant, now = self._tenant.get(), self._clock()
        held = self._held.get(tenant)
        if held is None or now >= held.ends_at:
            self._flight(tenant)
            raise no_token()
        if now >= held.renew_at:
            self._flight(tenant)
        self._held.move_to_end(tenant)
        return held.text

    async def close(self) -> None:
        """End what is under way."""
        flights = list(self._flights.values())
        for each in flights:
            each.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _flight(self, tenant: str) -> "asyncio.Task[None]":
        flight = self._flights.get(tenant)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._fetch(tenant))
            self._flights[tenant] = flight
            flight.add_done_callback(lambda done: self._landed(tenant, done))
        return flight

    def _landed(self, tenant: str, flight: "asyncio.Task[None]") -> None:
        del self._flights[tenant]
        if not flight.cancelled():
            # Seen here, too: all who waited may be gone.
            flight.exception()

    async def _fetch(self, tenant: str) -> None:
        asked_at = self._clock()
        try:
            request = await asyncio.to_thread(self._credential.request, tenant)
            answer = await self._stub.IssueToken(request)
        except CallRefused as refused:
            held = self._held.get(tenant)
            # Refused is refused: a credential that was revoked must not seem to go on.
            if refused.code not in PASSING:
                self._held.pop(tenant, None)
            if held is None or asked_at >= held.ends_at or refused.code not in PASSING:
                raise
            later = min(asked_at + RETRY_SECONDS, held.ends_at)
            self._held[tenant] = HeldToken(held.text, later, held.ends_at)
            return
        self._held[tenant] = HeldToken.of(answer, asked_at)
        if len(self._held) > MAX_TENANTS:
            self._held.popitem(last=False)
