"""Fields that are kept as hashes: what callers send is hashed before it is stored.

What is sent is a value, whatever it looks like: a hash that is sent is hashed. The one text that
stays is the stored hash of the same record, which changes nothing.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.contract.names import tenant_of
from mesh.errors import SealingKeysMissing
from mesh.sealing.hashing import is_hash_of, keyed_hashes, salted_hash
from mesh.sealing.keyring import KeyRing
from mesh.sql.at_rest import is_hashed, keys_fields

Salted = Mapping[str, str]
"""Salted hashes of what a caller sent, by field."""
NONE: Salted = MappingProxyType({})


class HashedFields:
    """Hashes the fields of records, as their contract says."""

    def __init__(self, keys: KeyRing | None) -> None:
        self._keys = keys
        self._known: dict[str, Mapping[str, bool]] = {}

    def _of(self, kind: Kind) -> Mapping[str, bool]:
        """Give the hashed fields of a kind, and whether they are hashed with a key."""
        known = self._known.get(kind.collection)
        if known is None:
            known = self._known[kind.collection] = _hashed_fields(kind)
        return known

    def has_salted(self, kind: Kind, record: Message) -> bool:
        """Tell whether a record has values that get another hash each time."""
        keyed = self._of(kind)
        return bool(keyed) and any(
            not known and _has(kind, record, name) for name, known in keyed.items()
        )

    async def salted(self, kind: Kind, given: Message, old: Message | None = None) -> Salted:
        """Hash what must not be hashed in the event loop; what ``old`` has of it is kept."""
        if self._keys is None or not self.has_salted(kind, given):
            return NONE
        made = {}
        for name, keyed in self._of(kind).items():
            if keyed or not _has(kind, given, name):
                continue
            text = _value(kind, given, name)
            stored = _value(kind, old, name) if old is not None else ""
            same = bool(stored) and await is_hash_of(stored, text)
            made[name] = stored if same else await salted_hash(text)
        return made

    def plain(self, kind: Kind, old: Message | None, new: Any) -> Any:
        """Give a record without the hashes that it took from ``old``: only values have bounds."""
        if not any(_has(kind, new, name) for name in self._of(kind)):
            return new
        # A copy in any case: the record itself is hashed next.
        plain = type(new)()
        plain.CopyFrom(new)
        for name in self._of(kind):
            if _is_carried(kind, old, new, name):
                _holder(kind, plain).ClearField(name)
        return plain

    def apply(self, kind: Kind, old: Message | None, new: Any, salted: Salted) -> None:
        """Put hashes where values are, but for those that came from ``old``.

        Raises SealingKeysMissing.
        """
        for name, keyed in self._of(kind).items():
            if not _has(kind, new, name) or _is_carried(kind, old, new, name):
                continue
            if self._keys is None:
                raise SealingKeysMissing(kind.collection, name)
            text = _value(kind, new, name)
            stored = salted[name] if not keyed else self._same(kind, old, new.name, name, text)
            setattr(_holder(kind, new), name, stored)

    def keyed(self, kind: Kind, name: str, field: str, text: str) -> str:
        """Hash the value of a field that records are told apart by; ``name`` has the tenant."""
        return self.known(kind, name, field, text)[0]

    def known(self, kind: Kind, name: str, field: str, text: str) -> Sequence[str]:
        """Give the hashes of such a value by all keys, the present one first."""
        if self._keys is None:
            raise SealingKeysMissing(kind.collection, field)
        return keyed_hashes(self._keys, text, tenant_of(name) or "", kind.collection, field)

    def _same(self, kind: Kind, old: Message | None, name: str, field: str, text: str) -> str:
        """Hash a value; one that is hashed by an older key already stays, and changes nothing."""
        hashes = self.known(kind, name, field, text)
        stored = _value(kind, old, field) if old is not None else ""
        return stored if stored in hashes else hashes[0]


def _hashed_fields(kind: Kind) -> Mapping[str, bool]:
    unique = keys_fields(kind)
    return {
        field.name: field.name in unique for field in kind.descriptor.fields if is_hashed(field)
    }


def _holder(kind: Kind, record: Any) -> Any:
    return record if kind.body_field is None else getattr(record, kind.body_field)


def _has(kind: Kind, record: Message, name: str) -> bool:
    holder = _holder(kind, record)
    field = holder.DESCRIPTOR.fields_by_name[name]
    return bool(holder.HasField(name) if field.has_presence else getattr(holder, name))


def _value(kind: Kind, record: Message, name: str) -> str:
    value: str = getattr(_holder(kind, record), name)
    return value


def _is_carried(kind: Kind, old: Message | None, new: Message, name: str) -> bool:
    return (
        old is not None
        and _has(kind, old, name)
        and _value(kind, old, name) == _value(kind, new, name)
    )
