"""Carries on the runs of all tenants: leased one by one, so that several processes share them."""

import asyncio
import contextlib
import logging
from datetime import timedelta
from functools import partial
from typing import Any

from mesh.errors import Refusal, ResourceNotFound
from mesh.sql.alone import alone
from mesh.sql.tenancy import acting_for
from mesh.sql.transactions import act_as
from secmesh.security.v1.vocabulary_operation_pb2 import ExecutionStatus
from secmesh.security.v1.workflow_run_pb2 import WorkflowRun
from services.security.editing import RecordEditor
from services.security.findings.due import moment_of, set_moment
from services.security.workflows.actions import Tools
from services.security.workflows.journal import ACTOR
from services.security.workflows.passage import Passage
from services.security.workflows.run_store import LeaseLost, execution_of

AT_ONCE = 12
"""Runs that a process carries on at a time.

A tenant begins another one only while it has fewer than there are places left: alone it has half
of them, so that whoever comes next waits for nobody.
"""
_LOOK_SECONDS = 1.0
_BEAT_SECONDS = 1.0
_SECOND = 1_000_000
_LOG = logging.getLogger(__name__)


class Executor:
    """Looks for runs that go on, and carries them until they end or wait."""

    def __init__(self, tools: Tools, editor: RecordEditor) -> None:
        self._tools = tools
        self._runs = tools.runs
        self._editor = editor
        self._passage = Passage(tools, editor)
        self._work = asyncio.Event()
        self._live: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """Tenant and task of each run that is carried on."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, and be told by this process of new runs."""
        self._tools.starter.poke = self._work.set
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; what is being done is left to other processes."""
        tasks = {
            *(task for _, task in self._live.values()),
            *((self._task,) if self._task is not None else ()),
        }
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _for_ever(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - nobody would look again if this task ended
                _LOG.exception("runs of workflows could not be looked for")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._work.wait()
            self._work.clear()

    async def look(self) -> int:
        """Begin to carry on what is due, and give how many runs."""
        begun, full = 0, set[str]()
        while len(self._live) < AT_ONCE:
            found = await self._runs.due(AT_ONCE + len(self._live), full)
            fresh = [each for each in found if each[1] not in self._live]
            for tenant, name in fresh:
                if self._has_place(tenant):
                    self._begin(tenant, name)
                    begun += 1
                else:
                    full.add(tenant)
            # Whoever was full is asked no more: others may come behind.
            if not fresh:
                break
        return begun

    def _has_place(self, tenant: str) -> bool:
        mine = sum(owner == tenant for owner, _ in self._live.values())
        return mine < AT_ONCE - len(self._live)

    def _begin(self, tenant: str, name: str) -> None:
        task = asyncio.create_task(self._carry(tenant, name))
        self._live[name] = tenant, task
        task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, _task: "asyncio.Task[None]") -> None:
        self._live.pop(name, None)
        self._work.set()

    async def _carry(self, tenant: str, name: str) -> None:
        where = {"fields": {"run": name}}
        with acting_for(tenant):
            try:
                run = await self._claim(name)
                if run is not None:
                    await self._guarded(run)
            except LeaseLost:
                _LOG.warning("another process carries on a run", extra=where)
            except Exception as error:  # noqa: BLE001 - counted, so that it ends at some time
                _LOG.exception("a run could not be carried on", extra=where)
                # Texts of unexpected errors may hold anything.
                problem = error.message if isinstance(error, Refusal) else type(error).__name__
                with alone(_LOG, "nor could that be told", name):
                    await self._passage.fail(name, problem)

    async def _claim(self, name: str) -> WorkflowRun | None:
        """Lease a run that is due; None if there is nothing to do now."""
        async with self._runs.store.transaction() as connection:
            run: WorkflowRun = await self._runs.lock(connection, name)
            present = self._runs.clock()
            left = run.HasField("lease_expire_time")
            woken = run.HasField("wake_time") and moment_of(run, "wake_time") <= present
            if run.ended or self._runs.is_leased(run) or not (woken or left):
                return None
            await act_as(connection, f"{ACTOR}{execution_of(name)}")
            try:
                record = await self._editor.find(connection, execution_of(name))
            except ResourceNotFound:
                # Deleted by somebody, and its steps with it.
                run.ended = True
                await self._runs.save(connection, run)
                return None
            if not run.begun and not run.canceled_by:
                if not await self._may_begin(connection, run):
                    set_moment(run, "wake_time", present + _SECOND)
                    await self._runs.save(connection, run)
                    return None
                run.begun = True
                body = record.workflow_execution
                body.status = ExecutionStatus.EXECUTION_STATUS_RUNNING
                set_moment(body, "start_time", present)
                await self._editor.replace(connection, record)
            self._runs.take(run)
            await self._runs.save(connection, run)
            return run

    async def _may_begin(self, connection: Any, run: WorkflowRun) -> bool:
        """Tell whether another run of the workflow may be under way; asked one by one."""
        plan = await self._runs.plan(connection, run.plan)
        if not plan.max_concurrency:
            return True
        await self._editor.find(connection, run.workflow)
        return await self._runs.begun(connection, run.workflow) < plan.max_concurrency

    async def _guarded(self, run: WorkflowRun) -> None:
        """Carry on a run while its lease is renewed; who stops it interrupts what is being done."""
        work = asyncio.create_task(self._passage.go(run))
        beat = min(_BEAT_SECONDS, self._runs.lease / timedelta(seconds=3))
        try:
            while not (await asyncio.wait({work}, timeout=beat))[0]:
                if await self._runs.renew(run.name):
                    work.cancel()
                    await asyncio.wait({work})
                    # Begun anew, it finds that it is to stop.
                    work = asyncio.create_task(self._passage.go(run))
            await work
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work})
            await self._passage.leave(run)
            raise
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
