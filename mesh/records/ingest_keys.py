"""By what a record of a stream is known: its name, its natural key, or a unique field."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import Kind, field_option
from mesh.contract.storage import Storage, sortable, storage_of
from mesh.records.hashed import HashedFields
from mesh.sql.at_rest import is_hashed, needs_keys
from mesh.sql.bulk import Key
from mesh.sql.references import referred_id
from mesh.sql.values import scalar_encoder

ReadKey = Callable[[Any, str], Key]
"""Reads a key from a record of a tenant; FieldInvalid, ReferenceNotFound."""


class Keys:
    """The keys of one kind."""

    def __init__(self, kind: Kind, hashed: HashedFields) -> None:
        self._kind = kind
        self._hashed = hashed
        natural = tuple(kind.option.natural_key)
        fields = {field.name: field for field in (*kind.envelope_fields, *kind.descriptor.fields)}
        # What databases do not compare alike is no key here.
        usable = natural and all(sortable(fields[name]) for name in natural)
        self._natural = self._reader([fields[name] for name in natural]) if usable else None
        self._natural_fields = natural
        self.in_rows = not needs_keys(kind)
        """Whether rows hold keys as they are compared: not sealed, nor hashed when stored."""
        self._unique = [
            ((field.name,), self._reader([field]))
            for field in fields.values()
            if field_option(field).unique and sortable(field)
        ]

    def of(self, record: Any, tenant: str) -> tuple[Sequence[str], Key] | None:
        """Give the fields and the values of an unnamed record's key; None if it has none."""
        if self._natural is not None:
            key = self._natural(record, tenant)
            if key[-1] is not None or not self._kind.key_needs:
                return self._natural_fields, key
        for fields, read in self._unique:
            key = read(record, tenant)
            if key[0] is not None:
                return fields, key
        return None

    def of_row(self, row: Mapping[str, Any]) -> tuple[Sequence[str], Key] | None:
        """Give the same of an unnamed record that was made a row; nothing is read twice then."""
        if self._natural is not None:
            key = tuple([row[field] for field in self._natural_fields])
            if key[-1] is not None or not self._kind.key_needs:
                return self._natural_fields, key
        for fields, _ in self._unique:
            if row[fields[0]] is not None:
                return fields, (row[fields[0]],)
        return None

    def _reader(self, fields: Sequence[FieldDescriptor]) -> ReadKey:
        parts = [self._part(field) for field in fields]
        if len(parts) == 1:
            [only] = parts
            return lambda record, tenant: (only(record, tenant),)
        return lambda record, tenant: tuple([part(record, tenant) for part in parts])

    def _part(self, field: FieldDescriptor) -> Callable[[Any, str], Any]:
        body = self._kind.body_field if field.containing_type == self._kind.descriptor else None
        convert, name, optional = self._converter(field), field.name, field.has_presence

        def read(record: Any, tenant: str) -> Any:
            holder = record if body is None else getattr(record, body)
            if optional and not holder.HasField(name):
                return None
            value = getattr(holder, name)
            return value if convert is None else convert(value, tenant)

        return read

    def _converter(self, field: FieldDescriptor) -> Callable[[Any, str], Any] | None:
        """Give the way from a field's value in a tenant to what is stored; None if it is that."""
        kind, name = self._kind, field.name
        if is_hashed(field):
            return lambda value, tenant: self._hashed.keyed(kind, f"tenants/{tenant}", name, value)
        if (pattern := kind.references.get(name)) is not None:
            return lambda value, tenant: referred_id(name, pattern, value, tenant)
        if storage_of(field) not in (Storage.SCALAR, Storage.TIMESTAMP, Storage.DURATION):
            return None
        convert = scalar_encoder(field, binary=True)
        return None if convert is None else lambda value, _tenant: convert(value)
