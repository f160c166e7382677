"""One outcome and what it rests on: the record, the values read, the reads that are missing."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Kind, field_option, is_map
from mesh.contract.storage import message_type
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2
from secmesh.options.v1 import field_pb2
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.outcomes import Outcome

MAX_VALUES = 32
MAX_VALUE = 1024
MAX_UNREAD = 32
MAX_TARGET = 512
CUT = "\N{HORIZONTAL ELLIPSIS}"
REDACTED = "[redacted]"
_HIDDEN = (field_pb2.SENSITIVITY_PII, field_pb2.SENSITIVITY_SECRET)


def record_evidence(
    check: BoundCheck,
    record: record_pb2.Record,
    outcome: Outcome,
    missing: Iterable[record_pb2.Unread] = (),
) -> pb.Evidence:
    """Give the evidence of one record; ``missing`` are reads of its whole unit."""
    unread = [gap for gap in record.unread if gap.field in check.fields]
    found = pb.Evidence(
        record=record.name,
        subject=_subject(record),
        outcome=outcome,
        values=record_values(check.kind, record, sorted(check.condition.fields)),
        unread=[*missing, *unread][:MAX_UNREAD],
        cloud_account_id=record.cloud_account_id,
        region=record.region,
    )
    if outcome == check_pb2.EVIDENCE_OUTCOME_FAIL:
        values = record_values(check.kind, record, check.remedy_fields)
        found.target.update({name: _short(text) for name, text in values.items()})
    if record.HasField("valid_from"):
        found.since.CopyFrom(record.valid_from)
    return found


def _short(text: str) -> str:
    """Keep a value that a command can name; of a longer one only that it is there."""
    return text if len(text) <= MAX_TARGET else CUT


def record_values(
    kind: Kind, record: record_pb2.Record, fields: Iterable[str]
) -> Mapping[str, str]:
    """Give the values of fields as JSON, without those that were not read; PII stays hidden."""
    body: Message = getattr(record, str(kind.body_field))
    unread = {gap.field for gap in record.unread}
    found: dict[str, str] = {}
    for name in fields:
        field = kind.descriptor.fields_by_name.get(name)
        if field is None or name in unread or len(found) == MAX_VALUES:
            continue
        text = orjson.dumps(_field_value(field, body)).decode()
        found[name] = (
            text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}\N{HORIZONTAL ELLIPSIS}"
        )
    return found


def _subject(record: record_pb2.Record) -> str:
    if record.arn:
        return record.arn
    return f"{record.cloud_account_id}/{record.region}/{record.name.rsplit('/', 1)[-1]}"


def _field_value(field: FieldDescriptor, message: Message) -> Any:
    if field_option(field).sensitivity in _HIDDEN:
        return REDACTED
    if field.has_presence and not message.HasField(field.name):
        return None
    value = getattr(message, field.name)
    if is_map(field):
        entry = message_type(field).fields_by_name["value"]
        return {str(key): _shown(entry, each) for key, each in sorted(value.items())}
    if field.is_repeated:
        return [_shown(field, each) for each in value]
    return _shown(field, value)


def _shown(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if not isinstance(value, Message):
        return value
    if message_type(field).file.package == "google.protobuf":
        return json_format.MessageToDict(value)
    # Only what is set, so that evidence stays short.
    return {
        inner.name: _field_value(inner, value)
        for inner in message_type(field).fields
        if inner.is_repeated or not inner.has_presence or value.HasField(inner.name)
    }
