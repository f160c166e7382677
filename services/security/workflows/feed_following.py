"""Watches of the change feed: each sees every change that matters to it once, in its order.

The place of a watch moves in the transaction that does what its changes ask for: of several
processes one does it.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mesh.errors import RevisionGone
from mesh.sql.alone import alone
from mesh.sql.changes import ChangeFeed, ChangePage, RecordChange, Revision
from mesh.sql.tenancy import acting_for

AUTOMATIC = ("workflow:", "playbook:")
"""Begin the names of those that write because something set them off: what they write sets off
nothing, or they would set each other off for ever."""
_ADVANCE_SECONDS = 60.0
"""How often a place in the feed is kept while nothing happens, so that it is not forgotten."""
_UNSEEN = "a trigger could not be looked at"
_LOG = logging.getLogger(__name__)


class Watching(Protocol):
    """What a watch is of; it never changes."""

    @property
    def key(self) -> str:
        """Give what the place of the watch is kept by."""

    @property
    def subject(self) -> str:
        """Give the name of what changes set off."""

    @property
    def collections(self) -> Set[str]:
        """Give the collections whose changes are looked at."""

    def matters(self, change: RecordChange) -> bool:
        """Tell whether a change sets it off."""


W = TypeVar("W", bound=Watching)


@dataclass(frozen=True)
class Place(Generic[W]):
    """A watch, and up to where it has seen the changes."""

    watch: W
    stored: str
    """The revision as it is kept."""

    @property
    def revision(self) -> Revision:
        """Give the revision; FieldInvalid."""
        return Revision.parse(self.stored)


@dataclass(frozen=True)
class Taken:
    """What came of some changes."""

    started: int
    revision: Revision
    """Up to where they were looked at; what comes after waits."""


class FeedFollower(ABC, Generic[W]):
    """Reads the changes of each tenant once for all of its watches."""

    def __init__(self, feed: ChangeFeed) -> None:
        self._feed = feed
        self._kept: dict[str, float] = {}
        self._seen: dict[str, Revision] = {}

    async def follow(self, places_of: Mapping[str, Sequence[Place[W]]]) -> int:
        """Look at the changes since the places, by tenant; give how much they set off."""
        self._forget({each.watch.key for places in places_of.values() for each in places})
        started = 0
        for tenant, places in places_of.items():
            with acting_for(tenant), alone(_LOG, _UNSEEN, tenant):
                started += await self._follow(tenant, places)
        return started

    @abstractmethod
    async def take(
        self, place: Place[W], changes: Sequence[RecordChange], revision: Revision
    ) -> Taken | None:
        """Do in one transaction what changes ask for, and keep the place after them.

        ``revision`` is that place if all are done. None if the place is no longer as it was:
        another process was here, or the watch is over.
        """

    async def _follow(self, tenant: str, places: Sequence[Place[W]]) -> int:
        """Look at the next changes of a tenant, in one query."""
        after = min(self._seen_by(place) for place in places)
        collections = {name for each in places for name in each.watch.collections}
        try:
            page = await self._feed.page(tenant, after, collections)
        except RevisionGone:
            if len(places) > 1:
                return sum([await self._follow(tenant, [each]) for each in places])
            subject = places[0].watch.subject
            _LOG.error("changes were forgotten before they were looked at: %s", subject)
            page = ChangePage([], await self._feed.present(tenant), more=False)
            self._kept.pop(places[0].watch.key, None)
        started = 0
        for place in places:
            with alone(_LOG, _UNSEEN, place.watch.subject):
                started += await self._advance(place, page)
        return started

    def _seen_by(self, place: Place[W]) -> Revision:
        """Give up to where a watch has seen the changes; what it passed since is not stored."""
        return max(place.revision, self._seen.get(place.watch.key, place.revision))

    async def _advance(self, place: Place[W], page: ChangePage) -> int:
        """Do what the changes of a page ask of one watch, and move its place past them."""
        key, seen = place.watch.key, self._seen_by(place)
        if page.more and seen >= page.revision:
            return 0
        matters = place.watch.matters
        mine = [each for each in page.changes if each.revision > seen and matters(each)]
        if not mine and not self._is_old(key):
            self._seen[key] = page.revision
            return 0
        taken = await self.take(place, mine, page.revision)
        if taken is None:
            return 0
        self._kept[key], self._seen[key] = time.monotonic(), taken.revision
        return taken.started

    def _forget(self, present: Set[str]) -> None:
        """Keep nothing of watches that are gone."""
        for kept in (self._kept, self._seen):
            for name in kept.keys() - present:
                kept.pop(name, None)

    def _is_old(self, key: str) -> bool:
        kept = self._kept.get(key)
        return kept is None or time.monotonic() - kept > _ADVANCE_SECONDS
