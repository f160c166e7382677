"""Dashboards: all widgets computed from one snapshot, each with its own answer."""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from google.rpc import status_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.contract.storage import MICROSECONDS
from mesh.errors import FieldInvalid, Refusal
from mesh.records.moments import Clock, now
from mesh.server.call import find_current_call
from mesh.sql.store import Store
from secmesh.security.v1 import analytics_service_pb2 as pb
from services.security.analytics.dashboard_store import DASHBOARDS
from services.security.analytics.limits import Limits
from services.security.analytics.widgets import COUNT, LINE, TYPES, Asked, Widgets
from services.security.findings.due import set_moment

MAX_POINTS = 1000
"""Points of one widget: more are no picture any more."""
_DAY = 86_400 * MICROSECONDS


@dataclass(frozen=True)
class Shown:
    """One widget with its points, or why it has none."""

    widget: Any
    points: pb.Series
    refusal: Refusal | None = None


class Dashboards:
    """Computes dashboards."""

    def __init__(self, store: Store, widgets: Widgets, clock: Clock = now) -> None:
        self._store = store
        self._widgets = widgets
        self._clock = clock

    async def evaluate(self, name: str) -> pb.EvaluateDashboardResponse:
        """Give the points of each widget; ResourceNotFound."""
        answer = pb.EvaluateDashboardResponse(name=name)
        async with self._store.connection() as connection:
            body = await self.body(connection, name)
            set_moment(answer, "evaluate_time", self._clock())
            async for shown in self.shown(connection, name, body):
                answer.widgets.append(_series(shown))
        return answer

    async def body(self, connection: AsyncConnection, name: str) -> Any:
        """Give what a dashboard shows; ResourceNotFound."""
        record: Any = await self._store.get(DASHBOARDS, name, connection=connection)
        return record.analytics_dashboard

    async def shown(
        self, connection: AsyncConnection, name: str, body: Any, more: Limits | None = None
    ) -> AsyncIterator[Shown]:
        """Compute widget after widget; what is refused concerns one of them alone.

        ``more`` limits them beside the dashboard's own filters.
        """
        tenant, limits = tenant_of(name) or "", self._limits(body, more or Limits())
        for widget in body.widgets:
            try:
                points = await self._points(connection, tenant, widget, limits)
            except Refusal as refusal:
                yield Shown(widget, pb.Series(), refusal)
            else:
                yield Shown(widget, points)

    def _limits(self, body: Any, more: Limits) -> Limits:
        """Give what all widgets of a dashboard are limited to."""
        filters, begins = body.filters, [more.since] if more.since is not None else []
        if filters.HasField("days"):
            begins.append(self._clock() - filters.days * _DAY)
        return dataclasses.replace(
            more,
            projects=list(filters.projects),
            since=max(begins, default=None),
            least_severity=filters.least_severity,
        )

    async def _points(
        self, connection: AsyncConnection, tenant: str, widget: Any, limits: Limits
    ) -> pb.Series:
        if widget.type and widget.type not in TYPES:
            raise FieldInvalid.of("type", f"{widget.type!r} is none of {', '.join(TYPES)}")
        asked = Asked(
            widget.record_type,
            widget.filter,
            list(widget.group_by),
            [widget.metric or COUNT],
            by_day=widget.type == LINE,
        )
        groups = await self._widgets.groups(connection, tenant, asked, limits)
        if len(groups) > MAX_POINTS:
            raise FieldInvalid.of("group_by", f"makes more than {MAX_POINTS} points")
        series = pb.Series()
        for group in groups:
            series.points.add(keys=group.keys, value=group.values[0], count=group.count)
        return series


def error_of(refusal: Refusal) -> status_pb2.Status:
    """Write a refusal as it travels within an answer."""
    call = find_current_call()
    return refusal.status(call.request_id if call is not None else "")


def _series(shown: Shown) -> pb.WidgetSeries:
    widget = shown.widget
    answer = pb.WidgetSeries(
        key=widget.key,
        title=widget.title,
        type=widget.type,
        key_fields=widget.group_by,
        metric=widget.metric or COUNT,
    )
    if shown.refusal is None:
        answer.series.CopyFrom(shown.points)
    else:
        answer.error.CopyFrom(error_of(shown.refusal))
    return answer
