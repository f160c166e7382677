"""Dashboards that are measured by the service itself, as their labels say."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from mesh.errors import Refusal, ResourceNotFound
from mesh.sql.references import ID
from mesh.sql.store import TENANT, Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.vocabulary_pb2 import TrendPeriod
from services.security.analytics.dashboards import DASHBOARDS
from services.security.analytics.metrics import Metrics

LABEL = "record_metrics"
"""Label of a dashboard that says for which spans of time it is measured."""
PERIODS = {
    word: TrendPeriod.Value(f"TREND_PERIOD_{word.upper()}")
    for word in ("hour", "day", "week", "month")
}
EVERY = timedelta(minutes=10)
_LOG = logging.getLogger(__name__)


class MetricSchedule:
    """Measures again and again: what was measured last in a span of time stands for it.

    It looks as the owner of the tables, and reads and writes for the tenant of each dashboard
    alone. Processes may do so at once.
    """

    def __init__(self, store: Store, metrics: Metrics, every: timedelta = EVERY) -> None:
        self._store = store
        self._metrics = metrics
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Measure at once and then again and again, until ``close``."""
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; a dashboard that is being measured keeps its values of before."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def look(self) -> int:
        """Measure every dashboard that wants it, of every tenant; give how many values."""
        measured = 0
        for tenant, dashboard, word in await self._wanted():
            name = f"tenants/{tenant}/{DASHBOARDS}/{dashboard}"
            with acting_for(tenant), contextlib.suppress(ResourceNotFound):
                answer = await self._metrics.record(name, PERIODS[word])
                measured += answer.created + answer.replaced
                for problem in answer.problems:
                    _LOG.warning("%s: a widget was not measured", name)
                    _LOG.debug("%s: %s", problem.widget, problem.error.message)
        return measured

    async def _wanted(self) -> list[tuple[str, str, str]]:
        columns = self._store.target(DASHBOARDS).table.c
        word = columns.labels.op("->>", return_type=sa.Text())(sa.literal(LABEL, sa.Text()))
        statement: sa.Select[Any] = sa.select(columns[TENANT], columns[ID], word).where(
            word.in_(sorted(PERIODS))
        )
        async with self._store.whole() as connection:
            rows: Sequence[Any] = await self._store.fetch(
                statement.order_by(columns[TENANT], columns[ID]), connection
            )
        return [(str(row[0]), str(row[1]), str(row[2])) for row in rows]

    async def _for_ever(self) -> None:
        while True:
            try:
                await self.look()
            except Refusal:
                _LOG.exception("dashboards were not measured")
            await asyncio.sleep(self._every.total_seconds())
