"""SQL of runs: which are due, who executes them, and how far their steps are."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.records.moments import Clock
from mesh.sql.paging import Page
from mesh.sql.rows import Rows
from mesh.sql.store import TENANT, Store
from secmesh.security.v1.workflow_run_pb2 import WorkflowPlan, WorkflowRun, WorkflowStepRun
from secmesh.security.v1.workflow_service_pb2 import ListStepRunsRequest
from services.security.editing import required_tenant
from services.security.findings.due import moment_of, set_moment

EXECUTIONS, RUNS, STEP_RUNS, PLANS = (
    "workflow_executions",
    "workflow_runs",
    "workflow_step_runs",
    "workflow_plans",
)
WAKE, LEASE = "wake_time", "lease_expire_time"


class LeaseLost(Exception):
    """Another process took a run over; nothing more may be written for it here."""


def run_of(execution: str) -> str:
    """Give the name of the run of an execution."""
    return f"tenants/{required_tenant(execution)}/{RUNS}/{execution.rpartition('/')[2]}"


def execution_of(run: str) -> str:
    """Give the name of the execution of a run."""
    return f"tenants/{required_tenant(run)}/{EXECUTIONS}/{run.rpartition('/')[2]}"


class RunStore:
    """The runs of all tenants, leased in the name of one process."""

    def __init__(self, store: Store, clock: Clock, lease: timedelta, owner: str = "") -> None:
        self.store = store
        self.clock = clock
        self.lease = lease
        self.owner = owner or new_uuid()
        self._rows = Rows(store)
        self._runs = store.target(RUNS)
        self._steps = store.target(STEP_RUNS)
        self._plans = store.target(PLANS)

    async def due(self, limit: int, without: Collection[str] = ()) -> Sequence[tuple[str, str]]:
        """Give tenant and name of runs that go on now and that nobody executes, the first first.

        They are of any tenant but those ``without``.
        """
        columns, present = self._runs.table.c, self._present()
        statement = (
            sa.select(columns[TENANT], columns.id)
            .where(
                # Awake, or left by a process that is gone.
                sa.or_(columns.wake_time <= present, columns[LEASE] <= present),
                sa.not_(columns.ended),
                self._free(),
                columns[TENANT].not_in(sorted(without)),
            )
            .order_by(columns.wake_time.asc().nulls_first())
            .limit(limit)
        )
        async with self.store.whole() as connection:
            rows: Any = await self.store.fetch(statement, connection)
        return [(row[0], f"tenants/{row[0]}/{RUNS}/{row[1]}") for row in rows]

    def _free(self) -> sa.ColumnElement[bool]:
        expires = self._runs.table.c[LEASE]
        return sa.or_(expires.is_(None), expires <= self._present())

    def _present(self) -> sa.ColumnElement[Any]:
        return sa.literal(self.clock(), self._runs.table.c[LEASE].type)

    async def lock(self, connection: AsyncConnection, run: str) -> Any:
        """Give a run, the transaction's own until its end; ResourceNotFound."""
        found: Any = await self._rows.find(connection, self._runs, run)
        if found is None:
            raise ResourceNotFound(execution_of(run))
        return found

    async def is_known(self, execution: str) -> bool:
        """Tell whether an execution was started here, and not deleted since."""
        found = self.store.select(RUNS, required_tenant(execution), ["id"])
        found = found.where(self._runs.table.c.id == execution.rpartition("/")[2])
        return bool(await self.store.fetch(found))

    async def hold(self, connection: AsyncConnection, run: str) -> WorkflowRun:
        """Give a run that this process executes, locked; LeaseLost if another does."""
        try:
            found: WorkflowRun = await self.lock(connection, run)
        except ResourceNotFound:
            raise LeaseLost(run) from None
        if found.owner != self.owner or found.ended:
            raise LeaseLost(run)
        return found

    def is_leased(self, run: WorkflowRun) -> bool:
        """Tell whether a process executes a run now."""
        return run.HasField("lease_expire_time") and moment_of(run, LEASE) > self.clock()

    def take(self, run: WorkflowRun) -> None:
        """Lease a run that was locked; who wakes it meanwhile is seen when it is given back."""
        run.owner = self.owner
        run.ClearField("wake_time")
        set_moment(run, LEASE, self.clock() + self.lease // timedelta(microseconds=1))

    def give_back(self, run: WorkflowRun, wake: int | None) -> None:
        """End the lease; the run goes on at a moment, or when somebody woke it already."""
        run.owner = ""
        run.ClearField("lease_expire_time")
        if wake is not None:
            self.wake(run, wake)

    @staticmethod
    def wake(run: WorkflowRun, moment: int) -> None:
        """Let a run go on at a moment at the latest."""
        if not run.HasField("wake_time") or moment_of(run, WAKE) > moment:
            set_moment(run, WAKE, moment)

    async def save(self, connection: AsyncConnection, run: WorkflowRun) -> None:
        """Write a run that was locked."""
        await self._rows.replace(connection, self._runs, run, self.clock())

    async def add(self, connection: AsyncConnection, run: WorkflowRun) -> None:
        """Add a run."""
        await self._rows.add(connection, self._runs, run, self.clock())

    async def renew(self, run: str) -> bool:
        """Put off the end of a lease; True if the run is to stop. Raises LeaseLost."""
        async with self.store.transaction() as connection:
            held = await self.hold(connection, run)
            set_moment(held, LEASE, self.clock() + self.lease // timedelta(microseconds=1))
            await self.save(connection, held)
            late = held.HasField("deadline") and moment_of(held, "deadline") <= self.clock()
            return bool(held.canceled_by) or late

    async def begun(self, connection: AsyncConnection, workflow: str) -> int:
        """Count the runs of a workflow that have begun and not ended."""
        columns = self._runs.table.c
        found = self.store.select(RUNS, required_tenant(workflow), ["id"])
        found = found.where(columns.workflow == workflow, columns.begun, sa.not_(columns.ended))
        return len(await self.store.fetch(found, connection))

    async def children(self, connection: AsyncConnection, execution: str) -> list[Any]:
        """Give the runs that an execution waits for."""
        columns = self._runs.table.c
        found = self.store.select(RUNS, required_tenant(execution))
        found = found.where(columns.parent == execution, sa.not_(columns.ended))
        return await self.store.messages(RUNS, found.with_for_update(), connection=connection)

    async def plan(self, connection: AsyncConnection | None, name: str) -> WorkflowPlan:
        """Give a plan, unlocked: those who change plans lock the workflow first."""
        found = self.store.select(PLANS, required_tenant(name))
        found = found.where(self._plans.table.c.id == name.rpartition("/")[2])
        plans: Any = await self.store.messages(PLANS, found, connection=connection)
        if not plans:
            raise ResourceNotFound(name)
        plan: WorkflowPlan = plans[0]
        return plan

    async def current_plan(self, connection: AsyncConnection, workflow: str) -> Any:
        """Give the plan that new runs of a workflow follow, locked; None if there is none."""
        columns = self._plans.table.c
        found = self.store.select(PLANS, required_tenant(workflow))
        found = found.where(columns.workflow == workflow, columns.current).with_for_update()
        plans = await self.store.messages(PLANS, found, connection=connection)
        return plans[0] if plans else None

    async def add_plan(self, connection: AsyncConnection, plan: WorkflowPlan) -> None:
        """Add a plan."""
        await self._rows.add(connection, self._plans, plan, self.clock())

    async def save_plan(self, connection: AsyncConnection, plan: WorkflowPlan) -> None:
        """Write a plan that was locked."""
        await self._rows.replace(connection, self._plans, plan, self.clock())

    async def steps(
        self, execution: str, connection: AsyncConnection | None = None
    ) -> dict[str, WorkflowStepRun]:
        """Give the steps of a run, by path."""
        columns = self._steps.table.c
        found = self.store.select(STEP_RUNS, required_tenant(execution))
        found = found.where(columns.execution == execution)
        messages: Any = await self.store.messages(STEP_RUNS, found, connection=connection)
        return {each.path: each for each in messages}

    async def step(self, connection: AsyncConnection, execution: str, path: str) -> Any:
        """Give one step of a run that was locked; None if it has not begun."""
        columns = self._steps.table.c
        found = self.store.select(STEP_RUNS, required_tenant(execution))
        found = found.where(columns.execution == execution, columns.path == path)
        steps = await self.store.messages(STEP_RUNS, found, connection=connection)
        return steps[0] if steps else None

    async def save_step(self, connection: AsyncConnection, step: WorkflowStepRun) -> None:
        """Add a step, or write it anew."""
        if not step.name:
            tenant = required_tenant(step.execution)
            step.name = f"tenants/{tenant}/{STEP_RUNS}/{new_uuid()}"
        await self.store.upsert(connection, STEP_RUNS, [step])

    async def step_page(self, request: ListStepRunsRequest) -> Page:
        """Give steps of a run in the order of their paths; FilterInvalid, PageTokenInvalid."""
        # A name holds nothing that CEL would read as more than text.
        condition = f'execution == "{request.parent}"'
        if request.filter:
            # It must be a whole by itself, so that it cannot end the brackets around it.
            self.store.condition(self._steps, request.filter)
            condition = f"{condition} && ({request.filter}\n)"
        return await self.store.page(
            STEP_RUNS,
            f"tenants/{required_tenant(request.parent)}",
            filter=condition,
            order_by="path",
            page_size=request.page_size,
            page_token=request.page_token,
        )
