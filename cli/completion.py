"""What the shell offers while a command is typed: read from the contract, without a mesh."""

from collections.abc import Callable, Iterable, Iterator

import typer
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from secmesh.inventory.v1 import record_pb2
from secmesh.options.v1 import kind_pb2

Complete = Callable[[str], list[str]]


class Words:
    """Words of the records of one service.

    Args:
        record: Its envelope, whose ``body`` is of one kind or another.
    """

    def __init__(self, record: Descriptor) -> None:
        self._record = record

    def bodies(self) -> Iterator[tuple[str, FieldDescriptor]]:
        """Give each collection with the field that holds its records' body."""
        for field in self._record.oneofs_by_name["body"].fields:
            message = field.message_type
            if message is not None:
                yield message.GetOptions().Extensions[kind_pb2.kind].collection, field

    def collections(self, incomplete: str) -> list[str]:
        """Offer the collections of records."""
        return sorted(name for name, _ in self.bodies() if name.startswith(incomplete))

    def record_names(self, incomplete: str) -> list[str]:
        """Offer ``COLLECTION/``, before which no record can be named."""
        return [f"{name}/" for name in self.collections(incomplete)]

    def fields(self, context: typer.Context, incomplete: str) -> list[str]:
        """Offer the fields of the collection that stands before on the line."""
        # An option that still lacks its value leaves the words before it unread.
        typed = {context.params.get("collection"), *context.args}
        bodies = [body.message_type for name, body in self.bodies() if name in typed]
        names = {field.name for body in bodies if body is not None for field in body.fields}
        return sorted(name for name in names if name.startswith(incomplete))


INVENTORY_WORDS = Words(record_pb2.Record.DESCRIPTOR)
collections = INVENTORY_WORDS.collections
record_names = INVENTORY_WORDS.record_names


def words(known: Iterable[str]) -> Complete:
    """Offer words of a fixed list."""
    listed = sorted(known)

    def offer(incomplete: str) -> list[str]:
        return [word for word in listed if word.startswith(incomplete)]

    return offer
