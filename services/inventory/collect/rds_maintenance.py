"""Maintenance of RDS that waits: what is to be done to an instance or its cluster, and by when."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.rds_pb2 import RdsInstance
from services.inventory.collect.draft import Draft, timestamp

MAINTENANCE = "rds:DescribePendingMaintenanceActions"
MAINTENANCE_FIELDS = ("pending_maintenance", "maintenance_due")
PAGE = 100
_DATES = ("AutoAppliedAfterDate", "ForcedApplyDate", "CurrentApplyDate")

Pending = Mapping[str, list[Response]] | Unread
"""Actions by the ARN of instance or cluster."""


def read_maintenance(reader: Reader) -> Pending:
    """Read what waits in a region, of all instances and clusters at once."""
    found = reader.items(MAINTENANCE, "PendingMaintenanceActions", page_size=PAGE)
    if isinstance(found, Unread):
        return found
    return {
        str(each["ResourceIdentifier"]): list(each.get("PendingMaintenanceActionDetails", ()))
        for each in found
    }


def fill_maintenance(
    draft: Draft[RdsInstance], cluster_arn: str | Unread, pending: Pending
) -> None:
    """Fill what waits for an instance, or for the cluster that it belongs to."""
    for each in (pending, cluster_arn):
        if isinstance(each, Unread):
            draft.miss(each, *MAINTENANCE_FIELDS)
    if isinstance(pending, Unread) or isinstance(cluster_arn, Unread):
        return
    actions = [*pending.get(draft.arn, ()), *pending.get(cluster_arn, ())]
    draft.body.pending_maintenance.extend(sorted({str(each["Action"]) for each in actions}))
    if due := min(_dates(actions), default=None):
        draft.body.maintenance_due.CopyFrom(timestamp(due))


def _dates(actions: Iterable[Response]) -> Iterable[datetime]:
    for action in actions:
        told: list[Any] = [action[name] for name in _DATES if action.get(name)]
        yield from told
