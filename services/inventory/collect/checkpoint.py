"""The stored form of a unit: what is planned, leased and ended of a run."""

from datetime import UTC, datetime
from hashlib import sha256

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1 import record_pb2
from secmesh.inventory.v1.sync_pb2 import SyncProgress
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.collect.draft import timestamp
from services.inventory.collect.versions import ID_DIGITS, Unit, outcome_value


def unit_name(sync: str, unit: Unit) -> str:
    """Give the name of a unit's checkpoint in its run."""
    key = f"{unit.region}\0{unit.collector.collection}"
    return f"{sync}/units/{sha256(key.encode()).hexdigest()[:ID_DIGITS]}"


def planned(sync: str, unit: Unit) -> SyncUnit:
    """Write a unit that nobody has begun."""
    return SyncUnit(
        name=unit_name(sync, unit),
        region=unit.region,
        collection=unit.collector.collection,
        state=SyncUnit.STATE_PENDING,
        reading=unit.focus.reading if unit.focus else SyncUnit.READING_UNSPECIFIED,
        resource_keys=sorted(unit.focus.keys) if unit.focus else (),
    )


def ended(
    sync: str,
    unit: Unit,
    state: SyncUnit.State.ValueType,
    progress: SyncProgress,
    *,
    whole: bool,
    unlisted: Unread | None,
) -> SyncUnit:
    """Write a unit that ended now; its lease ends with it."""
    checkpoint = planned(sync, unit)
    checkpoint.state = state
    checkpoint.whole = whole
    checkpoint.progress.CopyFrom(progress)
    checkpoint.end_time.CopyFrom(timestamp(datetime.now(UTC)))
    if unlisted is not None:
        checkpoint.unlisted.CopyFrom(
            record_pb2.Unread(
                action=unlisted.action,
                code=unlisted.code,
                outcome=outcome_value(unlisted.outcome),
            )
        )
    return checkpoint


def changed(checkpoint: SyncUnit) -> bool:
    """Tell whether a unit wrote or closed any record."""
    return bool(checkpoint.progress.rows_written or checkpoint.progress.rows_closed)


def gap_of(checkpoint: SyncUnit) -> Unread | None:
    """Tell why an ended unit's resources are not all known, if they are not."""
    if not checkpoint.HasField("unlisted"):
        return None
    gap = checkpoint.unlisted
    name = record_pb2.ReadOutcome.Name(gap.outcome).removeprefix("READ_OUTCOME_")
    return Unread("", gap.action, Outcome[name], gap.code)
