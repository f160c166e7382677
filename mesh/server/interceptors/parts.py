"""Requests that a request carries: the writes of a batch are those of other methods."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Method


@dataclass(frozen=True)
class Part:
    """A repeated field whose items hold one request each."""

    field: FieldDescriptor
    methods: dict[str, Method]
    """Of each field of an item that is the request of a method: that method."""

    def requests(self, message: Message) -> Iterator[tuple[str, Method, Message]]:
        """Give the requests with their paths and methods."""
        for place, item in enumerate(getattr(message, self.field.name)):
            for name, method in self.methods.items():
                if item.HasField(name):
                    path = f"{self.field.name}[{place}].{name}"
                    yield path, method, getattr(item, name)


def parts_of(method: Method, methods: Iterable[Method]) -> list[Part]:
    """Find the fields of a request that carry requests of methods of the same service."""
    service = method.descriptor.containing_service
    siblings = {
        each.descriptor.input_type.full_name: each
        for each in methods
        if each.descriptor.containing_service is service
    }
    found = []
    for field in method.descriptor.input_type.fields:
        item = field.message_type
        if item is None or not field.is_repeated:
            continue
        carried = {
            each.name: siblings[each.message_type.full_name]
            for each in item.fields
            if each.message_type is not None and each.message_type.full_name in siblings
        }
        if carried:
            found.append(Part(field, carried))
    return found
