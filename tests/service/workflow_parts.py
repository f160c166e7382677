"""The parts of one more process that runs workflows, in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict

from mesh.identifiers import new_uuid
from mesh.identity.caller import Caller
from mesh.records.moments import now
from mesh.server.call import Call, enter_call
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_pb2 import Record
from services.security.editing import RecordEditor
from services.security.findings.life import FindingLife
from services.security.guards import Guards
from services.security.incidents.life import IncidentLife
from services.security.workflow_servicer import WorkflowServicer
from services.security.workflows.engine import Workflows
from services.security.workflows.starting import Start
from tests.derived import tables_of
from tests.service.security_world import CATALOGUE
from tests.service.workflow_world import Shop

HOUR = 3_600_000_000


@asynccontextmanager
async def engine(world: Shop, later: int = 0) -> AsyncIterator[Workflows]:
    """Open the parts of one more process, whose clock is so many microseconds ahead."""
    owner, application = open_engine(world.access.owner), open_engine(world.access.application)
    tables = tables_of(CATALOGUE, isolated=True)
    store = Store(application, tables, page_key=b"k" * 32, owner=owner)
    editor = RecordEditor(store, CATALOGUE, lambda: now() + later)
    lives = FindingLife(store, CATALOGUE), IncidentLife(store, editor)
    try:
        yield Workflows(store, CATALOGUE, Guards([]), lives, editor)
    finally:
        await application.dispose()
        await owner.dispose()


def at_once(world: Shop, later: int, times: int = 2) -> int:
    """Look at triggers in so many processes at once, and give how many runs they started."""

    async def look(each: Callable[[], Awaitable[int]]) -> int:
        return await each()

    async def all_of_them() -> int:
        async with engine(world, later) as first, engine(world, later) as second:
            looks = [first.triggers.look, second.triggers.look][:times]
            return sum(await asyncio.gather(*(look(each) for each in looks)))

    return asyncio.run(all_of_them())


@dataclass
class Unserved(Shop):
    """A database that no process serves: a test alone decides what happens when."""

    tenant: str = "acme"

    def create(self, collection: str, body: str, /, *_: str, **values: Any) -> str:
        async def add() -> str:
            async with engine(self) as parts, parts.tools.runs.store.transaction() as connection:
                record = await editor_of(parts).add(connection, self.tenant, collection, made)
                return str(record.name)

        made = getattr(Record(), body)
        ParseDict(values, made)
        with acting_for(self.tenant):
            return asyncio.run(add())

    def active(self, *steps: Mapping[str, Any], **values: Any) -> str:
        async def activate() -> None:
            caller = Caller("ann", self.tenant, frozenset({"security.*.*"}))
            enter_call(Call("/x", caller=caller, tenant=self.tenant))
            async with engine(self) as parts:
                store = parts.tools.runs.store
                servicer = WorkflowServicer(CATALOGUE, store, editor_of(parts), parts)
                await servicer.ActivateWorkflow(pb.ActivateWorkflowRequest(name=name), None)

        name = self.workflow(*steps, **values)
        asyncio.run(activate())
        return name

    def of_tenant(self, tenant: str) -> "Unserved":
        """Give the same database, in which another tenant works."""
        return Unserved(self.access, self.home, tenant=tenant)


def editor_of(parts: Workflows) -> RecordEditor:
    """Give an editor of the store of a process."""
    return RecordEditor(parts.tools.runs.store, CATALOGUE)


async def begin(parts: Workflows, workflow: str, **fields: Any) -> str:
    """Start a run, and give its execution."""
    with acting_for(workflow.split("/")[1]):
        async with parts.tools.runs.store.transaction() as connection:
            start = Start(new_uuid(), **fields)
            made = await parts.starter.start(connection, workflow, start)
    return str(made.name)
