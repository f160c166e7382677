"""The parts of one more process that runs workflows, in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache

from mesh.records.moments import now
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from services.security.editing import RecordEditor
from services.security.findings.life import FindingLife
from services.security.guards import Guards
from services.security.incidents.life import IncidentLife
from services.security.workflows.engine import Workflows
from tests.service.security_world import CATALOGUE
from tests.service.workflow_world import Shop

HOUR = 3_600_000_000


@cache
def tables() -> Tables:
    return Tables(CATALOGUE, isolated=True)


@asynccontextmanager
async def engine(world: Shop, later: int = 0) -> AsyncIterator[Workflows]:
    """Open the parts of one more process, whose clock is so many microseconds ahead."""
    owner, application = open_engine(world.access.owner), open_engine(world.access.application)
    store = Store(application, tables(), page_key=b"k" * 32, owner=owner)
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
