"""Columns whose values stand in the store sealed or hashed (option ``at_rest``).

A sealed column is a text, whatever the field. What a field without presence holds when it is
empty (``[]``, ``{}``, an empty text) stands there as it is.
"""

from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import CatalogueError, Kind, field_option
from mesh.contract.storage import Storage, is_kept_plain, storage_of
from mesh.errors import SealBroken, SealingKeysMissing
from mesh.sealing.envelope import Place, Sealer
from mesh.sealing.hashing import is_hash
from mesh.sealing.keyring import KeyRing
from mesh.sql.document import is_secret
from secmesh.options.v1 import field_pb2

_HOLDERS = frozenset({Storage.MESSAGE, Storage.LIST, Storage.MAP, Storage.OPAQUE})
_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def is_sealed(field: FieldDescriptor) -> bool:
    """Tell whether the store keeps a field encrypted."""
    return field_option(field).at_rest == field_pb2.AT_REST_SEALED


def is_hashed(field: FieldDescriptor) -> bool:
    """Tell whether the store keeps a hash of a field."""
    return field_option(field).at_rest == field_pb2.AT_REST_HASHED


def keys_fields(kind: Kind) -> frozenset[str]:
    """Give the fields of a kind by which records are told apart, alone or together."""
    unique = [index for index in kind.option.indexes if index.unique]
    return frozenset(
        [
            *(field.name for field in kind.descriptor.fields if field_option(field).unique),
            *kind.option.natural_key,
            *(name for index in unique for name in index.fields),
        ]
    )


def needs_keys(kind: Kind) -> bool:
    """Tell whether records of a kind cannot be written without keys."""
    return not all(is_kept_plain(field) for field in kind.descriptor.fields)


class AtRest:
    """Seals the values of one kind's rows and opens them."""

    def __init__(self, kind: Kind, keys: KeyRing | None, absent: Mapping[str, object]) -> None:
        """Take the keys, without which nothing is sealed or opened; CatalogueError.

        ``absent``: what stands in a column when its field is not set.
        """
        _check(kind)
        self._collection = kind.collection
        self._columns = kind.pattern.columns
        self._absent = absent
        self._sealer = None if keys is None else Sealer(keys)
        unique = keys_fields(kind)
        fields = kind.descriptor.fields
        self._hashed = [(each.name, each.name in unique) for each in fields if is_hashed(each)]
        self.sealed: frozenset[str] = frozenset(each.name for each in fields if is_sealed(each))
        """The columns that are sealed."""
        self._bytes = frozenset(
            each.name
            for each in fields
            if is_sealed(each)
            and (
                storage_of(each) is Storage.OPAQUE
                or (not each.is_repeated and each.type == FieldDescriptor.TYPE_BYTES)
            )
        )

    def close_row(self, row: dict[str, object]) -> None:
        """Seal the values of a row; SealingKeysMissing.

        Raises ValueError for a value that should have been hashed and was not.
        """
        for name, keyed in self._hashed:
            value = row[name]
            if value != self._absent[name] and not is_hash(str(value), keyed=keyed):
                raise ValueError(f"{name} of {self._collection} is not hashed")
        for name in self.sealed:
            value = row[name]
            if value != self._absent[name]:
                content = value if isinstance(value, bytes) else str(value).encode()
                row[name] = self._with_keys(name).seal(content, self._place(row, name))

    def open(self, name: str, value: object, ids: Mapping[str, object]) -> object:
        """Give the value of a sealed column; SealBroken, SealingKeysMissing."""
        if value == self._absent[name]:
            return value
        if not isinstance(value, str):
            raise SealBroken(self._collection, name)
        opened = self._with_keys(name).open(value, self._place(ids, name))
        return opened if name in self._bytes else opened.decode()

    def reseal(self, row: Mapping[str, object]) -> dict[str, object]:
        """Seal what is sealed in a row anew, by the present key; SealBroken, SealingKeysMissing."""
        made: dict[str, object] = {}
        for name in self.sealed.intersection(row):
            value = self.open(name, row[name], row)
            if value != self._absent[name]:
                content = value if isinstance(value, bytes) else str(value).encode()
                made[name] = self._with_keys(name).seal(content, self._place(row, name))
        return made

    def _with_keys(self, name: str) -> Sealer:
        if self._sealer is None:
            raise SealingKeysMissing(self._collection, name)
        return self._sealer

    def _place(self, ids: Mapping[str, object], name: str) -> Place:
        tenant, *record = (str(ids[column]) for column in self._columns)
        return Place(tenant, self._collection, "/".join(record), name)


def _check(kind: Kind) -> None:
    """Refuse contracts that ask for what cannot hold."""
    indexed = {name for index in kind.option.indexes for name in index.fields}
    for field in kind.envelope_fields:
        if not is_kept_plain(field) or _holds_disguised(field):
            raise CatalogueError(field.full_name, "stands around the body and cannot be at_rest")
    for field in kind.descriptor.fields:
        if problem := _problem(kind, field, indexed):
            raise CatalogueError(field.full_name, problem)


def _problem(kind: Kind, field: FieldDescriptor, indexed: set[str]) -> str:
    if _holds_disguised(field):
        return "holds a field with at_rest, which is of the fields of a kind alone"
    if is_kept_plain(field):
        return ""
    option = field_option(field)
    whole = storage_of(field) in _HOLDERS or field.type in _TEXTS
    if option.references or option.indexed:
        return "is sealed or hashed, so it is no reference and has no index"
    if is_hashed(field):
        text = not field.is_repeated and field.type == FieldDescriptor.TYPE_STRING
        return "" if text and is_secret(field) else "is hashed, so it must be a secret text"
    if not whole:
        return "is sealed, so it must be a text, bytes, a list, a map or a message"
    if field.name in keys_fields(kind) | indexed:
        return "is sealed, so no index can be over it"
    return ""


def _holds_disguised(field: FieldDescriptor) -> bool:
    """Tell whether something inside the values of a field has the option, at any depth."""
    waiting, seen = [field.message_type], set()
    while waiting:
        message = waiting.pop()
        if message is not None and message.full_name not in seen:
            seen.add(message.full_name)
            if not all(is_kept_plain(each) for each in message.fields):
                return True
            waiting += [each.message_type for each in message.fields]
    return False
