"""How one record differs between two states: values told apart from how they were read."""

from collections.abc import Iterator, Mapping

from mesh.contract.catalogue import NAME, Kind, field_option
from mesh.records.values import holds_secret, json_values
from mesh.sql.history import Pair
from mesh.sql.order import RECORD
from secmesh.inventory.v1.history_service_pb2 import FieldChange, RecordChange
from secmesh.inventory.v1.record_pb2 import Record, Unread


def record_change(kind: Kind, pair: Pair) -> RecordChange | None:
    """Describe what differs; None if both states say the same of the thing itself."""
    old = pair.old if isinstance(pair.old, Record) else None
    new = pair.new if isinstance(pair.new, Record) else None
    shown = new or old
    if shown is None:
        return None
    fields = list(_field_changes(kind, old, new, pair.differing))
    if old is not None and new is not None and not fields:
        return None
    return RecordChange(
        name=shown.name,
        type=_type(old, new),
        cloud_account_id=shown.cloud_account_id,
        region=shown.region,
        arn=shown.arn,
        change_time=new.valid_from if new is not None else shown.valid_to,
        sync=new.sync if new is not None else "",
        fields=fields,
    )


def _type(old: Record | None, new: Record | None) -> RecordChange.Type.ValueType:
    if old is None:
        return RecordChange.TYPE_ADDED
    return RecordChange.TYPE_REMOVED if new is None else RecordChange.TYPE_CHANGED


def _field_changes(
    kind: Kind, old: Record | None, new: Record | None, differing: frozenset[str]
) -> Iterator[FieldChange]:
    before, after = _values(kind, old), _values(kind, new)
    old_gaps, new_gaps = _gaps(old), _gaps(new)
    fields = (*kind.descriptor.fields, *kind.envelope_fields)
    secrets = {field.name for field in fields if holds_secret(field)}
    for path in {**before, **after}:
        name = path.removeprefix(RECORD)
        values = before.get(path), after.get(path)
        gaps = old_gaps.get(path), new_gaps.get(path)
        # What is stored in an older form may mean the same.
        hidden = name in secrets and name in differing and values[0] == values[1]
        stored = hidden or values[0] != values[1]
        if stored or _reason(gaps[0]) != _reason(gaps[1]):
            yield _field_change(path, values, gaps, stored=stored, redacted=hidden)


def _field_change(
    path: str,
    values: tuple[str | None, str | None],
    gaps: tuple[Unread | None, Unread | None],
    *,
    stored: bool,
    redacted: bool,
) -> FieldChange:
    unknown = any(
        gap is not None and value is None for gap, value in zip(gaps, values, strict=True)
    )
    change = FieldChange(
        field=path,
        type=FieldChange.TYPE_VALUE if stored and not unknown else FieldChange.TYPE_READING,
        old_unread=gaps[0],
        new_unread=gaps[1],
        redacted=redacted,
    )
    if values[0] is not None:
        change.old_value = values[0]
    if values[1] is not None:
        change.new_value = values[1]
    return change


def _values(kind: Kind, record: Record | None) -> Mapping[str, str | None]:
    """Give the JSON of every compared field: the body's bare, the envelope's as ``record.x``."""
    if record is None or kind.body_field is None:
        return {}
    outer = json_values(record)
    compared = {
        f"{RECORD}{field.name}": outer[field.name]
        for field in kind.envelope_fields
        if field.name != NAME and not field_option(field).bookkeeping
    }
    return {**json_values(getattr(record, kind.body_field)), **compared}


def _gaps(record: Record | None) -> Mapping[str, Unread]:
    return {} if record is None else {each.field: each for each in record.unread}


def _reason(gap: Unread | None) -> tuple[object, ...]:
    """Say why a field is unread; when it was read last is no reason."""
    return () if gap is None else (gap.action, gap.code, gap.outcome)
