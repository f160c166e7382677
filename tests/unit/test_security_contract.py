"""The security contract has every table and field that was asked for.

The tables of the design, ``../shared/data`` beside the project, say the most: types, what is
required, unique, referred to and kept secret. Where they are not, a list of names in the project
stands in for them. A failure names what is missing.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from mesh.contract.catalogue import field_option, is_map
from mesh.contract.image import package_files
from mesh.records.fields import behaves
from secmesh.options.v1 import field_pb2, kind_pb2
from secmesh.security.v1.record_pb2 import Record

PROJECT = Path(__file__).parents[2]
DATA = PROJECT.parent / "shared" / "data"
NAMES = Path(__file__).with_name("security_tables.txt")
TABLES = 119
ENVELOPE = frozenset(
    field.name for field in Record.DESCRIPTOR.fields if field.containing_oneof is None
) - {"name"}
"""Fields that every record has, whatever its kind; a table that asks for one has it there."""

_STRING, _INT64 = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_INT64
_DOUBLE, _BOOL = FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_BOOL
_MESSAGES = (FieldDescriptor.TYPE_MESSAGE,)
_TIMESTAMP = "google.protobuf.Timestamp"
_ENUM = re.compile(r"enum (\w+)\((.+)\)")


@dataclass(frozen=True)
class Wanted:
    """One field as the design asks for it."""

    table: str
    field: str
    type: str
    required: bool
    unique: bool
    references: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.table}.{self.field}"

    @property
    def unique_with(self) -> list[str]:
        """The fields that are unique together with it; none if it says nothing."""
        found = [note.removeprefix("unique-with:") for note in self.notes if "unique-with:" in note]
        return found[0].split("+") if found else []


@cache
def named() -> Mapping[str, list[str]]:
    """Give the fields of every table, by the list in the project."""
    lines = (line.split(": ") for line in NAMES.read_text().splitlines())
    return {table: fields.split() for table, fields in lines}


def test_the_list_in_the_project_is_that_of_the_design() -> None:
    if not DATA.is_dir():
        pytest.skip("the tables of the design are not beside the project")
    asked: dict[str, list[str]] = {}
    for each in wanted():
        asked.setdefault(each.table, []).append(each.field)
    assert named() == asked


def test_every_table_is_a_kind_of_record() -> None:
    names = list(named())
    assert len(names) == TABLES
    missing = [name for name in names if name not in kinds()]
    assert not missing, f"{len(missing)} tables are no kinds: {', '.join(missing)}"
    held = {field.message_type for field in Record.DESCRIPTOR.oneofs_by_name["body"].fields}
    left = [name for name in names if kinds()[name] not in held]
    assert not left, f"kinds that no record can hold: {', '.join(left)}"
    # What the service alone writes is no record of a caller's.
    own = {name for name, message in kinds().items() if option_of(message).output_only}
    unasked = sorted(kinds().keys() - set(names) - own)
    assert not unasked, f"kinds that nobody asked for: {', '.join(unasked)}"


@pytest.mark.parametrize("table", list(named()))
def test_a_kind_has_the_fields_of_its_table_in_their_order(table: str) -> None:
    fields = [field.name for field in kind(table).fields]
    asked = [name for name in named()[table] if name not in ENVELOPE]
    missing = [name for name in asked if name not in fields]
    assert not missing, f"{table} lacks {', '.join(missing)}"
    assert fields[: len(asked)] == asked


@cache
def kinds() -> Mapping[str, Descriptor]:
    """Give the messages of the contract that are kinds, whether or not the envelope has them."""
    files = package_files("secmesh.security.v1")
    messages = [message for file in files for message in file.message_types_by_name.values()]
    return {
        option_of(message).collection: message
        for message in messages
        if message.GetOptions().HasExtension(kind_pb2.kind)
    }


def option_of(message: Descriptor) -> kind_pb2.Kind:
    return message.GetOptions().Extensions[kind_pb2.kind]


def kind(table: str) -> Descriptor:
    found = kinds().get(table)
    assert found is not None, f"{table} is no kind"
    return found


def wanted() -> list[Wanted]:
    return list(_wanted()) if DATA.is_dir() else []


def _wanted() -> Iterator[Wanted]:
    for file in ("fields.csv", "fields_extra.csv"):
        with (DATA / file).open(newline="") as lines:
            for row in csv.DictReader(lines):
                yield Wanted(
                    row["table"],
                    row["field"],
                    row["type"],
                    row["required"] == "yes",
                    row["unique"] == "yes",
                    row["references"],
                    tuple(note.strip() for note in row["note"].split(";")),
                )


def problems(table: str) -> Iterator[str]:
    """Give what a kind has otherwise than its table."""
    fields = kind(table).fields_by_name
    for each in wanted():
        if each.table == table and each.field in fields:
            field = fields[each.field]
            for rule in (_type, _required, _unique, _reference, _disclosure, _behaviour):
                for problem in rule(each, field):
                    yield f"{each}: {problem}"


@pytest.mark.parametrize("table", sorted({each.table for each in wanted()}))
def test_a_kind_says_of_its_fields_what_its_table_says(table: str) -> None:
    found = list(problems(table))
    assert not found, "\n".join(found)


def _type(each: Wanted, field: FieldDescriptor) -> Iterator[str]:
    enum = _ENUM.match(each.type)
    if enum:
        yield from _enum(field, enum[1], enum[2].split("|"))
    elif not _TYPES[each.type](field):
        yield f"is no {each.type}"


def _enum(field: FieldDescriptor, name: str, values: list[str]) -> Iterator[str]:
    if field.enum_type is None or field.is_repeated:
        yield f"is no enum {name}"
        return
    if field.enum_type.name != name:
        yield f"is of {field.enum_type.name}, not of {name}"
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper()
    stated = [
        value.name.removeprefix(f"{prefix}_")
        for value in sorted(field.enum_type.values, key=lambda value: value.number)
        if value.number
    ]
    if stated[: len(values)] != values:
        yield f"has the values {stated}, not {values}"


def _is(kind_of_field: int) -> Callable[[FieldDescriptor], bool]:
    return lambda field: field.type == kind_of_field and not field.is_repeated


def _is_json(field: FieldDescriptor) -> bool:
    return field.type in _MESSAGES and not _is_timestamp(field)


def _is_timestamp(field: FieldDescriptor) -> bool:
    message = field.message_type
    return message is not None and message.full_name == _TIMESTAMP and not field.is_repeated


_TYPES: Mapping[str, Callable[[FieldDescriptor], bool]] = {
    "string": _is(_STRING),
    "int64": _is(_INT64),
    "double": _is(_DOUBLE),
    "bool": _is(_BOOL),
    "timestamp": _is_timestamp,
    "string list": lambda field: field.type == _STRING and field.is_repeated and not is_map(field),
    # What was loose in the tables is typed here; a list of texts is a type too.
    "json": lambda field: _is_json(field) or (field.type == _STRING and field.is_repeated),
}


def _required(each: Wanted, field: FieldDescriptor) -> Iterator[str]:
    if behaves(field, field_behavior_pb2.REQUIRED) != each.required:
        yield "must be REQUIRED" if each.required else "must not be REQUIRED"
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if each.required and field.enum_type is not None and 0 not in rules.enum.not_in:
        yield "is required, and takes the unspecified value"


def _unique(each: Wanted, field: FieldDescriptor) -> Iterator[str]:
    if field_option(field).unique != each.unique:
        yield "must be unique" if each.unique else "must not be unique"
    together = {*each.unique_with, each.field}
    option = option_of(kind(each.table))
    sets = [
        set(option.natural_key),
        *(set(index.fields) for index in option.indexes if index.unique),
    ]
    if each.unique_with and together not in sets:
        yield f"is not unique with {', '.join(each.unique_with)}"


def _reference(each: Wanted, field: FieldDescriptor) -> Iterator[str]:
    stated = field_option(field).references
    if stated != each.references:
        yield f"refers to {stated or 'nothing'}, not to {each.references or 'nothing'}"


def _disclosure(each: Wanted, field: FieldDescriptor) -> Iterator[str]:
    option, notes = field_option(field), each.notes
    written_only = "write-only" in notes or "secret-hash" in notes
    hidden = option.sensitivity == field_pb2.SENSITIVITY_SECRET
    if hidden != written_only:
        yield "must be SECRET" if written_only else "is SECRET unasked"
    personal = not written_only and ("pii" in notes or "encrypted" in notes)
    if personal and option.sensitivity != field_pb2.SENSITIVITY_PII:
        yield "must be PII"
    at_rest = (
        field_pb2.AT_REST_HASHED
        if "secret-hash" in notes
        else field_pb2.AT_REST_SEALED
        if "encrypted" in notes
        else field_pb2.AT_REST_UNSPECIFIED
    )
    if option.at_rest != at_rest:
        yield f"must be {field_pb2.AtRest.Name(at_rest)}"


STRICTER = {
    ("iam_audit_logs", "actor_name"),
    ("iam_audit_logs", "previous_hash"),
    ("users", "locked_until"),
    ("workflow_executions", "trigger_ref"),
}
"""What callers may say by the design, and would break by saying it."""


def _behaviour(each: Wanted, field: FieldDescriptor) -> Iterator[str]:
    for note, behaviour in (
        ("output-only", field_behavior_pb2.OUTPUT_ONLY),
        ("immutable", field_behavior_pb2.IMMUTABLE),
    ):
        if behaves(field, behaviour) and (each.table, each.field) in STRICTER:
            continue
        if (note in each.notes) != behaves(field, behaviour):
            yield f"must be {note}" if note in each.notes else f"is {note} unasked"
    if "append-only" in each.notes and not option_of(kind(each.table)).append_only:
        yield "is the time of a log that is appended to, and its kind is not append_only"
