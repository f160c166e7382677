"""SyncService: runs over gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from google.rpc import code_pb2, status_pb2

from secmesh.inventory.v1 import sync_service_pb2_grpc
from secmesh.inventory.v1.policy_pb2 import SuggestPolicyRequest, SuggestPolicyResponse
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from secmesh.inventory.v1.sync_service_pb2 import (
    CancelSyncRequest,
    GetSyncRequest,
    ListManifestEntriesRequest,
    ListManifestEntriesResponse,
    ListSyncsRequest,
    ListSyncsResponse,
    ResumeSyncRequest,
    StartSyncRequest,
    WatchSyncRequest,
    WatchSyncResponse,
)
from services.inventory.collect.runner import SyncRunner
from services.inventory.store import MANIFEST
from services.inventory.sync_store import SYNCS, SyncStore

WATCH_SECONDS = 0.5
"""Shortest time between two events of a watched run."""
CANCEL_SECONDS = 10.0
"""Longest that a canceller waits for the end of calls in flight; as the contract says."""
NEWEST_FIRST = "start_time desc"


class SyncServicer(sync_service_pb2_grpc.SyncServiceServicer):
    """Starts, shows and follows runs.

    ``draining`` is set when the server begins to stop; watchers then end in band.
    """

    def __init__(self, runner: SyncRunner, syncs: SyncStore, draining: asyncio.Event) -> None:
        self._runner = runner
        self._syncs = syncs
        self._draining = draining

    async def StartSync(self, request: StartSyncRequest, _context: object) -> Sync:  # noqa: N802  # the contract's name
        return await self._runner.start(request.parent, request.sync, request.sync_id)

    async def GetSync(self, request: GetSyncRequest, _context: object) -> Sync:  # noqa: N802  # the contract's name
        return await self._runner.get(request.name)

    async def CancelSync(self, request: CancelSyncRequest, _context: object) -> Sync:  # noqa: N802  # the contract's name
        sync = await self._runner.cancel(request.name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                while sync.state == Sync.STATE_RUNNING:
                    await self._runner.changed(request.name, WATCH_SECONDS)
                    sync = await self._runner.get(request.name)
        return sync

    async def ResumeSync(self, request: ResumeSyncRequest, _context: object) -> Sync:  # noqa: N802  # the contract's name
        return await self._runner.resume(request.name)

    async def ListSyncs(self, request: ListSyncsRequest, _context: object) -> ListSyncsResponse:  # noqa: N802  # the contract's name
        page = await self._syncs.store.page(
            SYNCS,
            request.parent,
            filter=request.filter,
            order_by=NEWEST_FIRST,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return ListSyncsResponse(
            syncs=map(self._runner.refreshed, page.items), next_page_token=page.next_page_token
        )

    async def ListManifestEntries(  # noqa: N802  # the contract's name
        self, request: ListManifestEntriesRequest, _context: object
    ) -> ListManifestEntriesResponse:
        await self._runner.get(request.parent)
        page = await self._syncs.store.page(
            MANIFEST,
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        entries = [entry for entry in page.items if isinstance(entry, ManifestEntry)]
        return ListManifestEntriesResponse(
            manifest_entries=entries, next_page_token=page.next_page_token
        )

    async def SuggestPolicy(  # noqa: N802  # the contract's name
        self, request: SuggestPolicyRequest, _context: object
    ) -> SuggestPolicyResponse:
        return await self._runner.suggest_policy(request.parent, request.sync, request.collections)

    async def WatchSync(  # noqa: N802  # the contract's name
        self, request: WatchSyncRequest, _context: object
    ) -> AsyncIterator[WatchSyncResponse]:
        """Send the run now and whenever it differs, then how the stream ended."""
        last: Sync | None = None
        while True:
            sync = await self._runner.get(request.name)
            if sync != last:
                yield WatchSyncResponse(sync=sync)
                last = sync
            if sync.state != Sync.STATE_RUNNING:
                yield WatchSyncResponse(ended=status_pb2.Status(code=code_pb2.OK))
                return
            if self._draining.is_set():
                stopping = status_pb2.Status(
                    code=code_pb2.UNAVAILABLE, message="the server is stopping; watch again"
                )
                yield WatchSyncResponse(ended=stopping)
                return
            await self._runner.changed(request.name, WATCH_SECONDS)
