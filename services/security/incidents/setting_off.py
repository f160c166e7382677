"""Changes of records set playbooks off: each change once, by whichever process sees it first."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import Refusal, ResourceExists
from mesh.identity.caller import Caller
from mesh.sql.changes import ChangeFeed, RecordChange, Revision
from mesh.sql.recurring import Recurring
from mesh.sql.store import Store
from mesh.sql.transactions import act_as
from services.security.editing import RecordEditor
from services.security.errors import PlaybookRefused
from services.security.findings.due import moment_of, set_moment
from services.security.incidents.arming import ACTOR, Arming
from services.security.incidents.life import INCIDENTS
from services.security.incidents.opening import Opening, severity_of
from services.security.incidents.playbooks import Playbooks
from services.security.incidents.watch_store import Trigger
from services.security.workflows.feed_following import FeedFollower, Place, Taken
from services.security.workflows.mandate import Mandate
from services.security.workflows.operations import Authority
from services.security.workflows.starting import Starter

EVERY = timedelta(seconds=1)
MAX_STARTS = 30
"""Times that changes set one playbook off within a minute; more of them wait, in their order."""
_MINUTE = 60_000_000
_LONGEST_PROBLEM = 2000
_LOG = logging.getLogger(__name__)


class PlaybookTriggers(Recurring):
    """Looks at the changes that armed playbooks of all tenants wait for."""

    def __init__(
        self,
        store: Store,
        editor: RecordEditor,
        arming: Arming,
        playbooks: Playbooks,
        starter: Starter,
    ) -> None:
        super().__init__(EVERY, "playbooks could not be set off", "playbooks set off: %d")
        self._arming = arming
        self._starter = starter
        self._follower = _PlaybookFollower(store, editor, arming, playbooks)

    async def look(self) -> int:
        """Set off what is to be, and give how many times."""
        started = await self._follower.follow(await self._arming.watches.places())
        if started:
            self._starter.poke()
        return started


class _Changed(PlaybookRefused):
    """A playbook that says something else than when it was armed."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "or one that it follows was changed since: arm it anew")


class _PlaybookFollower(FeedFollower[Trigger]):
    def __init__(
        self, store: Store, editor: RecordEditor, arming: Arming, playbooks: Playbooks
    ) -> None:
        super().__init__(ChangeFeed(store))
        self._store = store
        self._editor = editor
        self._arming = arming
        self._playbooks = playbooks
        self._opening = Opening(store, editor)

    async def take(
        self, place: Place[Trigger], changes: Sequence[RecordChange], revision: Revision
    ) -> Taken | None:
        started, trigger = 0, place.watch
        async with self._store.transaction() as connection:
            await act_as(connection, f"{ACTOR}{trigger.name}")
            watch = await self._arming.watches.lock(connection, trigger.name)
            if watch is None or not watch.armed or watch.revision != place.stored:
                return None
            reached, before = revision, place.revision
            for change in changes:
                if self._is_enough(watch):
                    # The place stays before what waits.
                    reached = before
                    break
                started += await self._set_off(connection, place, watch, change)
                before = change.revision
                if not watch.armed:
                    break
            watch.revision = str(reached)
            await self._arming.watches.save(connection, watch)
        return Taken(started, reached)

    def _is_enough(self, watch: Any) -> bool:
        """Tell whether a playbook was set off as often as it may be for now."""
        present = self._editor.clock()
        if present >= moment_of(watch, "window_start_time") + _MINUTE:
            set_moment(watch, "window_start_time", present)
            watch.window_starts = 0
        return bool(watch.window_starts >= MAX_STARTS)

    async def _set_off(
        self, connection: AsyncConnection, place: Place[Trigger], watch: Any, change: RecordChange
    ) -> int:
        """Follow a playbook for one change; whatever refuses it is told in the watch."""
        try:
            async with connection.begin_nested():
                started = await self._start(connection, place.watch, watch, change)
        except ResourceExists:
            # Another playbook opened the incident at the same time: all is tried again.
            raise
        except Refusal as error:
            # What was armed is not what is there now.
            watch.armed = not isinstance(error, _Changed)
            watch.problem = f"{change.name}: {error.message}"[:_LONGEST_PROBLEM]
            set_moment(watch, "problem_time", self._editor.clock())
            _LOG.error("a playbook was not set off: %s: %s", watch.playbook, error.message)
            return 0
        watch.start_count += started
        watch.window_starts += started
        return started

    async def _start(
        self, connection: AsyncConnection, trigger: Trigger, watch: Any, change: RecordChange
    ) -> int:
        mandate = Mandate(self._editor.users, watch, f"{ACTOR}{watch.name}")
        given = await mandate.authority(connection)
        given.require(trigger.kind(change).permission("list"))
        book = await self._arming.book(connection, watch.playbook)
        incident = await self._incident(connection, given, book, change) if book else ""
        if not incident:
            return 0
        caller = Caller(watch.armed_by, given.tenant, given.permissions)
        followed = await self._playbooks.follow(connection, incident, book.name, "", caller)
        # Now that nobody can change it meanwhile.
        record = await self._editor.find(connection, book.name)
        if await self._arming.digest(connection, record) != watch.digest:
            raise _Changed(book.name)
        return int(followed.started)

    async def _incident(
        self, connection: AsyncConnection, given: Authority, book: Any, change: RecordChange
    ) -> str:
        """Give the incident that a playbook is followed in; empty if it is not for this one."""
        record: Any = change.after
        body, severity = book.response_playbook, severity_of(record)
        if severity and severity < body.min_severity:
            return ""
        if change.collection == INCIDENTS:
            is_of = not body.category_id or body.category_id == record.incident.category_id
            return change.name if is_of else ""
        given.require(f"security.{INCIDENTS}.create")
        return await self._opening.incident_of(connection, book, change)
