"""Persons as a command line has them: their names, their values, and what never stands there."""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson
import typer
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from cli.connection import Connection, UsageProblem
from secmesh.crypto.v1.user_pb2 import User
from secmesh.options.v1 import field_pb2

MASK = "•••"
"""Stands in an answer for what is not shown."""
_TIERS = {
    field.name: field.GetOptions().Extensions[field_pb2.field].tier
    for field in User.DESCRIPTOR.fields
    if field.GetOptions().Extensions[field_pb2.field].tier
}
FIELDS = tuple(_TIERS)
SEALED = tuple(name for name, tier in _TIERS.items() if tier != field_pb2.TIER_CLEAR)
"""Fields of the contract that are sealed for every tenant."""
_WORD = re.compile(r"[A-Za-z_]{1,64}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_STDIN, _FILE = "-", "@"


def user_name(connection: Connection, name: str) -> str:
    """Give a person's resource name from itself, from ``users/ID`` or from the id."""
    return connection.full_name(name if "/" in name else f"users/{name}")


def offered_fields(incomplete: str) -> list[str]:
    """Offer what an option that sets a field begins with."""
    words = (f"{name}=" if _may_be_seen(name) else f"{name}={_STDIN}" for name in FIELDS)
    return sorted(word for word in words if word.startswith(incomplete))


def read_values(words: Iterable[str]) -> dict[str, str | None]:
    """Read ``NAME=VALUE``, ``NAME=-``, ``NAME=@FILE``; None for ``NAME=``, which takes it away.

    A command line is seen by every user of the machine and kept in the shell's history, so a
    value that is sealed, or that a tenant alone knows, is refused there. Raises UsageProblem.
    """
    values: dict[str, str | None] = {}
    for word in words:
        name, given, value = word.partition("=")
        if not given or not _FIELD.fullmatch(name) or name in values:
            raise UsageProblem("fields are NAME=VALUE, NAME=-, NAME=@FILE or NAME=, each once")
        if value == _STDIN:
            values[name] = _asked(name)
        elif value.startswith(_FILE):
            values[name] = Path(value.removeprefix(_FILE)).read_text().rstrip("\r\n")
        elif value and not _may_be_seen(name):
            raise UsageProblem(
                f"{name}: what is sealed never stands on a command line, which others see and "
                f"shells remember: {name}=- asks for it or reads a line of standard input, "
                f"{name}=@FILE reads a file"
            )
        else:
            values[name] = value or None
    return values


def read_user(file: str) -> User:
    """Read a person's JSON; values that are masked stay out. UsageProblem, never with a value."""
    text = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    try:
        plain = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        place = f"line {problem.lineno}, column {problem.colno}"
        raise UsageProblem(f"the person is no JSON: {place}") from None
    if not isinstance(plain, dict):
        raise UsageProblem("the person is no JSON object")
    user = User()
    for name, value in plain.items():
        try:
            ParseDict({name: value}, user)
        except ParseError:  # whose words may hold the value
            shown = name if _WORD.fullmatch(name) else "a field"
            raise UsageProblem(f"{shown} is not as the contract says") from None
    _drop_masks(user)
    return user


def set_values(user: User, values: Mapping[str, str | None]) -> None:
    """Write values into a person; those that are to be taken away are cleared."""
    message: Message = user  # its own stub knows the fields' names as literals only
    for name, value in values.items():
        if name not in _TIERS:
            user.fields.pop(name, None)
            if value is not None:
                user.fields[name] = value
        elif value is None:
            message.ClearField(name)
        else:
            setattr(user, name, value)


def paths_of(user: User, values: Mapping[str, str | None]) -> list[str]:
    """Give the mask of an update: what the person holds, and what is to be taken away."""
    message: Message = user
    held = {name for name in FIELDS if message.HasField(name)}
    own = {*user.fields, *(set(values) - set(FIELDS))}
    return sorted({*held, *(set(values) - own), *(f"fields.{name}" for name in own)})


def _may_be_seen(name: str) -> bool:
    return _TIERS.get(name) == field_pb2.TIER_CLEAR


def _asked(name: str) -> str:
    """Ask on a terminal without an echo, else read a line."""
    if sys.stdin.isatty():
        typed: str = typer.prompt(name, hide_input=True, err=True)
        return typed
    line = sys.stdin.readline()
    if not line:
        raise UsageProblem(f"standard input has no line for {name}")
    return line.rstrip("\r\n")


def _drop_masks(user: User) -> None:
    """Leave out what stands there as it was shown: it is not to be written."""
    message: Message = user
    for name in FIELDS:
        if getattr(user, name) == MASK:
            message.ClearField(name)
    for name in [each for each, value in user.fields.items() if value == MASK]:
        del user.fields[name]
