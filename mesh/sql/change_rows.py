"""What triggers kept of rows, read back as messages."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from google.protobuf.message import Message

from mesh.sql.references import ID, TENANT
from mesh.sql.tables import KindTable
from mesh.sql.types import Json, Timestamp, column_type

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Read = Callable[[Any], Any]


class ChangeRows:
    """Reads the JSON of one kind's rows; columns that the contract lost count for nothing."""

    def __init__(self, target: KindTable) -> None:
        codec = target.codec
        self._readers = {
            name: _reader(column_type(codec.fields[name]))
            for name in codec.public_columns
            if name in codec.fields
        }
        self._decode = codec.decoder((TENANT, ID, *self._readers))

    def message(self, tenant: str, record: str, text: str) -> Message:
        """Give the message of a row."""
        return self._decode((tenant, record, *self.values(text).values()))

    def earlier(self, tenant: str, record: str, before: str, after: str) -> Message:
        """Give the message of a row as it was before an update, of which it was kept what differs.

        Of rows that are older than this form, all was kept.
        """
        kept = orjson.loads(after) | orjson.loads(before)
        return self._decode((tenant, record, *self._read(kept).values()))

    def values(self, text: str) -> Mapping[str, Any]:
        """Give the values of the columns, as the store reads them; None for what is absent."""
        return self._read(orjson.loads(text))

    def _read(self, kept: Mapping[str, Any]) -> Mapping[str, Any]:
        found = {}
        for name, read in self._readers.items():
            value = kept.get(name)
            found[name] = None if value is None else read(value)
        return found


def _reader(kind: "sa.types.TypeEngine[Any]") -> _Read:
    for known, read in _READERS:
        if isinstance(kind, known):
            return read
    return _same


def _same(value: Any) -> Any:
    return value


def _moment(value: str | int) -> int:
    """Give microseconds since 1970 of SQLite's number, or of PostgreSQL's ISO 8601."""
    if isinstance(value, int):
        return value
    return (datetime.fromisoformat(value) - _EPOCH) // _MICROSECOND


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("\\x"))


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


_READERS: tuple[tuple[type[sa.types.TypeEngine[Any]], _Read], ...] = (
    (Timestamp, _moment),
    (Json, _text),
    (sa.LargeBinary, _bytes),
    (sa.Boolean, bool),
    (sa.Double, float),
)
