"""Dashboards that are measured by the service itself, as their labels say."""

import contextlib
import logging
from datetime import timedelta

from mesh.contract.names import tenant_of
from mesh.errors import ResourceNotFound
from mesh.sql.alone import alone
from mesh.sql.recurring import Recurring
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.vocabulary_pb2 import TrendPeriod
from services.security.analytics.dashboard_store import labelled
from services.security.analytics.metrics import Metrics

LABEL = "record_metrics"
"""Label of a dashboard that says for which spans of time it is measured."""
PERIODS = {
    word: TrendPeriod.Value(f"TREND_PERIOD_{word.upper()}")
    for word in ("hour", "day", "week", "month")
}
EVERY = timedelta(minutes=10)
_LOG = logging.getLogger(__name__)


class MetricSchedule(Recurring):
    """Measures again and again: what was measured last in a span of time stands for it.

    It looks as the owner of the tables, and reads and writes for the tenant of each dashboard
    alone. Processes may do so at once.
    """

    def __init__(self, store: Store, metrics: Metrics, every: timedelta = EVERY) -> None:
        super().__init__(every, "dashboards were not measured")
        self._store = store
        self._metrics = metrics

    async def look(self) -> int:
        """Measure every dashboard that wants it, of every tenant; give how many values."""
        measured = 0
        for name, word in await labelled(self._store, LABEL, PERIODS):
            with (
                acting_for(tenant_of(name) or ""),
                alone(_LOG, "a dashboard was not measured", name),
                contextlib.suppress(ResourceNotFound),
            ):
                answer = await self._metrics.record(name, PERIODS[word])
                measured += answer.created + answer.replaced
                for problem in answer.problems:
                    _LOG.warning("%s: a widget was not measured", name)
                    _LOG.debug("%s: %s", problem.widget, problem.error.message)
        return measured
