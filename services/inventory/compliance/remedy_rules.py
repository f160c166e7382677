"""What a check's remedy must keep to: every name in its templates is known to the contract."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.contract.catalogue import Kind, field_option, is_map
from mesh.contract.storage import message_type
from secmesh.inventory.v1 import check_pb2
from secmesh.options.v1 import field_pb2
from services.inventory.compliance.remedy_template import (
    EACH,
    ENVELOPE,
    names,
    template,
    unseen,
)

MAX_BYTES = 16 * 1024
"""Most that a remedy weighs, so that a check stays a small thing."""
_HIDDEN = (field_pb2.SENSITIVITY_PII, field_pb2.SENSITIVITY_SECRET)
_PARAMETER = re.compile("[A-Za-z][A-Za-z0-9]*")
_HCL_KEY = re.compile("[a-z][a-z0-9_]*=?")
_PROPERTY = re.compile("[A-Za-z][A-Za-z0-9:]*")


def remedy_problems(check: check_pb2.Check, kind: Kind) -> Iterator[str]:
    """Tell in words what is wrong with the remedy of a check, if it has one."""
    remedy = check.remedy
    if not check.HasField("remedy"):
        return
    if remedy.ByteSize() > MAX_BYTES:
        yield f"it is larger than {MAX_BYTES} bytes"
    if not remedy.commands and not remedy.manual_step:
        yield "there is neither a command nor a manual step"
    own = [parameter.variable for parameter in check.parameters]
    inputs = [each.name for each in remedy.inputs]
    taken = {*own, *ENVELOPE, EACH, *(field.name for field in kind.descriptor.fields)}
    for name in inputs:
        if name in taken or inputs.count(name) > 1:
            yield f"input {name!r} bears the name of something else"
    given = {*own, *inputs, *ENVELOPE}
    for command in remedy.commands:
        yield from _command_problems(command, kind.descriptor, given)
    for place, pattern, listed in (
        ("terraform", _HCL_KEY, remedy.terraform),
        ("cloudformation", _PROPERTY, remedy.cloudformation),
    ):
        for resource in listed:
            body = template(resource.body)
            yield from _text_problems(place, [body, resource.import_id])
            yield from _key_problems(place, body, pattern)
            for name in [*names(body), *names(resource.import_id)]:
                yield from _name_problems(place, name, kind.descriptor, given)
    yield from _text_problems("manual_step", remedy.manual_step)


def _command_problems(
    command: check_pb2.RemedyCommand, record: Descriptor, given: set[str]
) -> Iterator[str]:
    place = f"{command.service} {command.operation}"
    parameters, keeps = template(command.parameters), template(command.keeps)
    yield from _text_problems(place, [parameters, keeps, command.region])
    for name in command.when:
        yield from _when_problems(place, name, record, given)
    for key in (*parameters, *keeps):
        if not _PARAMETER.fullmatch(key):
            yield f"{place}: {key!r} is no name of a parameter"
    element: FieldDescriptor | None = None
    if command.each:
        element = record.fields_by_name.get(command.each)
        if element is None or not element.is_repeated or is_map(element) or _hidden(element):
            yield f"{place}: {command.each!r} is no list that a record shows"
            return
    for name in [*names(parameters), *names(keeps), *names(command.region)]:
        first, _, rest = name.partition(".")
        if first == EACH and element is not None:
            yield from _element_problems(place, name, rest, element)
        else:
            yield from _name_problems(place, name, record, given)


def _when_problems(place: str, name: str, record: Descriptor, given: set[str]) -> Iterator[str]:
    field = record.fields_by_name.get(name)
    if field is None or not field.is_repeated:
        yield from _name_problems(place, name, record, given)
    else:
        yield f"{place}: {name!r} is a list"


def _element_problems(place: str, name: str, rest: str, element: FieldDescriptor) -> Iterator[str]:
    if element.message_type is None:
        if rest:
            yield f"{place}: there is no {{{name}}}"
    else:
        yield from _name_problems(place, rest, message_type(element), set(), shown=name)


def _name_problems(
    place: str, name: str, record: Descriptor, given: set[str], shown: str = ""
) -> Iterator[str]:
    if name in given:
        return
    field = record.fields_by_name.get(name)
    if field is None or is_map(field) or field.message_type is not None:
        yield f"{place}: there is no value {{{shown or name}}}"
    elif _hidden(field):
        yield f"{place}: {{{shown or name}}} is not shown"


def _hidden(field: FieldDescriptor) -> bool:
    return field_option(field).sensitivity in _HIDDEN


def _text_problems(place: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _text_problems(place, [key, each])
    elif isinstance(value, list):
        for each in value:
            yield from _text_problems(place, each)
    elif isinstance(value, str) and unseen(value):
        yield f"{place}: a text holds a character that cannot be seen"


def _key_problems(place: str, body: Mapping[str, Any], pattern: re.Pattern[str]) -> Iterator[str]:
    for key, value in body.items():
        if not pattern.fullmatch(key):
            yield f"{place}: {key!r} is no name"
        if key.endswith("="):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                yield from _key_problems(place, each, pattern)
