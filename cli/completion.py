"""What the shell offers while a command is typed: read from the contract, without a mesh."""

from collections.abc import Callable, Iterable, Iterator

import typer
from google.protobuf.descriptor import Descriptor

from secmesh.inventory.v1 import record_pb2
from secmesh.options.v1 import kind_pb2

Complete = Callable[[str], list[str]]


def _bodies() -> Iterator[tuple[str, Descriptor]]:
    for field in record_pb2.Record.DESCRIPTOR.oneofs_by_name["body"].fields:
        message = field.message_type
        if message is not None:
            yield message.GetOptions().Extensions[kind_pb2.kind].collection, message


def collections(incomplete: str) -> list[str]:
    """Offer the collections of records."""
    return sorted(name for name, _ in _bodies() if name.startswith(incomplete))


def record_names(incomplete: str) -> list[str]:
    """Offer ``COLLECTION/``, before which no record can be named."""
    return [f"{name}/" for name in collections(incomplete)]


def fields(context: typer.Context, incomplete: str) -> list[str]:
    """Offer the fields of the collection that stands before on the line."""
    # An option that still lacks its value leaves the words before it unread.
    typed = {context.params.get("collection"), *context.args}
    names = {field.name for name, body in _bodies() if name in typed for field in body.fields}
    return sorted(name for name in names if name.startswith(incomplete))


def words(known: Iterable[str]) -> Complete:
    """Offer words of a fixed list."""
    listed = sorted(known)

    def offer(incomplete: str) -> list[str]:
        return [word for word in listed if word.startswith(incomplete)]

    return offer
