"""SQL of scheduled reports: which are due, which runs there is something to do for, documents."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.identifiers import new_uuid
from mesh.records.moments import Clock
from mesh.sql.paging import Page
from mesh.sql.rows import Rows
from mesh.sql.store import TENANT, Store
from secmesh.security.v1.analytics_report_run_pb2 import (
    AnalyticsReportDocument,
    AnalyticsReportRun,
    AnalyticsReportSchedule,
)
from secmesh.security.v1.analytics_service_pb2 import ListReportRunsRequest
from services.security.editing import required_tenant
from services.security.findings.due import moment_of, set_moment

SCHEDULES, RUNS, DOCUMENTS = (
    "analytics_report_schedules",
    "analytics_report_runs",
    "analytics_report_documents",
)
BUSY = timedelta(minutes=10)
"""Time that a process has for a step of a run, before another one tries."""
BATCH = 50
_MICROSECOND = timedelta(microseconds=1)


def schedule_of(report: str) -> str:
    """Give the name of the schedule of a report."""
    return f"tenants/{required_tenant(report)}/{SCHEDULES}/{report.rpartition('/')[2]}"


class ReportRunStore:
    """Schedules and runs of all tenants; processes may work on them at once."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self._rows = Rows(store)

    async def due_schedules(self) -> Sequence[tuple[str, str]]:
        """Give tenant and name of schedules that are due."""
        return await self._due(SCHEDULES, "next_time")

    async def due_runs(self) -> Sequence[tuple[str, str]]:
        """Give tenant and name of runs that there is something to do for."""
        return await self._due(RUNS, "work_time")

    async def _due(self, collection: str, time: str) -> Sequence[tuple[str, str]]:
        columns = self.store.target(collection).table.c
        present = sa.literal(self.clock(), columns[time].type)
        statement = (
            sa.select(columns[TENANT], columns.id)
            .where(columns[time] <= present)
            .order_by(columns[time])
            .limit(BATCH)
        )
        async with self.store.whole() as connection:
            rows: Any = await self.store.fetch(statement, connection)
        return [(row[0], f"tenants/{row[0]}/{collection}/{row[1]}") for row in rows]

    async def schedule(self, connection: AsyncConnection, name: str) -> Any:
        """Give a schedule, the transaction's own until its end; None if there is none."""
        return await self._rows.find(connection, self.store.target(SCHEDULES), name)

    async def read_schedule(self, name: str) -> Any:
        """Give a schedule; ResourceNotFound."""
        return await self.store.get(SCHEDULES, name)

    async def put_schedule(
        self, connection: AsyncConnection, schedule: AnalyticsReportSchedule
    ) -> None:
        """Write a schedule, whether there was one or not."""
        await self.store.upsert(connection, SCHEDULES, [schedule])

    async def add_run(
        self, connection: AsyncConnection, tenant: str, run: AnalyticsReportRun
    ) -> None:
        """Add a run; ResourceExists if there is one of its due time."""
        run.name = f"tenants/{tenant}/{RUNS}/{new_uuid()}"
        await self._rows.add(connection, self.store.target(RUNS), run, self.clock())

    async def claim(self, name: str) -> Any:
        """Give a run that this process has a while for; None if there is nothing to do."""
        async with self.store.transaction() as connection:
            run: Any = await self._rows.find(connection, self.store.target(RUNS), name)
            present = self.clock()
            if run is None or not run.HasField("work_time"):
                return None
            if moment_of(run, "work_time") > present:
                return None
            run.attempts += 1
            set_moment(run, "work_time", present + BUSY // _MICROSECOND)
            await self._rows.replace(connection, self.store.target(RUNS), run, present)
        return run

    async def keep(self, connection: AsyncConnection, claimed: Any, run: Any) -> bool:
        """Write what came of a claimed run; False if another process took it over since."""
        target = self.store.target(RUNS)
        found: Any = await self._rows.find(connection, target, run.name)
        if found is None or found.work_time != claimed.work_time:
            return False
        await self._rows.replace(connection, target, run, self.clock())
        return True

    async def add_document(self, connection: AsyncConnection, run: str, content: bytes) -> None:
        """Keep the document of a run."""
        document = AnalyticsReportDocument(name=_document_of(run), run=run, document=content)
        await self.store.upsert(connection, DOCUMENTS, [document])

    async def document(self, run: str) -> bytes:
        """Give the document of a run; ResourceNotFound."""
        found: Any = await self.store.get(DOCUMENTS, _document_of(run))
        content: bytes = found.document
        return content

    async def forget_document(self, connection: AsyncConnection, run: str) -> None:
        """Delete the document of a run."""
        columns = self.store.target(DOCUMENTS).table.c
        gone = self.store.delete(DOCUMENTS, required_tenant(run))
        await connection.execute(gone.where(columns.id == run.rpartition("/")[2]))

    async def run(self, name: str) -> Any:
        """Give a run; ResourceNotFound."""
        return await self.store.get(RUNS, name)

    async def page(self, request: ListReportRunsRequest) -> Page:
        """Give runs of a report, the last one first; FilterInvalid, PageTokenInvalid."""
        # A name holds nothing that CEL would read as more than text.
        condition = f'report == "{request.parent}"'
        if request.filter:
            # It must be a whole by itself, so that it cannot end the brackets around it.
            self.store.condition(self.store.target(RUNS), request.filter)
            condition = f"{condition} && ({request.filter}\n)"
        return await self.store.page(
            RUNS,
            f"tenants/{required_tenant(request.parent)}",
            filter=condition,
            order_by="due_time desc",
            page_size=request.page_size,
            page_token=request.page_token,
        )


def _document_of(run: str) -> str:
    return f"tenants/{required_tenant(run)}/{DOCUMENTS}/{run.rpartition('/')[2]}"
