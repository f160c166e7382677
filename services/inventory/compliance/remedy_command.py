"""Commands of the AWS CLI, as a POSIX shell reads them.

Every value is quoted. Inputs are variables of the shell that must be set, or the shell says what
they are and stops. Source: AWS CLI user guide, "Specify parameter values".
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import xform_name

from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.remedy_template import (
    CLOSE,
    EACH,
    OPEN,
    Facts,
    Unfilled,
    filled,
    filled_text,
    holds,
    known_parts,
    template,
)

_CLI_NAMES = {"s3": "s3api", "config": "configservice"}
"""Services that the CLI calls otherwise than the SDKs."""
_FLAGS = {"no-egress": "ingress"}
"""Flags that the CLI calls otherwise."""
_INPUT = re.compile(f"{OPEN}([a-z0-9_]+){CLOSE}")
_READS_A_FILE = ("file://", "fileb://", "http://", "https://")
"""What the CLI reads a value from, instead of taking it as it stands."""
GLOBAL = "global"


@dataclass(frozen=True)
class Command:
    """One call with its values filled in."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    keeps: Mapping[str, Any]
    region: str

    @property
    def whole(self) -> dict[str, Any]:
        """Every parameter."""
        return {**self.keeps, **self.parameters}

    def with_more(self, other: "Command") -> "Command | None":
        """Give one call that does what two do; None if they are not of one thing."""
        same = (self.service, self.operation, self.region) == (
            other.service,
            other.operation,
            other.region,
        )
        if not same or not (self.keeps or other.keeps):
            return None
        shared = self.parameters.keys() & other.parameters.keys()
        if any(self.parameters[key] != other.parameters[key] for key in shared):
            return None
        return Command(
            self.service,
            self.operation,
            {**self.parameters, **other.parameters},
            {**self.keeps, **other.keeps},
            self.region,
        )


def commands(remedy: check_pb2.Remedy, facts: Facts) -> list[Command]:
    """Fill the commands of a remedy, all or, if one cannot be filled, none."""
    try:
        return [command for each in remedy.commands for command in _calls(each, facts)]
    except Unfilled:
        return []


def command_line(command: Command, inputs: Mapping[str, str]) -> str:
    """Write a command in one line; ``inputs`` are the descriptions by name. Raises Unfilled."""
    service = _CLI_NAMES.get(command.service, command.service)
    words = ["aws", service, xform_name(command.operation, "-")]
    for name, value in sorted(command.whole.items()):
        words.append(_option(xform_name(name, "-"), value, inputs))
    if command.region and command.region != GLOBAL:
        words.append(_option("region", command.region, inputs))
    return " ".join(words)


def _calls(each: check_pb2.RemedyCommand, facts: Facts) -> Iterator[Command]:
    if not holds(each.when, facts):
        return
    if not each.each:
        yield _call(each, facts)
        return
    elements = facts.get(each.each)
    if not isinstance(elements, list):
        raise Unfilled(each.each)
    for element in elements:
        yield _call(each, {**facts, EACH: element})


def _call(each: check_pb2.RemedyCommand, facts: Facts) -> Command:
    return Command(
        service=each.service,
        operation=each.operation,
        parameters=filled(template(each.parameters), facts),
        keeps=known_parts(template(each.keeps), facts),
        region=str(filled_text(each.region, facts) if each.region else facts.get("region", "")),
    )


def _option(name: str, value: Any, inputs: Mapping[str, str]) -> str:
    if isinstance(value, Mapping) and set(value) == {"Value"} and isinstance(value["Value"], bool):
        # The CLI offers attributes of EC2 that hold a boolean alone as flags.
        value = value["Value"]
    if isinstance(value, bool):
        flag = name if value else f"no-{name}"
        return f"--{_FLAGS.get(flag, flag)}"
    if isinstance(value, Mapping | list):
        return f"--{name} {_quoted(_json(value), inputs)}"
    text = str(value)
    if text.startswith(_READS_A_FILE) and OPEN not in text:
        raise Unfilled(name)
    # A value that begins with a hyphen would be taken for an option.
    separator = "=" if text.startswith("-") else " "
    return f"--{name}{separator}{_quoted(text, inputs)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(text: str, inputs: Mapping[str, str]) -> str:
    """Quote a text for the shell, its inputs as variables."""
    parts = _INPUT.split(text)
    words = [
        _variable(part, inputs) if position % 2 else shlex.quote(part)
        for position, part in enumerate(parts)
        if part
    ]
    return "".join(words) or "''"


def _variable(name: str, inputs: Mapping[str, str]) -> str:
    return f'"${{{name.upper()}:?{inputs[name]}}}"'
