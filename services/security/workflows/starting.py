"""New runs: what they follow, what they are given, and that each is started once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceExists, ResourceNotFound
from mesh.sql.store import Store
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus, ExecutionStatus
from secmesh.security.v1.workflow_execution_pb2 import WorkflowExecution
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from secmesh.security.v1.workflow_run_pb2 import WorkflowRun
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import WorkflowInactive, WorkflowInvalid
from services.security.findings.due import set_moment
from services.security.workflows.inputs import check_input
from services.security.workflows.json_values import to_struct
from services.security.workflows.plan import stored_plan
from services.security.workflows.run_store import EXECUTIONS, RunStore, run_of

MAX_DEPTH = 8
"""Workflows that run one another."""
MAX_DESCENDANTS = 1000
"""Runs below one that nobody waits for, all depths and rounds of loops together."""
_SECOND = 1_000_000


@dataclass(frozen=True)
class Start:
    """What starts a run."""

    key: str
    """Names the run: asked for twice, it is started once."""
    trigger: Any = WorkflowTrigger.WORKFLOW_TRIGGER_API
    ref: str = ""
    """What exactly it was, such as the name of a changed record."""
    input: Mapping[str, Any] = field(default_factory=dict)
    incident: str = ""
    subject: str = ""
    """Who asked; empty if nobody did."""
    parent: str = ""
    """The execution that waits for it."""
    depth: int = 0


class Starter:
    """Starts runs within transactions of the caller."""

    def __init__(self, store: Store, runs: RunStore, editor: RecordEditor) -> None:
        self._store = store
        self._runs = runs
        self._editor = editor
        self.poke: Callable[[], None] = lambda: None
        """Tells the executor of this process that there may be work, once there is one."""

    async def start(self, connection: AsyncConnection, workflow: str, start: Start) -> Any:
        """Give the execution, that of the same key if there is one.

        ResourceNotFound, WorkflowInactive, FieldInvalid, ReferenceNotFound.
        """
        # Runs are locked before workflows, as those that carry them on do.
        root = await self._root(connection, start)
        record = await self._editor.find(connection, workflow)
        plan = await self._runs.current_plan(connection, workflow)
        if plan is None or record.workflow.status != DefinitionStatus.DEFINITION_STATUS_ACTIVE:
            raise WorkflowInactive(workflow)
        if start.depth > MAX_DEPTH:
            raise WorkflowInvalid("", f"more than {MAX_DEPTH} workflows run one another")
        tenant = required_tenant(workflow)
        execution = await self._execution(connection, tenant, workflow, plan, start)
        try:
            made = await self._editor.add(connection, tenant, EXECUTIONS, execution)
        except ResourceExists as error:
            return await self._same(connection, workflow, start, error)
        await self._add_run(connection, made.name, plan, start, root)
        moment = self._editor.clock()
        set_moment(record.workflow, "last_run_time", moment)
        await self._editor.replace(connection, record)
        return made

    async def _execution(
        self, connection: AsyncConnection, tenant: str, workflow: str, plan: Any, start: Start
    ) -> WorkflowExecution:
        """Make what callers read of a run; FieldInvalid for what its workflow does not take."""
        content = stored_plan(plan.content).workflow
        check_input(content.definition.parameters, start.input)
        execution: Any = WorkflowExecution(
            workflow_id=workflow,
            execution_key=start.key,
            workflow_version=content.version,
            status=ExecutionStatus.EXECUTION_STATUS_PENDING,
            trigger_type=start.trigger,
            trigger_ref=start.ref,
            attempt=1,
        )
        execution.input.CopyFrom(to_struct(start.input))
        if start.incident:
            execution.incident_id = start.incident
        if start.subject:
            user = await self._editor.user_of(connection, tenant, start.subject)
            if user:
                execution.started_by_user_id = user
        made: WorkflowExecution = execution
        return made

    async def _same(
        self, connection: AsyncConnection, workflow: str, start: Start, error: ResourceExists
    ) -> Any:
        """Give the run that was started alike; ``error`` for another one, or a mere record."""
        found: Any = await self._store.get(
            EXECUTIONS, error.metadata["resource"], connection=connection
        )
        try:
            run = await self._runs.lock(connection, run_of(found.name))
        except ResourceNotFound:
            raise error from None
        if run.workflow != workflow or run.parent != start.parent:
            raise error
        return found

    async def _root(self, connection: AsyncConnection, start: Start) -> Any:
        """Give the run that began all this, locked; None if this one does. WorkflowInvalid."""
        if not start.parent:
            return None
        parent = await self._runs.lock(connection, run_of(start.parent))
        root = parent
        if parent.root:
            root = await self._runs.lock(connection, run_of(parent.root))
        if root.descendants >= MAX_DESCENDANTS:
            raise WorkflowInvalid("", f"more than {MAX_DESCENDANTS} runs come of one")
        return root

    async def _add_run(
        self, connection: AsyncConnection, execution: str, plan: Any, start: Start, root: Any
    ) -> None:
        run = WorkflowRun(
            name=run_of(execution),
            workflow=plan.workflow,
            plan=plan.name,
            parent=start.parent,
            depth=start.depth,
            root=root.execution if root is not None else "",
            execution=execution,
        )
        moment = self._editor.clock()
        set_moment(run, "wake_time", moment)
        if plan.timeout_seconds:
            set_moment(run, "deadline", moment + plan.timeout_seconds * _SECOND)
        await self._runs.add(connection, run)
        if root is not None:
            root.descendants += 1
            await self._runs.save(connection, root)
