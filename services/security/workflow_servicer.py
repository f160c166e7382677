"""WorkflowService: workflows are activated and run, runs stopped, resumed and answered."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.identifiers import new_uuid
from mesh.server.call import current_call
from mesh.sql.changes import ChangeFeed
from mesh.sql.store import Store
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus, ExecutionStatus
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from secmesh.security.v1.workflow_run_pb2 import (
    WorkflowContent,
    WorkflowPlan,
    WorkflowStepRun,
)
from secmesh.security.v1.workflow_service_pb2_grpc import WorkflowServiceServicer
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import ApproverRefused, ExecutionState
from services.security.findings.due import set_moment
from services.security.users import is_active
from services.security.workflows.activation import MAX_STEPS, check
from services.security.workflows.closing import Ending, close_run, tell_others
from services.security.workflows.engine import Workflows
from services.security.workflows.journal import status_name
from services.security.workflows.json_values import from_struct
from services.security.workflows.plan import Plan, stored_plan
from services.security.workflows.run_store import EXECUTIONS, PLANS, run_of
from services.security.workflows.schedule import Schedule
from services.security.workflows.starting import Start
from services.security.writers import current_writer

STEPS = "workflow_steps"
_ENDED = "it has ended"


class WorkflowServicer(WorkflowServiceServicer):
    """Writes what runs follow; the executor of some process carries them on."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self, catalogue: Catalogue, store: Store, editor: RecordEditor, workflows: Workflows
    ) -> None:
        self._kinds = catalogue.record_kinds
        self._store = store
        self._editor = editor
        self._workflows = workflows
        self._tools = workflows.tools
        self._runs = workflows.tools.runs
        self._feed = ChangeFeed(store)

    async def ActivateWorkflow(
        self, request: pb.ActivateWorkflowRequest, _context: object
    ) -> Record:
        """Give the active workflow; WorkflowInvalid, PermissionMissing for what it watches."""
        revision = str(await self._feed.present(required_tenant(request.name)))
        async with self._store.transaction() as connection:
            record = await self._editor.find(connection, request.name, request.etag)
            content = WorkflowContent(workflow=record.workflow)
            for name, step in await self._steps(connection, request.name):
                content.steps.add(name=name, step=step)
            check(request.name, Plan.of(content), self._kinds)
            self._require_sight(record.workflow)
            await self._workflows.webhooks.check(request.name, record.workflow)
            record.workflow.status = DefinitionStatus.DEFINITION_STATUS_ACTIVE
            if request.validate_only:
                shown: Record = record
                return shown
            await self._retire(connection, request.name)
            plan = self._plan(request.name, content, revision)
            await self._set_activator(connection, plan)
            await self._runs.add_plan(connection, plan)
            written: Record = await self._editor.replace(connection, record)
            return written

    async def DeactivateWorkflow(
        self, request: pb.DeactivateWorkflowRequest, _context: object
    ) -> Record:
        """Give the paused workflow; WorkflowInactive is no error here."""
        async with self._store.transaction() as connection:
            record = await self._editor.find(connection, request.name, request.etag)
            await self._retire(connection, request.name)
            record.workflow.status = DefinitionStatus.DEFINITION_STATUS_PAUSED
            written: Record = await self._editor.replace(connection, record)
            return written

    async def RunWorkflow(self, request: pb.RunWorkflowRequest, _context: object) -> Record:
        """Give the run; WorkflowInactive, FieldInvalid, ReferenceNotFound."""
        start = Start(
            key=request.request_id or new_uuid(),
            trigger=WorkflowTrigger.WORKFLOW_TRIGGER_API,
            input=from_struct(request.input),
            incident=request.incident,
            subject=current_call().caller.subject,
        )
        async with self._store.transaction() as connection, connection.begin_nested() as savepoint:
            record: Record = await self._workflows.starter.start(connection, request.name, start)
            if request.validate_only:
                await savepoint.rollback()
        self._workflows.poke()
        return record

    async def ReceiveWebhook(self, request: pb.ReceiveWebhookRequest, _context: object) -> Record:
        """Give the run; WebhookRefused, and what ``Webhooks.receive`` says."""
        async with self._store.transaction() as connection:
            record: Record = await self._workflows.webhooks.receive(connection, request)
        self._workflows.poke()
        return record

    async def CancelExecution(self, request: pb.CancelExecutionRequest, _context: object) -> Record:
        """Give the run; ExecutionState if it has ended."""
        async with self._store.transaction() as connection:
            run = await self._open_run(connection, request.name)
            run.canceled_by = current_call().caller.subject
            run.cancel_reason = request.reason
            stops = self._runs.is_leased(run)
            if stops:
                self._runs.wake(run, self._runs.clock())
                await self._runs.save(connection, run)
                record: Record = await self._editor.find(connection, request.name)
            else:
                ending = Ending(ExecutionStatus.EXECUTION_STATUS_CANCELED)
                record = await close_run(self._tools, self._editor, connection, run, ending)
        if not stops:
            await tell_others(self._tools, run)
        self._workflows.poke()
        return record

    async def ResumeExecution(self, request: pb.ResumeExecutionRequest, _context: object) -> Record:
        """Give the run; ExecutionState if no step of it waits to be resumed."""
        async with self._store.transaction() as connection:
            run = await self._open_run(connection, request.name)
            steps = (await self._runs.steps(request.name, connection)).values()
            halted = [each for each in steps if each.state == WorkflowStepRun.STATE_HALTED]
            record: Record = await self._editor.find(connection, request.name)
            if not halted:
                status = status_name(record.workflow_execution.status)
                raise ExecutionState(request.name, status, "no step waits to be resumed")
            for step in halted:
                self._reset(step)
                await self._runs.save_step(connection, step)
            self._runs.wake(run, self._runs.clock())
            await self._runs.save(connection, run)
        self._workflows.poke()
        return record

    async def DecideApproval(
        self, request: pb.DecideApprovalRequest, _context: object
    ) -> WorkflowStepRun:
        """Give the step; ExecutionState, ApproverRefused."""
        async with self._store.transaction() as connection:
            run = await self._open_run(connection, request.name)
            step = await self._runs.step(connection, request.name, request.path)
            asked = await self._asked(connection, run, request.path)
            if step is None or step.state != WorkflowStepRun.STATE_WAITING or asked is None:
                state = WorkflowStepRun.State.Name(step.state) if step is not None else ""
                raise ExecutionState(request.name, state, f"{request.path} asks nobody now")
            tenant, subject = required_tenant(request.name), current_call().caller.subject
            found = await self._editor.users.of_subject(connection, tenant, subject)
            user = found.name if found is not None and is_active(found) else ""
            if not user or user not in asked:
                raise ApproverRefused(request.path, "is none of those who are asked")
            if any(each.user == user for each in step.decisions):
                raise ApproverRefused(request.path, "has answered already")
            said = step.decisions.add(user=user, approved=request.approve, comment=request.comment)
            set_moment(said, "decide_time", self._runs.clock())
            await self._runs.save_step(connection, step)
            self._runs.wake(run, self._runs.clock())
            await self._runs.save(connection, run)
        self._workflows.poke()
        answered: WorkflowStepRun = step
        return answered

    async def ListStepRuns(
        self, request: pb.ListStepRunsRequest, _context: object
    ) -> pb.ListStepRunsResponse:
        """Give one page of steps; ResourceNotFound if there is no such run."""
        page = await self._runs.step_page(request)
        if not page.items and not request.page_token:
            # No steps yet is an answer about what exists alone.
            await self._store.get(EXECUTIONS, request.parent, columns=["etag"])
        items: Any = page.items
        return pb.ListStepRunsResponse(step_runs=items, next_page_token=page.next_page_token)

    def _require_sight(self, workflow: Any) -> None:
        """Refuse to watch what the caller may not list; PermissionMissing."""
        if workflow.trigger_type == WorkflowTrigger.WORKFLOW_TRIGGER_EVENT:
            kind = self._kinds[workflow.trigger_config.collection]
            current_writer().require(kind.permission("list"))

    async def _set_activator(self, connection: AsyncConnection, plan: WorkflowPlan) -> None:
        """Tell whose mandate a plan has, if the caller is a user."""
        tenant = required_tenant(plan.name)
        user = await self._editor.users.of_subject(connection, tenant, plan.activated_by)
        if user is not None:
            plan.activator, plan.activator_role = user.name, user.user.role

    async def _steps(self, connection: AsyncConnection, workflow: str) -> list[tuple[str, Any]]:
        columns = self._store.target(STEPS).table.c
        found = self._store.select(STEPS, required_tenant(workflow))
        found = found.where(columns.workflow_id == workflow.rpartition("/")[2])
        records: Any = await self._store.messages(
            STEPS, found.order_by(columns.sort_order).limit(MAX_STEPS + 1), connection=connection
        )
        return [(each.name, each.workflow_step) for each in records]

    async def _retire(self, connection: AsyncConnection, workflow: str) -> None:
        old = await self._runs.current_plan(connection, workflow)
        if old is not None:
            old.current = False
            await self._runs.save_plan(connection, old)

    def _plan(self, name: str, content: WorkflowContent, revision: str) -> WorkflowPlan:
        workflow, caller = content.workflow, current_call().caller
        plan = WorkflowPlan(
            name=f"tenants/{required_tenant(name)}/{PLANS}/{new_uuid()}",
            workflow=name,
            current=True,
            trigger_type=workflow.trigger_type,
            activated_by=caller.subject,
            permissions=sorted(caller.permissions),
            timeout_seconds=workflow.timeout_seconds,
            max_concurrency=workflow.max_concurrency,
            content=content.SerializeToString(deterministic=True),
        )
        moment = self._runs.clock()
        set_moment(plan, "activate_time", moment)
        config = workflow.trigger_config
        if workflow.trigger_type == WorkflowTrigger.WORKFLOW_TRIGGER_EVENT:
            plan.revision = revision
        if workflow.trigger_type == WorkflowTrigger.WORKFLOW_TRIGGER_SCHEDULE:
            due = Schedule(config.cron, config.timezone).after(moment)
            set_moment(plan, "next_time", due or 0)
        return plan

    async def _open_run(self, connection: AsyncConnection, name: str) -> Any:
        """Give the run of an execution, locked; ResourceNotFound, ExecutionState."""
        run = await self._runs.lock(connection, run_of(name))
        if run.ended:
            found: Any = await self._store.get(EXECUTIONS, name, connection=connection)
            status = status_name(found.workflow_execution.status)
            raise ExecutionState(name, status, _ENDED)
        return run

    async def _asked(self, connection: AsyncConnection, run: Any, path: str) -> Any:
        """Give who may answer a step; None if it asks nobody."""
        stored = await self._runs.plan(connection, run.plan)
        node = stored_plan(stored.content).nodes.get(path.rpartition("/")[2])
        return node.config.users if node is not None and node.type == "APPROVAL" else None

    def _reset(self, step: WorkflowStepRun) -> None:
        """Let a step be done from its beginning; its tries stay told."""
        step.state = WorkflowStepRun.STATE_UNSPECIFIED
        step.attempts_before = len(step.attempts)
        step.resumptions += 1
        step.child = ""
        for name in ("decisions", "result", "error_message", "wake_time", "end_time"):
            step.ClearField(name)
        set_moment(step, "start_time", self._runs.clock())
