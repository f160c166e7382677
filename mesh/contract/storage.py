"""In which form the value of a field is kept, whatever keeps it."""

from enum import Enum, auto
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.contract.catalogue import field_option, is_map
from secmesh.options.v1 import field_pb2

MICROSECONDS = 1_000_000
"""Microseconds in a second."""


class Storage(Enum):
    """How the value of one field is kept."""

    SCALAR = auto()
    ENUM = auto()
    TIMESTAMP = auto()
    DURATION = auto()
    MESSAGE = auto()
    OPAQUE = auto()
    """A message of another package, as bytes."""
    LIST = auto()
    MAP = auto()


_UNSORTABLE = frozenset({Storage.MESSAGE, Storage.OPAQUE, Storage.LIST, Storage.MAP})


@cache
def storage_of(field: FieldDescriptor) -> Storage:
    """Tell how a field is kept; a map entry's value counts as a field of its own."""
    if is_map(field):
        return Storage.MAP
    return Storage.LIST if field.is_repeated else item_storage(field)


def item_storage(field: FieldDescriptor) -> Storage:
    """Tell how one value of a field is kept: the item of a list, else the field itself."""
    message: Descriptor | None = field.message_type
    if message is None:
        return Storage.SCALAR if field.enum_type is None else Storage.ENUM
    if message.full_name == "google.protobuf.Timestamp":
        return Storage.TIMESTAMP
    if message.full_name == "google.protobuf.Duration":
        return Storage.DURATION
    holder: Descriptor | None = field.containing_type
    ours = holder is not None and _root(message) == _root(holder)
    return Storage.MESSAGE if ours else Storage.OPAQUE


def message_type(field: FieldDescriptor) -> Descriptor:
    """Give the message of a field that holds messages."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} holds no message")
    return field.message_type


def enum_numbers(field: FieldDescriptor) -> list[int]:
    """Give the numbers that the contract defines for an enum field, ascending."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} holds no enum")
    return sorted({value.number for value in field.enum_type.values})


def _root(message: Descriptor) -> str:
    """Give the first part of a message's package: ours or another's."""
    package: str = message.file.package
    return package.split(".", 1)[0]


def is_kept_plain(field: FieldDescriptor) -> bool:
    """Tell whether a value stands in the store as it was sent, neither sealed nor hashed."""
    return field_option(field).at_rest == field_pb2.AT_REST_UNSPECIFIED


def sortable(field: FieldDescriptor) -> bool:
    """Tell whether rows can be put in order by a field."""
    return storage_of(field) not in _UNSORTABLE and field.type != FieldDescriptor.TYPE_BYTES
