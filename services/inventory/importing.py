"""Rows of an old database as records: what it does not know is unread, never a default."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.server.interceptors.validation import violations_of
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_FAILED, READ_OUTCOME_UNSUPPORTED, Record
from secmesh.inventory.v1.sqlite_import_pb2 import ImportedColumn, ImportedTable
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import timestamp
from services.inventory.collect.source import GLOBAL
from services.inventory.collect.versions import ID_DIGITS
from services.inventory.loading import Target
from services.inventory.old_database import OldTable

TIMES = ("updated_at", "created_at")
"""Columns that say when the old program wrote a row, the better one first."""
MAX_PROBLEMS = 100
"""Problems of one table that are told; as the contract says."""
NOT_KNOWN, NO_VALUE, NOT_UNDERSTOOD = "NotInOldDatabase", "NullInOldDatabase", "NotUnderstood"
"""Codes of fields that were not read."""


class _Refused(Exception):
    """A row that cannot be taken."""


class TableImport:
    """Makes records of one table and reports what it could not take."""

    def __init__(
        self, table: OldTable, kind: Kind, collector: Collector, target: Target, region: str
    ) -> None:
        fields = kind.descriptor.fields_by_name
        self._table = table
        self._kind = kind
        self._collector = collector
        self._target = target
        self._region = GLOBAL if collector.scope is Scope.GLOBAL else region
        self._fields: Mapping[str, FieldDescriptor] = {
            column: fields[column] for column in table.columns if column in fields
        }
        self.report = ImportedTable(
            table=table.name, collection=kind.collection, rows=len(table.rows)
        )
        self._columns = {
            column: self.report.columns.add(
                column=column, field=column if column in self._fields else ""
            )
            for column in table.columns
        }

    def records(self) -> list[Record]:
        """Give the records of the rows that can be taken."""
        found: dict[str, Record] = {}
        for place, values in enumerate(self._table.rows, 1):
            try:
                row = dict(zip(self._table.columns, values, strict=True))
                record = self._record(place, row, found)
            except _Refused as refused:
                self.report.refused += 1
                self._tell(place, "", str(refused))
            else:
                found[record.name] = record
        return list(found.values())

    def _record(self, place: int, row: Mapping[str, Any], found: Mapping[str, Record]) -> Record:
        if not self._region:
            raise _Refused("is of a regional thing, and no region was named")
        record = Record(cloud_account_id=self._target.cloud_account_id, region=self._region)
        record.name = f"{self._target.parent}/{self._kind.collection}/{self._id(row)}"
        if record.name in found:
            raise _Refused("is the same thing as a row before")
        record.valid_from.CopyFrom(timestamp(_written(row)))
        body = getattr(record, str(self._kind.body_field))
        body.SetInParent()
        for field in self._kind.descriptor.fields:
            code = self._fill(body, field, place, row)
            if code:
                outcome = READ_OUTCOME_UNSUPPORTED if code == NOT_KNOWN else READ_OUTCOME_FAILED
                record.unread.add(field=field.name, code=code, outcome=outcome)
        if wrong := violations_of(record):
            raise _Refused(f"{wrong[0].field}: {wrong[0].description}")
        return record

    def _fill(
        self, body: Message, field: FieldDescriptor, place: int, row: Mapping[str, Any]
    ) -> str:
        """Set a field; if that cannot be done, give the code of why it is unread."""
        if field.name not in self._fields:
            return NOT_KNOWN
        column: ImportedColumn = self._columns[field.name]
        value = row[field.name]
        if value is None:
            column.absent += 1
            return NO_VALUE
        try:
            ParseDict({field.name: json_value(field, value)}, body)
        except (ParseError, ValueError, TypeError, KeyError):
            body.ClearField(field.name)
            column.not_understood += 1
            self._tell(place, field.name, "its value is not one that the field can hold")
            return NOT_UNDERSTOOD
        column.taken += 1
        return ""

    def _id(self, row: Mapping[str, Any]) -> str:
        """Hash what the collectors hash, as far as the old database knows it."""
        native = row.get(self._table.key)
        if not self._collector.listings:
            # The account is the one resource.
            native = self._target.cloud_account_id
        if native is None or native == "":
            raise _Refused("has no value that names it: no column is UNIQUE, or it is empty")
        account = self._target.cloud_account_id
        key = "\0".join((account, self._region, self._kind.collection, str(native)))
        return sha256(key.encode()).hexdigest()[:ID_DIGITS]

    def _tell(self, place: int, column: str, problem: str) -> None:
        if len(self.report.problems) < MAX_PROBLEMS:
            self.report.problems.add(row=place, column=column, problem=problem)


def _written(row: Mapping[str, Any]) -> datetime:
    for column in TIMES:
        text = row.get(column)
        if isinstance(text, str):
            try:
                return _moment(text)
            except ValueError:
                continue
    raise _Refused(f"does not say when it was written ({' or '.join(TIMES)})")


def _moment(text: str) -> datetime:
    """Read a time; SQLite's own have no zone and are UTC."""
    found = datetime.fromisoformat(text.strip())
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if found > datetime.now(UTC):
        raise ValueError("it lies in the future")
    return found


def json_value(field: FieldDescriptor, value: Any) -> Any:
    """Give a column's value in the JSON form of a field; a Python error if it has none."""
    if field.is_repeated or field.message_type is not None:
        if not isinstance(value, str):
            raise TypeError("is no text")
        if field.message_type is not None and field.message_type.name == "Timestamp":
            found = datetime.fromisoformat(value.strip())
            zoned = found.replace(tzinfo=UTC) if found.tzinfo is None else found
            return zoned.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return orjson.loads(value)
    if field.type == FieldDescriptor.TYPE_BOOL:
        known = {0: False, 1: True, "0": False, "1": True, "false": False, "true": True}
        return known[value.lower() if isinstance(value, str) else value]
    if field.type == FieldDescriptor.TYPE_STRING and not isinstance(value, str):
        raise TypeError("is no text")
    return value
