"""A stream of what is told once: from a revision on, until its time is over."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic

from google.rpc import status_pb2

from mesh.cel.language import Environment
from mesh.errors import Refusal, RevisionGone, TenantInactive, WatchEnded
from mesh.records.watch_servicer import BOOKMARK_SECONDS, ending_of
from mesh.server.call import find_current_call
from mesh.sql.changes import Revision
from mesh.sql.wake import Wake
from services.inventory.alerts.numbered_store import Choice, NumberedStore, T


@dataclass(frozen=True)
class Event(Generic[T]):
    """One event of a watch; a bookmark if it tells of nothing and the stream goes on."""

    place: Revision
    """Where the watch stands after it."""
    told: T | None = None
    ended: status_pb2.Status | None = None

    @property
    def is_bookmark(self) -> bool:
        """Whether nothing was told up to here."""
        return self.told is None and self.ended is None


class Following(Generic[T]):
    """Follows one collection; a watcher holds no connection while it waits or is slow.

    ``draining`` is set when the server begins to stop; streams then end in band.
    """

    def __init__(self, messages: NumberedStore[T], draining: asyncio.Event) -> None:
        self._messages: NumberedStore[T] = messages
        self._wake = Wake(messages.store.engine)
        self._draining = draining

    async def watch(self, tenant: str, revision: str, choice: Choice) -> AsyncIterator[Event[T]]:
        """Give events and bookmarks until the time is over, then how the stream ended.

        RevisionGone, FilterInvalid or FieldInvalid before the first event; a tenant that is removed
        meanwhile, or a store that is restored, ends it in band.
        """
        call = find_current_call()
        if choice.filter:
            kind = self._messages.store.target(self._messages.collection).kind
            Environment.of_kind(kind).compile(choice.filter)
        if revision:
            place = Revision.parse(revision)
            await self._messages.after(tenant, place)
        else:
            place = await self._messages.present(tenant)
        yield Event(place)
        try:
            async for event in self._following(tenant, place, choice, ending_of(call)):
                place = event.place
                yield event
            end: Refusal = WatchEnded("the watch goes on from its last revision")
        except (RevisionGone, TenantInactive) as gone:
            end = gone
        yield Event(place, ended=end.status(call.request_id if call is not None else ""))

    async def _following(
        self, tenant: str, place: Revision, choice: Choice, ending: float
    ) -> AsyncIterator[Event[T]]:
        """Give what comes after a place, until the time is over."""
        spoke = time.monotonic()
        async with self._wake.watching():
            while not self._draining.is_set() and time.monotonic() < ending:
                news = self._wake.next()
                page = await self._messages.after(tenant, place, choice)
                for each in page.messages:
                    yield Event(Revision(0, each.sequence, page.revision.epoch), each)
                    spoke = time.monotonic()
                place = page.revision
                if time.monotonic() - spoke >= BOOKMARK_SECONDS:
                    yield Event(place)
                    spoke = time.monotonic()
                if not page.more:
                    await self._wake.sleep(news, ending - time.monotonic())
        # What was passed without an event needs not be read again.
        yield Event(place)
