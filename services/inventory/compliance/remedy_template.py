"""Fills templates of remedies with what was read of a failing record.

Names that come from AWS are hostile: a value with a character that cannot be seen, or that could
end a line, fills no template.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2

from secmesh.inventory.v1 import check_pb2

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_.]*)\}")
DOCUMENT = "$json"
"""Key of an object whose value is a JSON document written as text."""
EACH = "each"
ENVELOPE = ("account", "region", "arn")
OPEN, CLOSE = "\ue000", "\ue001"
"""Stand around an input's name in a text; no value of a record holds them."""
ANY = "*"
"""What a command asks of a value that must only be there."""
CUT = object()
"""Stands for a value that is there, and too long to be kept."""
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})

Facts = Mapping[str, Any]
"""Values by the names that templates use, as JSON has them."""


class Unfilled(Exception):
    """A template names a value that is not known, or that must not stand in a document."""


def template(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Give a template as plain data, its keys in order; whole numbers are ints."""
    plain: dict[str, Any] = _plain(json_format.MessageToDict(struct))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def filled(value: Any, facts: Facts) -> Any:
    """Put facts in the place of their names. Raises Unfilled."""
    if isinstance(value, dict):
        if set(value) == {DOCUMENT}:
            return json.dumps(filled(value[DOCUMENT], facts), ensure_ascii=False)
        return {key: filled(each, facts) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, facts) for each in value]
    return filled_text(value, facts) if isinstance(value, str) else value


def filled_text(text: str, facts: Facts) -> Any:
    """Put facts into a text; a text that is one name alone becomes that value. Raises Unfilled."""
    alone = PLACEHOLDER.fullmatch(text)
    if alone:
        return _fact(alone[1], facts)
    return PLACEHOLDER.sub(lambda found: _text(_fact(found[1], facts)), text)


def known_parts(value: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Fill what can be filled of an object, and leave out the rest and zeros, which say nothing."""
    found: dict[str, Any] = {}
    for key, each in value.items():
        try:
            found[key] = filled(each, facts)
        except Unfilled:
            continue
    return {key: each for key, each in found.items() if each is False or each != 0}


def holds(when: Mapping[str, str], facts: Facts) -> bool:
    """Tell whether values are as a template wants them; what is not known is neither."""
    return all(_is(facts, name, wanted) for name, wanted in when.items())


def _is(facts: Facts, name: str, wanted: str) -> bool:
    if name not in facts:
        return False
    value = facts[name]
    if value is None or value == "":
        return not wanted
    return wanted == ANY or (value is not CUT and _text(value) == wanted)


def names(value: Any) -> Iterator[str]:
    """Give every name that a template uses."""
    if isinstance(value, dict):
        for each in value.values():
            yield from names(each)
    elif isinstance(value, list):
        for each in value:
            yield from names(each)
    elif isinstance(value, str):
        yield from PLACEHOLDER.findall(value)


def remedy_names(remedy: check_pb2.Remedy) -> Iterator[str]:
    """Give every name that the templates of a remedy use, without those of an element."""
    for command in remedy.commands:
        used = [*names(template(command.parameters)), *names(template(command.keeps))]
        used += [*names(command.region), *command.when]
        if command.each:
            used = [name for name in used if name.partition(".")[0] != EACH]
            used.append(command.each)
        yield from used
    for resource in (*remedy.terraform, *remedy.cloudformation):
        yield from names(template(resource.body))
        yield from names(resource.import_id)


def remedy_fields(remedy: check_pb2.Remedy) -> frozenset[str]:
    """Give the top-level names that the templates of a remedy use, without the envelope's."""
    used = (name.partition(".")[0] for name in remedy_names(remedy))
    return frozenset(used) - set(ENVELOPE)


def asked(name: str) -> str:
    """Give what stands in a text for an input until its language is known."""
    return f"{OPEN}{name}{CLOSE}"


def _fact(name: str, facts: Facts) -> Any:
    found: Any = facts
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None or found in ("", []):
        raise Unfilled(name)
    for each in found if isinstance(found, list) else [found]:
        _check(name, each)
    return found


def _check(name: str, value: Any) -> None:
    # An object could bring keys that mean something where it comes to stand.
    if not isinstance(value, str | int | float):
        raise Unfilled(name)
    if isinstance(value, str) and unseen(value) and not _is_input(value):
        raise Unfilled(name)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        raise Unfilled("a list stands in no text")
    return str(value)


def unseen(text: str) -> bool:
    """Tell whether a text holds a character that cannot be seen, or that ends a line."""
    return any(unicodedata.category(character) in _UNSEEN for character in text)


def _is_input(text: str) -> bool:
    return re.fullmatch(rf"{OPEN}[a-z][a-z0-9_]*{CLOSE}", text) is not None
