"""Reading a foreign JSON document part by part, each error with its JSON pointer (RFC 6901)."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from services.inventory.errors import SspInvalid

MAX_BYTES = 32 * 1024 * 1024
MAX_VALUES = 3_000_000
"""Of plans and catalogs each takes ten bytes at least, but a hundred in memory."""
_UNPRINTABLE = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127], "\N{REPLACEMENT CHARACTER}")
_MAGIC = {
    b"%PDF": "a PDF file",
    b"PK\x03\x04": "a ZIP archive, such as DOCX or XLSX",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"<": "XML",
}


@dataclass(frozen=True)
class Node:
    """One object of a document and where it stands."""

    value: Mapping[str, Any]
    pointer: str

    def refuse(self, problem: str, *keys: str) -> NoReturn:
        raise SspInvalid(at(self.pointer, *keys), problem)

    def text(self, key: str, *, required: bool = False) -> str:
        """Give a string, without characters that are no text; empty if absent."""
        value = self._typed(key, str, "a string", required=required)
        if required and not (value or "").strip():
            self.refuse("is required and empty", key)
        return value.translate(_UNPRINTABLE) if value else ""

    def child(self, key: str) -> "Node | None":
        """Give an object, or None if absent."""
        value = self._typed(key, dict, "an object", required=False)
        return None if value is None else Node(value, at(self.pointer, key))

    def required_child(self, key: str) -> "Node":
        value = self._typed(key, dict, "an object", required=True)
        return Node(value or {}, at(self.pointer, key))

    def children(self, key: str, *, required: bool = False) -> Iterator["Node"]:
        """Give the objects of an array; none if absent."""
        values = self._typed(key, list, "an array", required=required) or []
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                self.refuse(f"must be an object, not {_kind(value)}", key, str(index))
            yield Node(value, at(self.pointer, key, str(index)))

    def texts(self, key: str) -> list[str]:
        """Give the strings of an array; numbers and booleans as JSON writes them."""
        found: list[str] = []
        for index, value in enumerate(self._typed(key, list, "an array", required=False) or []):
            if isinstance(value, dict | list) or value is None:
                self.refuse(f"must be a string, not {_kind(value)}", key, str(index))
            text = value if isinstance(value, str) else json.dumps(value)
            found.append(text.translate(_UNPRINTABLE))
        return found

    def _typed(self, key: str, wanted: type, name: str, *, required: bool) -> Any:
        if key not in self.value:
            if required:
                self.refuse("is required and missing", key)
            return None
        value = self.value[key]
        if not isinstance(value, wanted):
            self.refuse(f"must be {name}, not {_kind(value)}", key)
        return value


def at(pointer: str, *keys: str) -> str:
    """Extend a JSON pointer."""
    return pointer + "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def read_document(content: bytes) -> Node:
    """Read a JSON object from bytes.

    Raises SspInvalid if it is longer than 32 MiB, holds more than 3,000,000 values, is not UTF-8
    JSON, nested too deeply, not an object, or if an object names a key twice.
    """
    if len(content) > MAX_BYTES:
        raise SspInvalid("", f"the document has {len(content):,} bytes; {MAX_BYTES:,} are taken")
    content = content.removeprefix(b"\xef\xbb\xbf")
    start = content.lstrip()
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            raise SspInvalid("", f"the document is {name}; OSCAL in JSON was to be read")
    # Each begins an object or array or follows a comma; commas of texts count along.
    if sum(map(content.count, (b"{", b"[", b","))) > MAX_VALUES:
        raise SspInvalid("", f"the document holds more than {MAX_VALUES:,} values")
    try:
        # orjson is strict where the standard library is not: UTF-8, NaN, lone surrogates, depth.
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        problem = f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise SspInvalid("", problem) from None
    return root_of(_unique_keys(content))


def root_of(document: object) -> Node:
    """Give the whole document; raises SspInvalid if it is no object."""
    if not isinstance(document, dict):
        raise SspInvalid("", f"the document must be an object, not {_kind(document)}")
    return Node(document, "")


def _unique_keys(content: bytes) -> Any:
    doubled: dict[int, str] = {}
    kept: list[dict[str, Any]] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) != len(pairs):
            doubled[id(built)] = Counter(key for key, _ in pairs).most_common(1)[0][0]
            kept.append(built)  # keeps the id from being used again
        return built

    try:
        root = json.loads(content, object_pairs_hook=build)
    except RecursionError:
        raise SspInvalid("", "the document is nested too deeply") from None
    except ValueError as error:  # a number with thousands of digits
        raise SspInvalid("", f"not JSON that can be read: {error}") from None
    if doubled:
        pointer = _find(root, doubled)
        raise SspInvalid(pointer, "the key stands there twice")
    return root


def _find(root: Any, doubled: Mapping[int, str]) -> str:
    waiting = [(root, "")]
    while waiting:
        value, pointer = waiting.pop()
        if isinstance(value, dict):
            if id(value) in doubled:
                return at(pointer, doubled[id(value)])
            waiting += [(inner, at(pointer, key)) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(inner, at(pointer, str(index))) for index, inner in enumerate(value)]
    return ""


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
