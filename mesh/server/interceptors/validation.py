"""Refuses requests that break the bounds of the contract."""

from collections.abc import Iterator

import protovalidate
from google.protobuf import message_factory
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest

from mesh.contract.catalogue import Catalogue
from mesh.errors import FieldInvalid
from mesh.server.call import Call
from mesh.server.interceptors.chain import MessageInterceptor

MAX_VIOLATIONS = 16
"""Most violations named in one answer."""
LARGE_BYTES = 64 * 1024
"""Of larger messages the first violation is named alone: a million of them would take minutes."""
_TIMESTAMP, _DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Of the years 1 to 9999, which timestamp.proto bounds timestamps to."""
_MOST_SECONDS = 315_576_000_000
"""Of a duration, as duration.proto bounds it."""
_NANOS = 1_000_000_000
_NOT_IN = "enum.not_in"


def violations_of(message: Message) -> list[BadRequest.FieldViolation]:
    """Give the broken bounds of a message, at most MAX_VIOLATIONS, none if it is valid.

    Of a message larger than LARGE_BYTES one is given.
    """
    large = message.ByteSize() > LARGE_BYTES
    if malformed := list(_malformed(message)):
        return malformed[:MAX_VIOLATIONS]
    found = protovalidate.collect_violations(message, fail_fast=large)
    return [_field_violation(each) for each in found[:MAX_VIOLATIONS]] if found else []


def _malformed(message: Message, prefix: str = "") -> Iterator[BadRequest.FieldViolation]:
    """Give the times of a message that are none, lists apart: no rule of a contract sees them."""
    for field, value in message.ListFields():
        if field.message_type is None or field.is_repeated:
            continue
        path, kind = f"{prefix}{field.name}", field.message_type.full_name
        if kind not in (_TIMESTAMP, _DURATION):
            yield from _malformed(value, f"{path}.")
        elif not (_is_timestamp(value) if kind == _TIMESTAMP else _is_duration(value)):
            yield BadRequest.FieldViolation(
                field=path, description=f"is no {kind}", reason="MALFORMED"
            )


def _is_timestamp(time: Timestamp) -> bool:
    return _FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < _NANOS


def _is_duration(span: Duration) -> bool:
    one_sign = span.seconds * span.nanos >= 0
    return one_sign and abs(span.seconds) <= _MOST_SECONDS and abs(span.nanos) < _NANOS


def _field_violation(violation: protovalidate.Violation) -> BadRequest.FieldViolation:
    proto = violation.proto
    if proto.rule_id == _NOT_IN and violation.field_value == 0:
        # How contracts demand an enum: its zero stands for none.
        return BadRequest.FieldViolation(
            field=_path(proto.field) if proto.field is not None else "",
            description="must be set",
            reason="REQUIRED",
        )
    return BadRequest.FieldViolation(
        field=_path(proto.field) if proto.field is not None else "",
        description=proto.message,
        reason=proto.rule_id.upper(),
    )


def _path(path: protovalidate.FieldPathPb) -> str:
    """Write a path such as ``sync.regions[1]`` or ``labels["a"]``."""
    text = ""
    for element in path.elements:
        text += f".{element.field_name}" if text else element.field_name
        if element.subscript is not None:
            key = element.subscript.value
            text += f'["{key}"]' if isinstance(key, str) else f"[{key}]"
    return text


class Validation(MessageInterceptor):
    """Checks every request message with protovalidate."""

    def __init__(self, catalogue: Catalogue) -> None:
        # Rules are compiled at the first use: do it now, so that a bad one stops the start.
        for method in catalogue.methods.values():
            violations_of(message_factory.GetMessageClass(method.descriptor.input_type)())

    def check(self, call: Call, message: Message) -> None:  # noqa: ARG002 - an interceptor's signature
        if violations := violations_of(message):
            raise FieldInvalid(*violations)
