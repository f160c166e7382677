"""What a record was and became, as an entry tells it: without secret and sealed fields."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from mesh.sql.tables import KindTable
from mesh.sql.types import column_type

_STRUCT = "google.protobuf.Struct"
_EXACT = 2**53
"""Whole numbers beyond are texts: a Struct holds doubles."""
_ABSENT: tuple[Any, ...] = (None, "", [], {})
_Show = Callable[[Any, str], Value]


class States:
    """Reads the JSON that the change feed keeps of one kind's rows."""

    def __init__(self, target: KindTable) -> None:
        codec = target.codec
        self._target = target
        self._shown: Mapping[str, _Show] = {
            name: self._show(codec.fields[name])
            for name in codec.public_columns
            if name in codec.fields and name not in codec.sealed
        }

    def of(
        self, tenant: str, before: str | None, after: str | None
    ) -> tuple[bytes | None, bytes | None]:
        """Give both states as serialized Structs; of an update the fields that differ."""
        old = None if before is None else orjson.loads(before)
        new = None if after is None else orjson.loads(after)
        names = list(self._shown)
        if old is not None and new is not None:
            # What is not told of the old one did not change.
            names = [name for name in names if name in old and old[name] != new.get(name)]
        else:
            names = [name for name in names if (old or new or {}).get(name) not in _ABSENT]
        return self._state(tenant, old, names), self._state(tenant, new, names)

    def _state(
        self, tenant: str, values: Mapping[str, Any] | None, names: list[str]
    ) -> bytes | None:
        if values is None:
            return None
        fields = {}
        for name in names:
            value = values.get(name)
            shown = self._shown[name]
            fields[name] = Value(null_value=NULL_VALUE) if value is None else shown(value, tenant)
        # The same state is the same bytes.
        return Struct(fields=fields).SerializeToString(deterministic=True)

    def _show(self, field: FieldDescriptor) -> _Show:
        """Choose how a column is shown: enums and references by name, as callers know them."""
        pattern = self._target.kind.references.get(field.name)
        if pattern is not None:
            return lambda value, tenant: Value(string_value=pattern.format(tenant, value))
        enum = field.enum_type
        if enum is not None and not field.is_repeated:
            names = {number: each.name for number, each in enum.values_by_number.items()}
            return lambda value, _: Value(string_value=names.get(value, str(value)))
        message = field.message_type
        binary = isinstance(column_type(field), sa.LargeBinary)
        if binary and message is not None and message.full_name == _STRUCT:
            return lambda value, _: Value(struct_value=Struct.FromString(_bytes(value)))
        return lambda value, _: shown(value)


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("\\x"))


def shown(value: Any) -> Value:
    """Give a value of JSON as one of a Struct."""
    if value is None:
        return Value(null_value=NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int) and abs(value) > _EXACT:
        return Value(string_value=str(value))
    if isinstance(value, int | float):
        return Value(number_value=value)
    if isinstance(value, dict):
        return Value(
            struct_value=Struct(fields={name: shown(each) for name, each in value.items()})
        )
    if isinstance(value, list):
        return Value(list_value=ListValue(values=map(shown, value)))
    return Value(string_value=value)
