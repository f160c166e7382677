"""What the service measures by itself is no way to what the writer may not read."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from services.security.analytics.dashboard_store import DASHBOARDS
from services.security.analytics.metric_schedule import LABEL, PERIODS
from services.security.writers import current_writer


class DashboardGuard:
    """Lets a dashboard be measured again and again by those who may list what it measures."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are dashboards."""
        return kind.collection == DASHBOARDS

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:  # noqa: ARG002 - the protocol's
        """Raises PermissionMissing."""
        record: Any = new
        if record.labels.get(LABEL) not in PERIODS or _measured(old) == _measured(new):
            return
        for widget in record.analytics_dashboard.widgets:
            measured = self._kinds.get(widget.record_type)
            if measured is not None:
                # What is no collection is told by whoever evaluates it.
                current_writer().require(measured.permission("list"))


def _measured(record: Any) -> object:
    """Give what decides which values are kept; None of what does not exist."""
    if record is None:
        return None
    body = record.analytics_dashboard
    return record.labels.get(LABEL), list(body.widgets), body.filters
