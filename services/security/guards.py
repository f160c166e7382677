"""The rules of several parts of the service about records, as one."""

from collections.abc import Sequence

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.records.writing import Guard


class Guards:
    """Asks one guard after the other; the first that refuses ends the write."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = tuple(guards)

    def concerns(self, kind: Kind) -> bool:
        """Tell whether one of them has rules about records of a kind."""
        return any(guard.concerns(kind) for guard in self._guards)

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Complete a record that is about to be written, or refuse it."""
        for guard in self._guards:
            if guard.concerns(kind):
                guard.settle(kind, old, new)
