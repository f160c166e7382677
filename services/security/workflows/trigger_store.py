"""What starts runs by itself: the clock, and changes of records. Each start happens once.

The place of a trigger (next due time, revision of the feed) moves in the transaction that starts
what is due, with the plan locked: of several processes one does it.
"""

import logging
import time
from collections.abc import Sequence, Set
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ReferenceNotFound, Refusal, ResourceNotFound, RevisionGone
from mesh.sql.alone import alone
from mesh.sql.changes import ChangeFeed, ChangePage, RecordChange, Revision
from mesh.sql.recurring import Recurring
from mesh.sql.store import TENANT
from mesh.sql.tenancy import acting_for
from mesh.sql.transactions import act_as
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from services.security.editing import RecordEditor
from services.security.errors import WorkflowInactive
from services.security.findings.due import moment_of, set_moment
from services.security.incidents.life import INCIDENTS
from services.security.workflows.actions import Tools
from services.security.workflows.journal import ACTOR
from services.security.workflows.mandate import Mandate
from services.security.workflows.plan import stored_plan
from services.security.workflows.run_store import PLANS
from services.security.workflows.schedule import Schedule
from services.security.workflows.starting import Start
from services.security.workflows.watching_store import Place, Watch, Watches

_EVENT = WorkflowTrigger.WORKFLOW_TRIGGER_EVENT
_SCHEDULE = WorkflowTrigger.WORKFLOW_TRIGGER_SCHEDULE
EVERY = timedelta(seconds=1)
_ADVANCE_SECONDS = 60.0
"""How often a place in the feed is kept while nothing happens, so that it is not forgotten."""
_SECOND = 1_000_000
_BATCH = 500
_UNSEEN = "a trigger could not be looked at"
_LOG = logging.getLogger(__name__)


class Triggers(Recurring):
    """Looks at the triggers of active workflows of all tenants; processes may do so at once."""

    def __init__(self, tools: Tools, editor: RecordEditor) -> None:
        super().__init__(EVERY, "workflows could not be started", "workflows started: %d")
        self._tools = tools
        self._store = tools.runs.store
        self._editor = editor
        self._feed = ChangeFeed(self._store)
        self._plans = self._store.target(PLANS).table
        self._watches = Watches(tools.runs, tools.records.catalogue.record_kinds)
        self._kept: dict[str, float] = {}
        self._seen: dict[str, Revision] = {}

    async def look(self) -> int:
        """Start what is due, and give how many runs."""
        started = 0
        for tenant, plan, workflow in await self._due():
            with acting_for(tenant), alone(_LOG, _UNSEEN, workflow):
                started += await self._keep_time(plan, workflow)
        places_of = await self._watches.places()
        self._forget({each.watch.plan for places in places_of.values() for each in places})
        for tenant, places in places_of.items():
            with acting_for(tenant), alone(_LOG, _UNSEEN, tenant):
                started += await self._follow(tenant, places)
        if started:
            self._tools.starter.poke()
        return started

    async def _due(self) -> Sequence[tuple[str, str, str]]:
        """Give tenant, plan and workflow of schedules of all tenants that are due."""
        columns, present = self._plans.c, self._editor.clock()
        statement = (
            sa.select(columns[TENANT], columns.id, columns.workflow)
            .where(
                columns.current,
                columns.trigger_type == _SCHEDULE,
                columns.next_time <= sa.literal(present, columns.next_time.type),
            )
            .order_by(columns[TENANT], columns.id)
            .limit(_BATCH)
        )
        async with self._store.whole() as connection:
            rows: Any = await self._store.fetch(statement, connection)
        return [(row[0], f"tenants/{row[0]}/{PLANS}/{row[1]}", row[2]) for row in rows]

    async def _locked(self, connection: AsyncConnection, plan: str, workflow: str) -> Any:
        """Give a plan, locked after its workflow, as all do; None if it is replaced."""
        await act_as(connection, f"{ACTOR}{plan}")
        try:
            await self._editor.find(connection, workflow)
        except ResourceNotFound:
            await self._retire(connection, workflow)
            return None
        found = await self._tools.runs.current_plan(connection, workflow)
        return found if found is not None and found.name == plan else None

    async def _retire(self, connection: AsyncConnection, workflow: str) -> None:
        """Let nothing start a workflow that somebody deleted."""
        left = await self._tools.runs.current_plan(connection, workflow)
        if left is not None:
            left.current = False
            await self._tools.runs.save_plan(connection, left)

    async def _keep_time(self, name: str, workflow: str) -> int:
        """Start a run for the last due time that has come; those missed before are one with it."""
        async with self._store.transaction() as connection:
            plan = await self._locked(connection, name, workflow)
            present = self._editor.clock()
            if plan is None or moment_of(plan, "next_time") > present:
                return 0
            config = stored_plan(plan.content).workflow.trigger_config
            schedule = Schedule(config.cron, config.timezone)
            moment = max(schedule.last(present), moment_of(plan, "next_time"))
            start = Start(f"{plan.name.rpartition('/')[2]}@{moment // _SECOND}", _SCHEDULE)
            started = await self._start(connection, plan, start)
            later = schedule.after(present)
            if later is None:
                plan.ClearField("next_time")
            else:
                set_moment(plan, "next_time", later)
            await self._tools.runs.save_plan(connection, plan)
            return started

    async def _follow(self, tenant: str, places: Sequence[Place]) -> int:
        """Start runs for the changes that matter to the watches of a tenant, in one query."""
        after = min(self._seen_by(place) for place in places)
        try:
            page = await self._feed.page(tenant, after, {each.watch.collection for each in places})
        except RevisionGone:
            if len(places) > 1:
                return sum([await self._follow(tenant, [each]) for each in places])
            name = places[0].watch.workflow
            _LOG.error("changes were forgotten before a workflow saw them: %s", name)
            page = ChangePage([], await self._feed.present(tenant), more=False)
            self._kept.pop(places[0].watch.plan, None)
        started = 0
        for place in places:
            with alone(_LOG, _UNSEEN, place.watch.workflow):
                started += await self._advance(place, page)
        return started

    def _seen_by(self, place: Place) -> Revision:
        """Give up to where a watch has seen the changes; what it passed since is not stored."""
        return max(place.revision, self._seen.get(place.watch.plan, place.revision))

    async def _advance(self, place: Place, page: ChangePage) -> int:
        """Start runs for what matters, and move the place of the watch past the page."""
        watch, seen, started = place.watch, self._seen_by(place), 0
        if page.more and seen >= page.revision:
            return 0
        mine = [each for each in page.changes if each.revision > seen and watch.matters(each)]
        if mine or self._is_old(watch.plan):
            async with self._store.transaction() as connection:
                locked = await self._locked(connection, watch.plan, watch.workflow)
                if locked is None or locked.revision != place.stored:
                    return 0
                if mine and await self._may_see(connection, locked, watch):
                    for change in mine:
                        started += await self._start(connection, locked, _start_of(locked, change))
                locked.revision = str(page.revision)
                await self._tools.runs.save_plan(connection, locked)
            self._kept[watch.plan] = time.monotonic()
        self._seen[watch.plan] = page.revision
        return started

    def _forget(self, present: Set[str]) -> None:
        """Keep nothing of plans that are gone."""
        for kept in (self._kept, self._seen):
            for name in kept.keys() - present:
                kept.pop(name, None)

    def _is_old(self, name: str) -> bool:
        kept = self._kept.get(name)
        return kept is None or time.monotonic() - kept > _ADVANCE_SECONDS

    async def _may_see(self, connection: AsyncConnection, plan: Any, watch: Watch) -> bool:
        """Tell whether who activated a workflow may list what it watches, still."""
        try:
            who = await Mandate(self._editor.users, plan, ACTOR).authority(connection)
            who.require(watch.kind.permission("list"))
        except Refusal as error:
            _LOG.error("a workflow was not started: %s: %s", plan.workflow, error.message)
            return False
        return True

    async def _start(self, connection: AsyncConnection, plan: Any, start: Start) -> int:
        try:
            await self._tools.starter.start(connection, plan.workflow, start)
        except WorkflowInactive:
            # Somebody paused it by writing its record.
            plan.current = False
        except ReferenceNotFound:
            # The incident is gone again; the change is not.
            bare = Start(start.key, start.trigger, start.ref)
            await self._tools.starter.start(connection, plan.workflow, bare)
            return 1
        except Refusal as error:
            _LOG.error("a workflow could not be started: %s: %s", plan.workflow, error.message)
        else:
            return 1
        return 0


def _start_of(plan: Any, change: RecordChange) -> Start:
    key = f"{plan.name.rpartition('/')[2]}@{change.revision}"
    incident = change.name if change.collection == INCIDENTS else ""
    return Start(key, _EVENT, change.name, incident=incident)
