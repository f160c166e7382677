"""How triggers write the columns of a row as JSON, without what is secret."""

# ruff: noqa: S608 - all names are of the contract, and nothing is a caller's

from collections.abc import Iterator
from itertools import count

import sqlalchemy as sa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.contract.catalogue import CatalogueError
from mesh.contract.storage import Storage, item_storage, message_type, storage_of
from mesh.sql.codec import Codec
from mesh.sql.document import is_secret
from mesh.sql.secrets import holds_secrets
from mesh.sql.types import Json, column_type


def json_columns(
    codec: Codec, row: str, database: str, *, alone: bool = False
) -> Iterator[tuple[str, str]]:
    """Give name and expression of each column that may be shown, but the ids.

    The expressions are of JSON on SQLite, and of what ``row_to_json`` takes on PostgreSQL. Columns
    of a row that is ``alone`` in its statement are named without it.
    """
    for name in codec.public_columns:
        field = codec.fields.get(name)
        if field is not None:
            text = f'"{name}"' if alone else f'{row}."{name}"'
            inner = field.message_type
            if inner is not None and isinstance(column_type(field), Json) and holds_secrets(inner):
                # What unfolds JSON is a table beside the row, with columns of its own.
                text = _Stripping(database).value(f'{row}."{name}"', field, ())
            yield name, text if database == "postgresql" else _quoted(text, field)


def _quoted(text: str, field: FieldDescriptor) -> str:
    """Write a value of SQLite as JSON."""
    kind = column_type(field)
    if isinstance(kind, Json):
        return f"coalesce({text}, 'null')"
    if isinstance(kind, sa.LargeBinary):
        return f"""CASE WHEN {text} IS NULL THEN 'null' ELSE '"' || hex({text}) || '"' END"""
    if isinstance(kind, sa.Double):
        # SQLite's own JSON keeps 15 digits of the 17 that a double may need.
        return f"""CASE WHEN {text} IS NULL THEN 'null' ELSE printf('%!.17g', {text}) END"""
    return f"json_quote({text})"


class _Stripping:
    """Writes expressions of JSON without the secrets in it, at any depth."""

    def __init__(self, database: str) -> None:
        self._postgres = database == "postgresql"
        self._number = count()

    def value(self, text: str, field: FieldDescriptor, above: tuple[Descriptor, ...]) -> str:
        """Strip the value of a field."""
        storage = storage_of(field)
        if storage is Storage.MAP:
            return self._map(text, message_type(field).fields_by_name["value"], above)
        if storage is Storage.LIST:
            return self._list(text, field, above)
        return self._message(text, message_type(field), above)

    def _message(self, text: str, message: Descriptor, above: tuple[Descriptor, ...]) -> str:
        if message in above:
            raise CatalogueError(
                message.full_name, "holds itself and secrets: no change can show it"
            )
        secrets = [field.name for field in message.fields if is_secret(field)]
        nested = [field for field in message.fields if _strips(field)]
        stripped = text
        if secrets and self._postgres:
            names = ", ".join(f"'{name}'" for name in secrets)
            stripped = f"({text} - ARRAY[{names}])"
        elif secrets:
            names = ", ".join(f"'$.{name}'" for name in secrets)
            stripped = f"json_remove({text}, {names})"
        for field in nested:
            if self._postgres:
                inner = self.value(f"({text} -> '{field.name}')", field, (*above, message))
                held = f"jsonb_build_object('{field.name}', {inner})"
                present = f"jsonb_exists({text}, '{field.name}')"
                stripped = f"({stripped} || CASE WHEN {present} THEN {held} ELSE '{{}}'::jsonb END)"
            else:
                path = f"'$.{field.name}'"
                inner = self.value(f"json_extract({text}, {path})", field, (*above, message))
                stripped = f"json_replace({stripped}, {path}, json({inner}))"
        return stripped

    def _list(self, text: str, field: FieldDescriptor, above: tuple[Descriptor, ...]) -> str:
        row = f"e{next(self._number)}"
        item = self._message(f"{row}.value", message_type(field), above)
        if self._postgres:
            items = f"jsonb_array_elements({text}) WITH ORDINALITY {row}(value, place)"
            return f"(SELECT coalesce(jsonb_agg({item} ORDER BY {row}.place), '[]') FROM {items})"
        return f"(SELECT json_group_array(json({item})) FROM json_each({text}) {row})"

    def _map(self, text: str, value: FieldDescriptor, above: tuple[Descriptor, ...]) -> str:
        row = f"e{next(self._number)}"
        item = self._message(f"{row}.value", message_type(value), above)
        if self._postgres:
            pairs = f"coalesce(jsonb_object_agg({row}.key, {item}), '{{}}')"
            return f"(SELECT {pairs} FROM jsonb_each({text}) {row}(key, value))"
        return f"(SELECT json_group_object({row}.key, json({item})) FROM json_each({text}) {row})"


def _strips(field: FieldDescriptor) -> bool:
    if field.message_type is None or is_secret(field) or not holds_secrets(field.message_type):
        return False
    inner = field
    if storage_of(field) is Storage.MAP:
        inner = message_type(field).fields_by_name["value"]
    return item_storage(inner) is Storage.MESSAGE
