"""Playbooks: their steps become the tasks of an incident."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.cel import Environment
from mesh.contract.catalogue import Kind
from mesh.errors import FilterInvalid, PermissionMissing, ResourceNotFound
from mesh.identity.caller import Caller
from mesh.sql.store import Store
from secmesh.security.v1.incident_response_pb2 import IncidentResponse, ResponseActionType
from secmesh.security.v1.response_playbook_pb2 import ResponsePlaybook
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus, TaskStatus
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import PlaybookRefused
from services.security.findings.due import set_moment
from services.security.incidents.life import INCIDENTS
from services.security.workflows.starting import Start, Starter

PLAYBOOKS, RESPONSES = "response_playbooks", "incident_responses"
MAX_TASKS, MAX_DEPTH = 1000, 8
MAX_STEPS = 5000
"""Steps that are gone through, of all playbooks that call each other."""
_SECOND = 1_000_000
_OPEN = (TaskStatus.TASK_STATUS_WAITING, TaskStatus.TASK_STATUS_IN_PROGRESS)
_Type = ResponsePlaybook.StepType


@dataclass(frozen=True)
class Task:
    """One action of a playbook, laid out."""

    playbook: str
    step: Any
    order: int
    """Place; those that begin together have the same."""
    seconds: int | None
    """From the start until it must be done; None if no step on the way says."""


@dataclass(frozen=True)
class Followed:
    """What came of following a playbook."""

    tasks: list[Any]
    started: bool
    execution: str = ""


class Playbooks:
    """Follows playbooks within transactions of the caller."""

    def __init__(
        self, store: Store, editor: RecordEditor, kinds: Mapping[str, Kind], starter: Starter
    ) -> None:
        self._store = store
        self._editor = editor
        self._conditions = Environment.of_kind(kinds[INCIDENTS])
        self._starter = starter

    async def follow(
        self, connection: AsyncConnection, incident: str, playbook: str, etag: str, caller: Caller
    ) -> Followed:
        """Make the tasks of a playbook, unless some of it are open; PlaybookRefused.

        ResourceNotFound, EtagMismatch, PermissionMissing where somebody must agree first.
        """
        record = await self._editor.find(connection, incident, etag)
        book = await self._editor.find(connection, playbook)
        if tasks := await self._open(connection, incident, playbook):
            execution = next((each.incident_response.execution_id for each in tasks), "")
            return Followed(tasks, started=False, execution=execution)
        body = book.response_playbook
        self._check(record.incident, book, caller)
        layout = _Layout(self, connection, record)
        laid = [each async for each in layout.tasks(playbook, body, caller)]
        execution = await self._run(connection, incident, body, caller)
        made = await self._make(connection, record, laid, execution)
        record.incident.playbook_id = playbook
        await self._editor.replace(connection, record)
        body.execution_count += 1
        set_moment(body, "last_execute_time", self._editor.clock())
        await self._editor.replace(connection, book)
        return Followed(made, started=True, execution=execution)

    def holds(self, playbook: str, step: Any, record: Any) -> bool:
        """Tell whether the condition of a step holds of an incident; PlaybookRefused."""
        try:
            condition = self._conditions.compile(step.condition)
        except FilterInvalid as error:
            raise PlaybookRefused(playbook, f"step {step.step_id}: {error.message}") from None
        return condition.matches(record.incident, record) is True

    async def book(self, connection: AsyncConnection, name: str, caller: Caller) -> Any:
        """Give a playbook that another one follows; PlaybookRefused if there is none.

        PermissionMissing where somebody must agree first, whoever calls it.
        """
        try:
            found: Any = await self._store.get(PLAYBOOKS, name, connection=connection)
        except ResourceNotFound:
            raise PlaybookRefused(name, "does not exist") from None
        _require_agreement(found.response_playbook, caller)
        return found.response_playbook

    @staticmethod
    def _check(incident: Any, book: Any, caller: Caller) -> None:
        body = book.response_playbook
        if body.status != DefinitionStatus.DEFINITION_STATUS_ACTIVE:
            raise PlaybookRefused(book.name, "is not in use")
        if body.category_id and body.category_id != incident.category_id:
            raise PlaybookRefused(book.name, "is for incidents of another category")
        _require_agreement(body, caller)

    async def _open(self, connection: AsyncConnection, incident: str, playbook: str) -> list[Any]:
        columns = self._store.target(RESPONSES).table.c
        found = self._store.select(RESPONSES, required_tenant(incident)).where(
            columns.incident_id == incident.rpartition("/")[2],
            columns.playbook_id == playbook.rpartition("/")[2],
            columns.status.in_(_OPEN),
        )
        found = found.order_by(columns.sort_order, columns.id)
        return await self._store.messages(RESPONSES, found, connection=connection)

    async def _run(
        self, connection: AsyncConnection, incident: str, body: Any, caller: Caller
    ) -> str:
        """Start the workflow that carries out a playbook; give the run, empty if people do all."""
        if not (body.is_automated and body.workflow_id):
            return ""
        needed = "security.workflows.run"
        if not caller.permits(needed):
            raise PermissionMissing(needed)
        key = f"{incident.rpartition('/')[2]}@{self._editor.clock()}"
        trigger = WorkflowTrigger.WORKFLOW_TRIGGER_API
        start = Start(key, trigger, incident, incident=incident, subject=caller.subject)
        made = await self._starter.start(connection, body.workflow_id, start)
        return str(made.name)

    async def _make(
        self,
        connection: AsyncConnection,
        record: Any,
        laid: list[Task],
        execution: str,
    ) -> list[Any]:
        present, made = self._editor.clock(), []
        tenant = required_tenant(record.name)
        for each in laid:
            automated = bool(execution) and not each.step.requires_approval
            task: Any = IncidentResponse(
                incident_id=record.name,
                playbook_id=each.playbook,
                title=each.step.title,
                action_type=each.step.action_type or ResponseActionType.RESPONSE_ACTION_TYPE_OTHER,
                status=TaskStatus.TASK_STATUS_WAITING,
                sort_order=each.order,
                is_automated=automated,
            )
            if automated:
                task.execution_id = execution
                task.status = TaskStatus.TASK_STATUS_IN_PROGRESS
                set_moment(task, "start_time", present)
            elif record.incident.assignee_user_id:
                task.assignee_user_id = record.incident.assignee_user_id
            if each.seconds is not None:
                set_moment(task, "due_time", present + each.seconds * _SECOND)
            made.append(await self._editor.add(connection, tenant, RESPONSES, task))
        return made


class _Layout:
    """Goes through the steps of a playbook as they follow when all goes well."""

    def __init__(self, playbooks: Playbooks, connection: AsyncConnection, record: Any) -> None:
        self._playbooks = playbooks
        self._connection = connection
        self._record = record
        self._books: dict[str, Any] = {}
        """Playbooks that others follow, each read once however many times it is called."""
        self._order = 0
        self._count = 0
        self._passed = 0

    async def tasks(
        self, playbook: str, body: Any, caller: Caller, depth: int = 0, begun: int | None = None
    ) -> AsyncIterator[Task]:
        """Give the tasks in their order; PlaybookRefused for what cannot be laid out."""
        steps = {each.step_id: each for each in body.steps}
        if depth > MAX_DEPTH or len(steps) < len(body.steps):
            problem = "has two steps of one id" if depth <= MAX_DEPTH else "calls itself too deeply"
            raise PlaybookRefused(playbook, problem)
        front: list[tuple[str, int | None]] = [(body.steps[0].step_id, begun)]
        seen: set[str] = set()
        while front:
            # The steps that begin together.
            self._order += 1
            following: list[tuple[str, int | None]] = []
            for step_id, seconds in front:
                if step_id in seen:
                    continue
                step = steps.get(step_id)
                if step is None:
                    raise PlaybookRefused(playbook, f"has no step {step_id!r}")
                seen.add(step_id)
                self._check(playbook, step)
                self._pass(playbook)
                spent = _later(seconds, step)
                if step.step_type == _Type.STEP_TYPE_ACTION:
                    yield self._task(playbook, step, spent)
                elif step.step_type == _Type.STEP_TYPE_PLAYBOOK_ACTION:
                    inner = await self._book(step.playbook_id, caller)
                    below = self.tasks(step.playbook_id, inner, caller, depth + 1, seconds)
                    async for task in below:
                        # What follows begins when the last of them is done.
                        spent = max(spent or 0, task.seconds or 0) or None
                        yield task
                following += [(each, spent) for each in self._next(playbook, step)]
            front = following

    async def _book(self, name: str, caller: Caller) -> Any:
        """Give a playbook that another one follows; see ``Playbooks.book``."""
        if name not in self._books:
            self._books[name] = await self._playbooks.book(self._connection, name, caller)
        return self._books[name]

    def _pass(self, playbook: str) -> None:
        """Count a step: playbooks that call each other many times over may make no task at all."""
        self._passed += 1
        if self._passed > MAX_STEPS:
            raise PlaybookRefused(playbook, f"is one of more than {MAX_STEPS} steps")

    def _task(self, playbook: str, step: Any, seconds: int | None) -> Task:
        self._count += 1
        if self._count > MAX_TASKS:
            raise PlaybookRefused(playbook, f"makes more than {MAX_TASKS} tasks")
        return Task(playbook, step, self._order, seconds)

    def _next(self, playbook: str, step: Any) -> Iterator[str]:
        if step.step_type == _Type.STEP_TYPE_END:
            return
        if step.step_type == _Type.STEP_TYPE_PARALLEL:
            yield from step.next_steps
        chosen = step.on_success
        if step.step_type == _Type.STEP_TYPE_IF_CONDITION:
            holds = self._playbooks.holds(playbook, step, self._record)
            chosen = step.on_success if holds else step.on_failure
        if chosen:
            yield chosen

    @staticmethod
    def _check(playbook: str, step: Any) -> None:
        """Refuse what is only known once tasks were done."""
        if step.step_type == _Type.STEP_TYPE_WHILE_CONDITION:
            problem = "WHILE_CONDITION cannot be laid out as tasks"
        elif step.on_failure and step.step_type != _Type.STEP_TYPE_IF_CONDITION:
            problem = "on_failure of what is no condition cannot be laid out as tasks"
        elif step.step_type == _Type.STEP_TYPE_PLAYBOOK_ACTION and not step.playbook_id:
            problem = "names no playbook"
        else:
            return
        raise PlaybookRefused(playbook, f"step {step.step_id}: {problem}")


def _require_agreement(body: Any, caller: Caller) -> None:
    needed = f"security.{PLAYBOOKS}.approve"
    if body.requires_approval and not caller.permits(needed):
        raise PermissionMissing(needed)


def _later(seconds: int | None, step: Any) -> int | None:
    if not step.HasField("timeout_seconds"):
        return seconds
    spent: int = (seconds or 0) + step.timeout_seconds
    return spent
