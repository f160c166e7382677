"""What a unit's drafts change in the store: new versions, closed ones, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from mesh.contract.catalogue import Kind
from secmesh.inventory.v1 import record_pb2
from secmesh.inventory.v1.record_pb2 import Record
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.focus import Focus, outcome_of
from services.inventory.collect.source import GLOBAL

ID_DIGITS = 32
HEARTBEAT = timedelta(hours=1)
"""How far a time that moves by itself may move before it makes a new version."""
_STEP = timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class Unit:
    """The smallest piece of a run: one collection in one region of one account."""

    tenant: str
    cloud_account_id: str
    region: str
    """An AWS region, or ``global``."""
    collector: Collector
    kind: Kind
    focus: Focus | None = None
    """What of its collection is read; None for all of it."""

    def name(self, draft: Draft[Any]) -> str:
        """Give the record name of a resource; it is the same in every run."""
        if draft.record:
            return draft.record
        # A bucket's region may be unread; its name is unique without it.
        where = self.region if self.collector.scope is Scope.GLOBAL else draft.region or self.region
        key = "\0".join((self.cloud_account_id, where, self.collector.collection, draft.native_id))
        record = sha256(key.encode()).hexdigest()[:ID_DIGITS]
        return self.kind.pattern.format(self.tenant, record)


@dataclass
class Changes:
    """What is to be written for one unit."""

    opened: list[Record] = field(default_factory=list)
    """New current versions."""
    closed: dict[str, datetime] = field(default_factory=dict)
    """When the current version of a record ended, by name; changed records too."""
    gone: int = 0
    unchanged: int = 0


def settle(
    unit: Unit,
    collected: Collected,
    stored: Mapping[str, Record],
    *,
    read_time: datetime,
    sync: str,
    last_reads: Mapping[str, datetime],
) -> Changes:
    """Compare what was read with the current records that the unit answers for.

    ``last_reads`` tells when each IAM action was last answered, so that a kept
    value carries the time it was read. A unit that was not listed whole closes nothing.
    """
    changes = Changes()
    seen: set[str] = set()
    for draft in collected.drafts:
        name = unit.name(draft)
        old = stored.get(name)
        if name in seen or (draft.only_if_stored and old is None):
            continue
        seen.add(name)
        record = _record(unit, draft, old, last_reads)
        record.name = name
        if old is not None and old.etag == record.etag:
            changes.unchanged += 1
            continue
        opened = _after(old, read_time)
        record.sync = sync
        record.valid_from.CopyFrom(timestamp(opened))
        if old is not None:
            changes.closed[name] = opened
        changes.opened.append(record)
    if collected.unlisted is None:
        for name in stored.keys() - seen:
            changes.closed[name] = _after(stored[name], read_time)
            changes.gone += 1
    return changes


def _after(old: Record | None, read_time: datetime) -> datetime:
    """Versions follow each other even if a clock went back."""
    if old is None:
        return read_time
    return max(read_time, moment(old.valid_from) + _STEP)


def moment(stamp: Timestamp) -> datetime:
    """Give a Timestamp as a moment in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def _record(
    unit: Unit, draft: Draft[Any], old: Record | None, last_reads: Mapping[str, datetime]
) -> Record:
    record = Record(
        cloud_account_id=unit.cloud_account_id,
        region=draft.region or (old.region if old is not None else "") or unit.region,
        arn=draft.arn or (old.arn if old is not None else ""),
    )
    body_field = str(unit.kind.body_field)
    old_body: Message | None = getattr(old, body_field) if old is not None else None
    if old is not None:
        record.labels.update(old.labels)
        record.create_time.CopyFrom(old.create_time)
    body = getattr(record, body_field)
    body.SetInParent()
    body.CopyFrom(draft.body)
    if old_body is not None:
        _keep_heartbeats(unit.collector.heartbeats - draft.unread.keys(), body, old_body)
    for name in sorted(draft.unread):
        if old is not None and old_body is not None:
            _copy_field(name, old_body, body)
        record.unread.append(_mark(name, draft.unread[name], old, last_reads))
    record.etag = etag(record, body)
    return record


def _keep_heartbeats(names: frozenset[str], body: Any, old_body: Any) -> None:
    for name in names:
        if body.HasField(name) and old_body.HasField(name):
            was = moment(getattr(old_body, name))
            if was <= moment(getattr(body, name)) < was + HEARTBEAT:
                _copy_field(name, old_body, body)


def _copy_field(name: str, source: Message, target: Message) -> None:
    target.ClearField(name)
    part = type(source)()
    part.CopyFrom(source)
    for other in part.DESCRIPTOR.fields:
        if other.name != name:
            part.ClearField(other.name)
    target.MergeFrom(part)


def _mark(
    name: str, unread: Unread, old: Record | None, last_reads: Mapping[str, datetime]
) -> record_pb2.Unread:
    mark = record_pb2.Unread(
        field=name,
        action=unread.action,
        code=unread.code,
        outcome=outcome_value(unread.outcome),
    )
    if old is None:
        return mark
    before = next((each for each in old.unread if each.field == name), None)
    if before is None:
        # Unchanged rows are not written, so the value may have been read again since.
        read = moment(old.valid_from)
        mark.last_read_time.CopyFrom(timestamp(max(read, last_reads.get(unread.action, read))))
    elif before.HasField("last_read_time"):
        mark.last_read_time.CopyFrom(before.last_read_time)
    return mark


def outcome_value(outcome: Outcome) -> record_pb2.ReadOutcome.ValueType:
    """Give an outcome as the contract writes it."""
    return record_pb2.ReadOutcome.Value(f"READ_OUTCOME_{outcome.name}")


def etag(record: Record, body: Message) -> str:
    """Hash what makes a version: body, ARN, region and gaps, but no times of reading."""
    digest = sha256(body.SerializeToString(deterministic=True))
    gaps = [f"{each.field} {each.code} {each.action}" for each in record.unread]
    for text in (record.arn, record.region, *gaps):
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()[:ID_DIGITS]


def draft_of(record: Record, body_field: str) -> Draft[Any]:
    """Give a stored record the form of a draft, its gaps as they were."""
    body = getattr(record, body_field)
    return Draft(
        native_id="",
        body=body,
        arn=record.arn,
        region="" if record.region == GLOBAL else record.region,
        unread={
            each.field: Unread("", each.action, outcome_of(each.outcome), each.code)
            for each in record.unread
        },
    )
