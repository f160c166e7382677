"""What the behaviour of fields (AIP-203) and secrets ask of a write."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import is_map
from mesh.contract.storage import Storage, item_storage
from mesh.sql.document import is_secret
from mesh.sql.secrets import descriptor_of, drop_secrets, holds_secrets

_NUMBERS = frozenset(
    {
        *(FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64),
        *(FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64),
        *(FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE),
        *(FieldDescriptor.CPPTYPE_BOOL, FieldDescriptor.CPPTYPE_ENUM),
    }
)
_FEW = 3
"""Fields that are asked for one by one; of more, those that are set are looked through."""


@cache
def behaves(field: FieldDescriptor, behaviour: int) -> bool:
    """Tell whether a field has a behaviour such as OUTPUT_ONLY."""
    return behaviour in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


@cache
def bearing(
    message: Descriptor, behaviour: int
) -> tuple[tuple[FieldDescriptor, ...], frozenset[FieldDescriptor]]:
    """Give a message's own fields of a behaviour, and the nested ones that hold such fields."""
    own = tuple(field for field in message.fields if behaves(field, behaviour))
    nested = frozenset(
        field
        for field in message.fields
        if field not in own and is_nested(field) and _bears(field.message_type, behaviour, set())
    )
    return own, nested


def _bears(message: Descriptor | None, behaviour: int, seen: set[Descriptor]) -> bool:
    if message is None or message in seen:
        return False
    seen.add(message)
    return any(
        behaves(field, behaviour)
        or (is_nested(field) and _bears(field.message_type, behaviour, seen))
        for field in message.fields
    )


def is_nested(field: FieldDescriptor) -> bool:
    """Tell whether a field is one message of our own, whose fields can be written singly."""
    return not field.is_repeated and item_storage(field) is Storage.MESSAGE


def is_set(message: Message, field: FieldDescriptor) -> bool:
    """Tell whether a field is there; without presence, whether it is not its default."""
    if field.has_presence:
        return message.HasField(field.name)
    value = getattr(message, field.name)
    return bool(len(value)) if field.is_repeated else value != field.default_value


def copy_field(source: Message, target: Message, field: FieldDescriptor) -> None:
    """Make a field of the target what it is in the source, absence included."""
    target.ClearField(field.name)
    if not is_set(source, field):
        return
    value: Any = getattr(source, field.name)
    if is_map(field):
        getattr(target, field.name).MergeFrom(value)
    elif field.is_repeated:
        getattr(target, field.name).extend(value)
    elif field.message_type is not None:
        held = getattr(target, field.name)
        held.SetInParent()
        held.MergeFrom(value)
    else:
        setattr(target, field.name, value)


def settle_output_only(old: Message | None, new: Message) -> None:
    """Take what callers may not say from the old message: their own values count for nothing."""
    own, nested = bearing(descriptor_of(new), field_behavior_pb2.OUTPUT_ONLY)
    for field in own:
        if old is None:
            new.ClearField(field.name)
        else:
            copy_field(old, new, field)
    for field, value in _set_of(new, nested):
        known = old is not None and old.HasField(field.name)
        settle_output_only(getattr(old, field.name) if known else None, value)


def says_output(message: Message) -> bool:
    """Tell whether a message, or one in it, has a field set that callers may not say."""
    return output_test(descriptor_of(message))(message)


@cache
def output_test(message: Descriptor) -> Callable[[Message], bool]:
    """Give the function that tells so of messages of one type, which are asked one by one."""
    own, nested = bearing(message, field_behavior_pb2.OUTPUT_ONLY)
    told = tuple(field.name for field in own if field.has_presence)
    others = tuple(field for field in own if not field.has_presence)
    # A type may hold itself: the functions of what it holds are looked up when they are needed.
    holding = tuple((field.name, field.message_type) for field in nested)

    def says(given: Message) -> bool:
        has = given.HasField
        for name in told:
            if has(name):
                return True
        for field in others:
            if is_set(given, field):
                return True
        for name, held in holding:  # noqa: SIM110 - a loop, as above: it is asked of each record
            if has(name) and output_test(held)(getattr(given, name)):
                return True
        return False

    return says


def _set_of(
    message: Message, fields: frozenset[FieldDescriptor]
) -> list[tuple[FieldDescriptor, Any]]:
    """Give those of some fields that are set: of a record's bodies, that is one."""
    if not fields:
        return []
    if len(fields) <= _FEW:
        names = ((field, field.name) for field in fields)
        return [(field, getattr(message, name)) for field, name in names if message.HasField(name)]
    return [each for each in message.ListFields() if each[0] in fields]


def changed_immutables(old: Message, new: Message, path: str) -> Iterator[str]:
    """Give the paths of immutable fields whose value changes; those left out keep it."""
    own, nested = bearing(descriptor_of(new), field_behavior_pb2.IMMUTABLE)
    for field in own:
        if is_set(old, field) and not is_set(new, field):
            copy_field(old, new, field)
        elif getattr(old, field.name) != getattr(new, field.name):
            yield f"{path}.{field.name}"
    for field, value in _set_of(new, nested):
        if old.HasField(field.name):
            yield from changed_immutables(getattr(old, field.name), value, f"{path}.{field.name}")


@cache
def required_fields(
    message: Descriptor,
) -> tuple[tuple[FieldDescriptor, ...], frozenset[FieldDescriptor]]:
    """Give a message's own fields that can be missing, and the nested ones that hold such."""
    own, nested = bearing(message, field_behavior_pb2.REQUIRED)
    # A number without presence is always there.
    always = {
        field
        for field in own
        if not (field.has_presence or field.is_repeated) and field.cpp_type in _NUMBERS
    }
    return tuple(field for field in own if field not in always), nested


def missing_fields(message: Message, path: str) -> Iterator[str]:
    """Give the paths of required fields that are not there."""
    own, nested = required_fields(descriptor_of(message))
    for field in own:
        if not is_set(message, field):
            yield f"{path}.{field.name}"
    for field, value in _set_of(message, nested):
        yield from missing_fields(value, f"{path}.{field.name}")


def keep_secrets(old: Message, new: Message) -> None:
    """Give a message the secrets of the one it replaces, where it has none of its own.

    An item of a list is the one that is equal to it in all but secrets; an entry of a map
    is the one under the same key.
    """
    if not holds_secrets(descriptor_of(new)):
        return
    for field in descriptor_of(new).fields:
        if is_secret(field):
            if is_set(old, field) and not is_set(new, field):
                copy_field(old, new, field)
        elif field.message_type is not None and holds_secrets(field.message_type):
            if is_map(field):
                _keep_in_map(getattr(old, field.name), getattr(new, field.name))
            elif field.is_repeated:
                _keep_in_list(getattr(old, field.name), getattr(new, field.name))
            elif old.HasField(field.name) and new.HasField(field.name):
                keep_secrets(getattr(old, field.name), getattr(new, field.name))


def _keep_in_map(old: Any, new: Any) -> None:
    for key in new:
        if key in old:
            keep_secrets(old[key], new[key])


def _keep_in_list(old: Any, new: Any) -> None:
    shown = [(_without_secrets(each), each) for each in old]
    for item in new:
        plain = _without_secrets(item)
        place = next((n for n, (seen, _) in enumerate(shown) if seen == plain), None)
        if place is not None:
            keep_secrets(shown.pop(place)[1], item)


def _without_secrets(message: Message) -> Message:
    copy: Message = type(message)()
    copy.CopyFrom(message)
    drop_secrets(copy)
    return copy
