"""OSCAL in YAML, read into what the same document in JSON would be.

YAML 1.2.2 by libyaml's events, so that no depth of nesting and no alias can exhaust anything.
Scalars are the text they are written as: OSCAL has nothing but text where a plan is read.
"""

from typing import Any

import yaml

from services.inventory.compliance.documents.blocks import DocumentRefused

MAX_NODES = 2_000_000
MAX_DEPTH = 200
_PLAIN_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Builder:
    """Builds objects and arrays from events."""

    def __init__(self) -> None:
        self.root: Any = None
        self.nodes = 0
        self.documents = 0
        self._open: list[tuple[Any, Any]] = []
        self._keys: list[str | None] = []
        self._anchors: dict[str, str] = {}

    def take(self, event: Any) -> None:
        place = f"line {event.start_mark.line + 1}" if event.start_mark else ""
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise DocumentRefused("the file holds several YAML documents", place)
        elif isinstance(event, yaml.ScalarEvent):
            null = event.implicit[0] and event.value in _PLAIN_NULL
            if event.anchor:
                self._anchors[event.anchor] = event.value
            self._add(None if null else event.value, place)
        elif isinstance(event, yaml.AliasEvent):
            # An alias of a scalar is that text; of more, it is how small files become large ones.
            if event.anchor not in self._anchors:
                raise DocumentRefused(f"the alias *{str(event.anchor)[:64]} names no text", place)
            self._add(self._anchors[event.anchor], place)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            made: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._add(made, place)
            self._open.append((made, place))
            self._keys.append(None)
            if len(self._open) > MAX_DEPTH:
                raise DocumentRefused("the document is nested too deeply", place)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._open.pop()
            self._keys.pop()

    def _add(self, value: Any, place: str) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise DocumentRefused(f"the document has more than {MAX_NODES:,} parts", place)
        if not self._open:
            self.root = value
            return
        holder, _ = self._open[-1]
        if isinstance(holder, list):
            holder.append(value)
            return
        key = self._keys[-1]
        if key is not None:
            holder[key] = value
            self._keys[-1] = None
            return
        if not isinstance(value, str):
            raise DocumentRefused("a key must be text", place)
        if value in holder:
            raise DocumentRefused(f"the key {value[:64]!r} stands there twice", place)
        self._keys[-1] = value


def read_yaml(content: bytes) -> Any:
    """Give objects, arrays and strings; raises DocumentRefused with the line of what is wrong."""
    builder = _Builder()
    try:
        for event in yaml.parse(content, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DocumentRefused(f"is no YAML: {error.problem or error.context}", place) from None
    except yaml.reader.ReaderError as error:
        raise DocumentRefused(f"is no YAML: {error.reason}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        raise DocumentRefused("is no YAML that can be read") from None
    return builder.root
