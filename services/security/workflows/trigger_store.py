"""What starts runs by itself: the clock, and changes of records. Each start happens once.

The place of a trigger (next due time, revision of the feed) moves in the transaction that starts
what is due, with the plan locked: of several processes one does it.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ReferenceNotFound, Refusal, ResourceNotFound
from mesh.sql.alone import alone
from mesh.sql.changes import ChangeFeed, RecordChange, Revision
from mesh.sql.recurring import Recurring
from mesh.sql.store import TENANT, Store
from mesh.sql.tenancy import acting_for
from mesh.sql.transactions import act_as
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from services.security.editing import RecordEditor
from services.security.errors import WorkflowInactive
from services.security.findings.due import moment_of, set_moment
from services.security.incidents.life import INCIDENTS
from services.security.workflows.actions import Tools
from services.security.workflows.feed_following import FeedFollower, Place, Taken
from services.security.workflows.journal import ACTOR
from services.security.workflows.mandate import Mandate
from services.security.workflows.plan import stored_plan
from services.security.workflows.run_store import PLANS
from services.security.workflows.schedule import Schedule
from services.security.workflows.starting import Start
from services.security.workflows.watching_store import Watch, Watches

_EVENT = WorkflowTrigger.WORKFLOW_TRIGGER_EVENT
_SCHEDULE = WorkflowTrigger.WORKFLOW_TRIGGER_SCHEDULE
EVERY = timedelta(seconds=1)
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
        self._plans = self._store.target(PLANS).table
        self._watches = Watches(tools.runs, tools.records.catalogue.record_kinds)
        self._followed = _PlanFollower(self._store, self._take)

    async def look(self) -> int:
        """Start what is due, and give how many runs."""
        started = 0
        for tenant, plan, workflow in await self._due():
            with acting_for(tenant), alone(_LOG, _UNSEEN, workflow):
                started += await self._keep_time(plan, workflow)
        started += await self._followed.follow(await self._watches.places())
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

    async def _take(
        self, place: Place[Watch], changes: Sequence[RecordChange], revision: Revision
    ) -> Taken | None:
        """Start runs for changes that matter to a watch, and move its place."""
        watch, started = place.watch, 0
        async with self._store.transaction() as connection:
            locked = await self._locked(connection, watch.plan, watch.workflow)
            if locked is None or locked.revision != place.stored:
                return None
            if changes and await self._may_see(connection, locked, watch):
                for change in changes:
                    started += await self._start(connection, locked, _start_of(locked, change))
            locked.revision = str(revision)
            await self._tools.runs.save_plan(connection, locked)
        return Taken(started, revision)

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


_Take = Callable[[Place[Watch], Sequence[RecordChange], Revision], Awaitable[Taken | None]]


class _PlanFollower(FeedFollower[Watch]):
    """Follows the feed for active workflows."""

    def __init__(self, store: Store, take: _Take) -> None:
        super().__init__(ChangeFeed(store))
        self._take = take

    async def take(
        self, place: Place[Watch], changes: Sequence[RecordChange], revision: Revision
    ) -> Taken | None:
        return await self._take(place, changes, revision)


def _start_of(plan: Any, change: RecordChange) -> Start:
    key = f"{plan.name.rpartition('/')[2]}@{change.revision}"
    incident = change.name if change.collection == INCIDENTS else ""
    return Start(key, _EVENT, change.name, incident=incident)
