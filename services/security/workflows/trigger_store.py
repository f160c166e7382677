"""What starts runs by itself: the clock, and changes of records. Each start happens once.

The place of a trigger (next due time, revision of the feed) moves in the transaction that starts
what is due, with the plan locked: of several processes one does it.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.cel import Environment
from mesh.contract.catalogue import Kind
from mesh.errors import ReferenceNotFound, Refusal, ResourceNotFound, RevisionGone
from mesh.sql.change_table import Change
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
from services.security.workflows.plan import stored_plan
from services.security.workflows.run_store import PLANS
from services.security.workflows.schedule import Schedule
from services.security.workflows.starting import Start

_EVENT = WorkflowTrigger.WORKFLOW_TRIGGER_EVENT
_SCHEDULE = WorkflowTrigger.WORKFLOW_TRIGGER_SCHEDULE
EVERY = timedelta(seconds=1)
_ADVANCE_SECONDS = 60.0
"""How often a place in the feed is kept while nothing happens, so that it is not forgotten."""
_SECOND = 1_000_000
_BATCH = 500
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
        self._kept: dict[str, float] = {}

    async def look(self) -> int:
        """Start what is due, and give how many runs."""
        started = 0
        due = self._plans.c.next_time <= sa.literal(
            self._editor.clock(), self._plans.c.next_time.type
        )
        for tenant, plan, workflow in await self._current(_SCHEDULE, due):
            with acting_for(tenant), _alone(workflow):
                started += await self._keep_time(plan, workflow)
        for tenant, plan, workflow in await self._current(_EVENT, sa.true()):
            with acting_for(tenant), _alone(workflow):
                started += await self._follow(tenant, plan, workflow)
        if started:
            self._tools.starter.poke()
        return started

    async def _current(
        self, trigger: Any, condition: sa.ColumnElement[bool]
    ) -> Sequence[tuple[str, str, str]]:
        columns = self._plans.c
        statement = (
            sa.select(columns[TENANT], columns.id, columns.workflow)
            .where(columns.current, columns.trigger_type == trigger, condition)
            .order_by(columns[TENANT], columns.id)
            .limit(_BATCH if trigger == _SCHEDULE else None)
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

    async def _follow(self, tenant: str, name: str, workflow: str) -> int:
        """Start a run for each change that the condition of a workflow holds of."""
        plan = await self._tools.runs.plan(None, name)
        config = stored_plan(plan.content).workflow.trigger_config
        after = Revision.parse(plan.revision)
        try:
            page = await self._feed.page(tenant, after, {config.collection})
        except RevisionGone:
            _LOG.error("changes were forgotten before a workflow saw them: %s", workflow)
            page = ChangePage([], await self._feed.present(tenant), more=False)
            self._kept.pop(name, None)
        if not page.changes and not self._is_old(name):
            return 0
        started = 0
        async with self._store.transaction() as connection:
            locked = await self._locked(connection, name, workflow)
            if locked is None or locked.revision != plan.revision:
                return 0
            for change in page.changes:
                if self._matters(change, config):
                    started += await self._start(connection, locked, _start_of(locked, change))
            locked.revision = str(page.revision)
            await self._tools.runs.save_plan(connection, locked)
        self._kept[name] = time.monotonic()
        return started

    def _is_old(self, name: str) -> bool:
        kept = self._kept.get(name)
        return kept is None or time.monotonic() - kept > _ADVANCE_SECONDS

    def _matters(self, change: RecordChange, config: Any) -> bool:
        # What runs write starts none: they would start each other for ever.
        if (
            change.after is None
            or change.change is Change.DELETED
            or change.actor.startswith(ACTOR)
        ):
            return False
        if not config.condition:
            return True
        kind: Kind = self._tools.records.kind(config.collection)
        record: Any = change.after
        condition = Environment.of_kind(kind).compile(config.condition)
        return condition.matches(getattr(record, kind.body_field or ""), record) is True

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


@contextlib.contextmanager
def _alone(workflow: str) -> Iterator[None]:
    """Keep what is wrong with one workflow from the triggers of all others."""
    try:
        yield
    except Refusal as error:
        _LOG.error("a trigger could not be looked at: %s: %s", workflow, error.message)
    except sa.exc.DBAPIError:
        _LOG.exception("a trigger could not be looked at: %s", workflow)


def _start_of(plan: Any, change: RecordChange) -> Start:
    key = f"{plan.name.rpartition('/')[2]}@{change.revision}"
    incident = change.name if change.collection == INCIDENTS else ""
    return Start(key, _EVENT, change.name, incident=incident)
