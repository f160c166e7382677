"""Refuses requests that break the bounds of the contract."""

from itertools import islice

import protovalidate
from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from mesh.contract.catalogue import Catalogue
from mesh.errors import FieldInvalid
from mesh.server.call import Call
from mesh.server.interceptors.chain import MessageInterceptor
from mesh.server.interceptors.json_numbers import numbers_beyond_json
from mesh.server.interceptors.times import malformed_times

MAX_VIOLATIONS = 16
"""Most violations named in one answer."""
LARGE_BYTES = 64 * 1024
"""Of larger messages the first violation is named alone: a million of them would take minutes."""
_NOT_IN = "enum.not_in"


def violations_of(message: Message) -> list[BadRequest.FieldViolation]:
    """Give the broken bounds of a message, at most MAX_VIOLATIONS, none if it is valid.

    Of a message larger than LARGE_BYTES one is given.
    """
    find_malformed = malformed_times(message.DESCRIPTOR)
    if find_malformed is not None and (malformed := list(find_malformed(message, ""))):
        return [_malformed(*each) for each in malformed[:MAX_VIOLATIONS]]
    if beyond := list(islice(numbers_beyond_json(message), MAX_VIOLATIONS)):
        return [_no_json(path) for path in beyond]
    found = protovalidate.collect_violations(message, fail_fast=True)
    # Asked last: most messages are valid, and their size is found by writing them.
    if found and message.ByteSize() <= LARGE_BYTES:
        found = protovalidate.collect_violations(message)
    return [_field_violation(each) for each in found[:MAX_VIOLATIONS]]


def _malformed(path: str, kind: str) -> BadRequest.FieldViolation:
    return BadRequest.FieldViolation(field=path, description=f"is no {kind}", reason="MALFORMED")


def _no_json(path: str) -> BadRequest.FieldViolation:
    problem = "holds a number that JSON has not: it is NaN or infinite"
    return BadRequest.FieldViolation(field=path, description=problem, reason="NO_JSON")


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
