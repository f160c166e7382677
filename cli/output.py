"""Data on standard output in the form asked for; talk on standard error."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import orjson
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # Rich would end the program as if it had failed


talk = _Screen(stderr=True, highlight=False)
"""What people read beside the data."""
_LEAST_WIDTH = 10
"""Characters of a terminal for each column of a table."""
# Controls of a terminal (ECMA-48), and those that turn the order of characters (UAX 9).
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class OutputFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


def visible(text: str) -> str:
    """Show what would command a terminal by its number; others write plans and accounts."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_json(message: Message) -> dict[str, object]:
    """Give a message in the JSON form of the REST gateway."""
    plain: dict[str, object] = MessageToDict(message)
    return plain


@dataclass(frozen=True)
class Column:
    """A table's column that is not a field as it stands."""

    title: str
    text: Callable[[Any], str]
    """Gives a message's cell."""


def write_messages(
    messages: Iterable[Message],
    output: OutputFormat,
    columns: Sequence[str | Column],
    title: str = "",
) -> None:
    """Write a list of messages; a table's columns are dotted field paths or Columns."""
    if output is OutputFormat.NDJSON:
        for message in messages:
            _write(orjson.dumps(as_json(message)))
    elif output is OutputFormat.JSON:
        listed = [as_json(message) for message in messages]
        _write(orjson.dumps(listed, option=orjson.OPT_INDENT_2))
    else:
        chosen = [_field_column(each) if isinstance(each, str) else each for each in columns]
        rows = ([visible(column.text(message)) for column in chosen] for message in messages)
        _print_table([column.title for column in chosen], rows, title)


def write_rows(rows: Sequence[Mapping[str, Any]], output: OutputFormat) -> None:
    """Write plain rows that no contract describes; a table's columns are all their keys."""
    if output is OutputFormat.NDJSON:
        for row in rows:
            _write(orjson.dumps(row))
    elif output is OutputFormat.JSON:
        _write(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    else:
        titles = list(dict.fromkeys(key for row in rows for key in row))
        _print_table(titles, ([visible(_plain(row.get(each))) for each in titles] for row in rows))


def _print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Show rows side by side, or one below the other where the terminal is too narrow for that."""
    console = _console()
    if console.width < _LEAST_WIDTH * len(titles):
        for row in rows:
            console.print(_one_below_the_other(zip(titles, row, strict=True)))
        return
    table = Table(title=title or None, header_style="bold")
    for each in titles:
        table.add_column(each, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _one_below_the_other(cells: Iterable[tuple[str, str]]) -> Table:
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    # What is long is written on, never cut: it may be a secret that is shown once.
    table.add_column(overflow="fold")
    for title, text in cells:
        table.add_row(title, Text(text))
    return table


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _field_column(path: str) -> Column:
    return Column(path.rpartition(".")[2], lambda message: cell(message, path))


def write_message(message: Message, output: OutputFormat) -> None:
    """Write one message; a table shows one line for each field that is set."""
    if output is OutputFormat.NDJSON:
        _write(orjson.dumps(as_json(message)))
    elif output is OutputFormat.JSON:
        _write(orjson.dumps(as_json(message), option=orjson.OPT_INDENT_2))
    elif cells := [(path, cell(message, path)) for path in leaves(message)]:
        _console().print(_one_below_the_other(cells))


def leaves(message: Message, prefix: str = "") -> Iterable[str]:
    """Give the dotted paths of all fields that are set, sub-messages taken apart."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if _opens(field) and not isinstance(value, Timestamp | Duration):
            yield from leaves(value, f"{path}.")
        else:
            yield path


def _opens(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.is_repeated


def cell(message: Message, path: str) -> str:
    """Give the value at a dotted path as a person reads it, empty if it is not set."""
    return visible(_cell(message, path))


def _cell(message: Message, path: str) -> str:
    head, _, rest = path.partition(".")
    field = cast("FieldDescriptor", message.DESCRIPTOR.fields_by_name[head])
    if field.has_presence and not message.HasField(head):
        return ""
    if rest:
        return _cell(getattr(message, head), rest)
    return _listed(message, field) if field.is_repeated else _shown(field, getattr(message, head))


def _listed(message: Message, field: FieldDescriptor) -> str:
    """Write a list or map as JSON, in the words of the contract; maps by their keys."""
    alone = type(message)()
    getattr(alone, field.name).MergeFrom(getattr(message, field.name))
    plain = MessageToDict(alone).get(field.json_name)
    if isinstance(plain, dict):
        plain = dict(sorted(plain.items()))
    return orjson.dumps(plain).decode() if plain else ""


def _shown(field: FieldDescriptor, value: object) -> str:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        plain: object = MessageToDict(value)
        # Some of protobuf's own messages, such as Duration, are texts in JSON.
        return plain if isinstance(plain, str) else orjson.dumps(plain).decode()
    if field.enum_type is not None and isinstance(value, int):
        return enum_word(field.enum_type, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """Give an enum value as a word, such as ``not-claimed``; empty for unspecified."""
    if number not in enum.values_by_number:
        return str(number)  # a value newer than this command
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    word = enum.values_by_number[number].name.removeprefix(prefix)
    return "" if word == "UNSPECIFIED" else word.lower().replace("_", "-")


def _console() -> Console:
    # Made at each use, so that a redirected standard output is honoured.
    return _Screen(highlight=False, width=None if sys.stdout.isatty() else 160)


def _write(line: bytes) -> None:
    write_bytes(line + b"\n")


def write_bytes(data: bytes) -> None:
    """Write a document as it is."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
