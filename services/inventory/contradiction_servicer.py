"""ContradictionService: what evidence turned against, over gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import cast

from mesh.cel.language import Environment
from mesh.contract.names import tenant_of
from mesh.errors import Refusal, RevisionGone, TenantInactive, WatchEnded
from mesh.records.watch_servicer import BOOKMARK_SECONDS, ending_of
from mesh.server.call import find_current_call
from mesh.sql.changes import Revision
from mesh.sql.wake import Wake
from secmesh.inventory.v1 import contradiction_service_pb2 as api
from secmesh.inventory.v1 import contradiction_service_pb2_grpc
from secmesh.inventory.v1.contradiction_pb2 import Contradiction
from secmesh.records.v1.watch_pb2 import WatchBookmark
from services.inventory.alerts.contradiction_store import CONTRADICTIONS, ContradictionStore

NEWEST_FIRST = "sequence desc"


class ContradictionServicer(contradiction_service_pb2_grpc.ContradictionServiceServicer):
    """Shows and follows contradictions; a watcher holds no connection while it waits or is slow.

    ``draining`` is set when the server begins to stop; streams then end in band.
    """

    def __init__(self, contradictions: ContradictionStore, draining: asyncio.Event) -> None:
        self._contradictions = contradictions
        self._store = contradictions.store
        self._wake = Wake(self._store.engine)
        self._draining = draining

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
        """Send contradictions and bookmarks until the time is over, then how the stream ended.

        RevisionGone, FilterInvalid or FieldInvalid before the first event; a tenant that is removed
        meanwhile, or a store that is restored, ends it in band.
        """
        call = find_current_call()
        tenant = tenant_of(request.parent) or ""
        if request.filter:
            kind = self._store.target(CONTRADICTIONS).kind
            Environment.of_kind(kind).compile(request.filter)
        if request.revision:
            place = Revision.parse(request.revision)
            await self._contradictions.after(tenant, place)
        else:
            place = await self._contradictions.present(tenant)
        yield api.WatchContradictionsResponse(revision=str(place), bookmark=WatchBookmark())
        try:
            async for event in self._following(tenant, place, request.filter, ending_of(call)):
                place = Revision.parse(event.revision)
                yield event
            end: Refusal = WatchEnded("the watch goes on from its last revision")
        except (RevisionGone, TenantInactive) as gone:
            end = gone
        status = end.status(call.request_id if call is not None else "")
        yield api.WatchContradictionsResponse(revision=str(place), ended=status)

    async def _following(
        self, tenant: str, place: Revision, filter_: str, ending: float
    ) -> AsyncIterator[api.WatchContradictionsResponse]:
        """Send what is found after a place, until the time is over."""
        spoke = time.monotonic()
        async with self._wake.watching():
            while not self._draining.is_set() and time.monotonic() < ending:
                news = self._wake.next()
                page = await self._contradictions.after(tenant, place, filter_)
                for each in page.contradictions:
                    revision = Revision(0, each.sequence, page.revision.epoch)
                    yield api.WatchContradictionsResponse(
                        revision=str(revision), contradiction=each
                    )
                    spoke = time.monotonic()
                place = page.revision
                if time.monotonic() - spoke >= BOOKMARK_SECONDS:
                    yield _bookmark(place)
                    spoke = time.monotonic()
                if not page.more:
                    await self._wake.sleep(news, ending - time.monotonic())
        # What was passed without an event needs not be read again.
        yield _bookmark(place)


def _bookmark(place: Revision) -> api.WatchContradictionsResponse:
    return api.WatchContradictionsResponse(revision=str(place), bookmark=WatchBookmark())
