"""ContradictionService: what evidence turned against, over gRPC."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

from mesh.contract.names import tenant_of
from secmesh.inventory.v1 import contradiction_service_pb2 as api
from secmesh.inventory.v1 import contradiction_service_pb2_grpc
from secmesh.inventory.v1.contradiction_pb2 import Contradiction
from secmesh.records.v1.watch_pb2 import WatchBookmark
from services.inventory.alerts.contradiction_store import CONTRADICTIONS, ContradictionStore
from services.inventory.alerts.following import Following
from services.inventory.alerts.numbered_store import Choice

NEWEST_FIRST = "sequence desc"


class ContradictionServicer(contradiction_service_pb2_grpc.ContradictionServiceServicer):
    """Shows and follows contradictions."""

    def __init__(self, contradictions: ContradictionStore, draining: asyncio.Event) -> None:
        self._store = contradictions.store
        self._following = Following(contradictions, draining)

    async def GetContradiction(  # noqa: N802  # the contract's name
        self, request: api.GetContradictionRequest, _context: object
    ) -> Contradiction:
        return cast("Contradiction", await self._store.get(CONTRADICTIONS, request.name))

    async def ListContradictions(  # noqa: N802  # the contract's name
        self, request: api.ListContradictionsRequest, _context: object
    ) -> api.ListContradictionsResponse:
        page = await self._store.page(
            CONTRADICTIONS,
            request.parent,
            filter=request.filter,
            order_by=NEWEST_FIRST,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[Contradiction]", page.items)
        return api.ListContradictionsResponse(
            contradictions=found, next_page_token=page.next_page_token
        )

    async def WatchContradictions(  # noqa: N802  # the contract's name
        self, request: api.WatchContradictionsRequest, _context: object
    ) -> AsyncIterator[api.WatchContradictionsResponse]:
        """Send contradictions and bookmarks until the time is over, then how the stream ended."""
        tenant, choice = tenant_of(request.parent) or "", Choice(request.filter)
        async for event in self._following.watch(tenant, request.revision, choice):
            yield api.WatchContradictionsResponse(
                revision=str(event.place),
                contradiction=event.told,
                bookmark=WatchBookmark() if event.is_bookmark else None,
                ended=event.ended,
            )
