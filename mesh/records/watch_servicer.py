"""WatchRecords: the changes of records as a stream, the same for every service that keeps some."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from mesh.cel.language import Condition, Environment
from mesh.contract.catalogue import WATCH_RECORDS, Catalogue, Kind
from mesh.contract.names import EVERY_COLLECTION, collection_of, tenant_of
from mesh.errors import FieldInvalid, KindUnknown, Refusal, RevisionGone, TenantInactive, WatchEnded
from mesh.server.call import Call, find_current_call
from mesh.sql.change_table import Change
from mesh.sql.changes import ChangeFeed, RecordChange, Revision
from mesh.sql.store import Store
from mesh.sql.values import timestamp_parts
from mesh.sql.wake import Wake
from secmesh.records.v1 import watch_pb2

BOOKMARK_SECONDS = 15.0
"""Longest silence of a stream."""
_MARGIN = 0.1
"""Part of a call's time that is left for its end in band."""
_LONGEST_MARGIN = 5.0
_EXISTING = 200
"""Existing records read at once."""
_TYPES = {
    Change.CREATED: watch_pb2.RECORD_CHANGE_TYPE_CREATED,
    Change.UPDATED: watch_pb2.RECORD_CHANGE_TYPE_UPDATED,
    Change.DELETED: watch_pb2.RECORD_CHANGE_TYPE_DELETED,
}


@dataclass(frozen=True)
class _Watched:
    """What one stream is about."""

    tenant: str
    kinds: Mapping[str, Kind]
    every: bool
    """All kinds of the contract: the feed needs not be narrowed."""
    conditions: Mapping[str, Condition]
    """By collection; empty without a filter."""


class WatchServicer:
    """Follows the feed of a store; a watcher holds no connection while it waits or is slow."""

    def __init__(self, catalogue: Catalogue, store: Store, draining: asyncio.Event) -> None:
        """``draining`` is set when the server begins to stop; streams then end in band."""
        self._catalogue = catalogue
        self._store = store
        self._feed = ChangeFeed(store)
        self._wake = Wake(store.engine)
        self._draining = draining
        path = f"/{catalogue.package}.RecordService/{WATCH_RECORDS}"
        method = catalogue.methods[path].descriptor
        self._event: Any = message_factory.GetMessageClass(method.output_type)
        self._request = message_factory.GetMessageClass(method.input_type)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the method under the package's own RecordService."""
        handler = grpc.unary_stream_rpc_method_handler(
            self.WatchRecords,
            request_deserializer=self._request.FromString,
            response_serializer=self._event.SerializeToString,
        )
        service = f"{self._catalogue.package}.RecordService"
        handlers = {WATCH_RECORDS: handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    async def WatchRecords(  # noqa: N802  # the contract's name
        self, request: watch_pb2.WatchRecordsRequest, _context: object
    ) -> AsyncIterator[Message]:
        """Send changes and bookmarks until the time is over, then how the stream ended.

        RevisionGone, FilterInvalid, KindUnknown or FieldInvalid before the first event;
        a revision that is forgotten and a tenant that is removed meanwhile end it in band.
        """
        call = find_current_call()
        watched = self._watched(request, call)
        ending = ending_of(call)
        place = await self._start(request, watched)
        if request.include_existing:
            async for event in self._existing(request, watched):
                yield event
        yield self._event(revision=str(place), bookmark=watch_pb2.WatchBookmark())
        try:
            async for event in self._following(watched, place, ending):
                place = Revision.parse(event.revision)
                yield event
            end: Refusal = WatchEnded("the watch goes on from its last revision")
        except (RevisionGone, TenantInactive) as gone:
            end = gone
        status = end.status(call.request_id if call is not None else "")
        yield self._event(revision=str(place), ended=status)

    async def _start(self, request: watch_pb2.WatchRecordsRequest, watched: _Watched) -> Revision:
        """Give the place to begin at; RevisionGone if it is not kept."""
        if not request.revision:
            return await self._feed.present(watched.tenant)
        if request.include_existing:
            problem = "existing records are shown when a watch begins, without a revision"
            raise FieldInvalid.of("include_existing", problem)
        place = Revision.parse(request.revision)
        await self._feed.page(watched.tenant, place, ())
        return place

    async def _existing(
        self, request: watch_pb2.WatchRecordsRequest, watched: _Watched
    ) -> AsyncIterator[Any]:
        """Show the records as they are, page by page.

        What is written meanwhile may show here already: the changes that follow bring each
        record to where it is then.
        """
        for collection in sorted(watched.kinds):
            token = ""
            while True:
                page = await self._store.page(
                    collection,
                    f"tenants/{watched.tenant}/{collection}",
                    filter=request.filter,
                    page_size=_EXISTING,
                    page_token=token,
                )
                for record in page.items:
                    event = self._event()
                    event.changed.name = record.name  # type: ignore[attr-defined]  # every kind has a name
                    event.changed.type = watch_pb2.RECORD_CHANGE_TYPE_EXISTING
                    event.changed.after.CopyFrom(record)
                    yield event
                token = page.next_page_token
                if not token:
                    break

    async def _following(
        self, watched: _Watched, place: Revision, ending: float
    ) -> AsyncIterator[Any]:
        """Send what happens after a place, until the time is over."""
        spoke = time.monotonic()
        collections = None if watched.every else tuple(watched.kinds)
        async with self._wake.watching():
            while not self._draining.is_set() and time.monotonic() < ending:
                news = self._wake.next()
                page = await self._feed.page(watched.tenant, place, collections)
                place = page.revision
                for change in page.changes:
                    event = self._told(watched, change)
                    if event is not None:
                        yield event
                        spoke = time.monotonic()
                if time.monotonic() - spoke >= BOOKMARK_SECONDS:
                    yield self._event(revision=str(place), bookmark=watch_pb2.WatchBookmark())
                    spoke = time.monotonic()
                if not page.more:
                    await self._wake.sleep(news, ending - time.monotonic())
        # What was passed without an event needs not be read again.
        yield self._event(revision=str(place), bookmark=watch_pb2.WatchBookmark())

    def _told(self, watched: _Watched, change: RecordChange) -> Any:
        """Write a change as an event; None if the filter keeps it from the watcher."""
        if change.collection not in watched.kinds:
            return None
        kind = _TYPES[change.change]
        condition = watched.conditions.get(change.collection)
        if condition is not None:
            field = watched.kinds[change.collection].body_field or ""
            before, after = (
                record is not None and condition.matches(getattr(record, field), record) is True
                for record in (change.before, change.after)
            )
            if not before and not after:
                return None
            if change.change is Change.UPDATED and before != after:
                entered = watch_pb2.RECORD_CHANGE_TYPE_ENTERED
                kind = entered if after else watch_pb2.RECORD_CHANGE_TYPE_LEFT
        event = self._event(revision=str(change.revision))
        event.changed.name, event.changed.type = change.name, kind
        event.changed.actor = change.actor
        stamp = timestamp_parts(change.time)
        event.changed.change_time.seconds = stamp["seconds"]
        event.changed.change_time.nanos = stamp["nanos"]
        if change.before is not None:
            event.changed.before.CopyFrom(change.before)
        if change.after is not None:
            event.changed.after.CopyFrom(change.after)
        return event

    def _watched(self, request: watch_pb2.WatchRecordsRequest, call: Call | None) -> _Watched:
        """Find out what is asked for: one kind, or all that the caller may list."""
        known = self._catalogue.record_kinds
        collection = collection_of(request.parent) or EVERY_COLLECTION
        if collection == EVERY_COLLECTION:
            chosen = {
                name: kind
                for name, kind in known.items()
                if call is None or call.caller.permits(kind.permission("list"))
            }
        elif collection in known:
            chosen = {collection: known[collection]}
        else:
            raise KindUnknown(collection)
        conditions = {
            name: Environment.of_kind(kind).compile(request.filter)
            for name, kind in chosen.items()
            if request.filter
        }
        every = len(chosen) == len(known)
        return _Watched(tenant_of(request.parent) or "", chosen, every, conditions)


def ending_of(call: Call | None) -> float:
    """Tell when to end in band: before the call's deadline, which may be its token's end."""
    if call is None:
        return float("inf")
    return call.deadline - min(_LONGEST_MARGIN, call.remaining * _MARGIN)
