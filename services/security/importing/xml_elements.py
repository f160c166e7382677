"""A pull reader of XML that holds one element at a time, on expat with its dangers refused.

A document type, and so every entity of one's own and every external one, is refused before it
is read (CWE-776, CWE-611); nesting, the size of an element and its parts are bounded.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

from services.security.importing.json_cursor import Unreadable
from services.security.importing.limits import Limits
from services.security.importing.spool import CHUNK


@dataclass(slots=True)
class XmlElement:
    """An element: its name without a namespace, attributes, text before and between its parts."""

    tag: str
    attributes: dict[str, str]
    line: int
    parts: list["XmlElement"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    too_large: bool = False

    @property
    def text(self) -> str:
        """The character data directly within, without space around it."""
        return "".join(self.texts).strip()

    def find(self, *path: str) -> "XmlElement | None":
        """The first part at the path."""
        here: XmlElement | None = self
        for tag in path:
            here = next((part for part in here.parts if part.tag == tag), None) if here else None
        return here

    def all(self, *path: str) -> list["XmlElement"]:
        """Every part at the path: all of the last name within the first of those before it."""
        holder = self.find(*path[:-1]) if len(path) > 1 else self
        return [part for part in holder.parts if part.tag == path[-1]] if holder else []

    def said(self, *path: str) -> str:
        """The text at the path; empty if there is none."""
        found = self.find(*path)
        return found.text if found else ""


@dataclass(frozen=True, slots=True)
class Found:
    """An element that was asked for, and those around it, the root first, without their parts."""

    within: tuple[XmlElement, ...]
    element: XmlElement


def elements(source: IO[bytes], wanted: frozenset[str], limits: Limits) -> Iterator[Found]:
    """Each outermost element of a wanted name once it is whole. Raises Unreadable."""
    builder = _Builder(wanted, limits)
    while True:
        chunk = source.read(CHUNK)
        try:
            builder.parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            yield from builder.take()
            raise Unreadable(_reason(error), builder.parser.ErrorByteIndex) from error
        except Unreadable:
            yield from builder.take()
            raise
        yield from builder.take()
        if not chunk:
            return


def root_name(source: IO[bytes]) -> str:
    """The root element's name without a namespace; empty if it does not come in the first chunk."""
    names: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: names.append(name)
    with suppress(expat.ExpatError):
        parser.Parse(source.read(CHUNK), False)
    return names[0].rpartition(":")[2] if names else ""


def _reason(error: expat.ExpatError) -> str:
    said = expat.ErrorString(error.code) or "unknown error"
    if said in ("no element found", "unclosed token", "unclosed CDATA section"):
        return f"the report is cut: it ends within its document, line {error.lineno}"
    return f"is no well-formed XML: {said}, line {error.lineno}"


class _Builder:
    """Keeps what is open; parts are kept only within a wanted element."""

    def __init__(self, wanted: frozenset[str], limits: Limits) -> None:
        self._wanted = wanted
        self._limits = limits
        self._open: list[XmlElement] = []
        self._outermost = -1
        self._size = 0
        self._done: list[Found] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype

    def take(self) -> list[Found]:
        done, self._done = self._done, []
        return done

    def _doctype(self, *_: object) -> None:
        raise self._refusal("declares a document type, which no report needs")

    def _refusal(self, reason: str) -> Unreadable:
        return Unreadable(reason, self.parser.CurrentByteIndex)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        if len(self._open) >= self._limits.depth:
            raise self._refusal(f"is nested deeper than {self._limits.depth}")
        element = XmlElement(tag, attributes, self.parser.CurrentLineNumber)
        if self._outermost < 0 and tag in self._wanted:
            self._outermost, self._size = len(self._open), 0
        elif self._outermost >= 0 and self._fits(
            len(tag) + 200 + sum(map(len, attributes.values()))
        ):
            self._open[-1].parts.append(element)
        self._open.append(element)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if self._outermost == len(self._open):
            self._outermost = -1
            self._done.append(Found(tuple(self._open), element))

    def _characters(self, data: str) -> None:
        if self._outermost >= 0 and self._fits(len(data)):
            self._open[-1].texts.append(data)

    def _fits(self, more: int) -> bool:
        """An element that grows too large is marked, and grows no more."""
        self._size += more
        if self._size <= self._limits.element_bytes:
            return True
        self._open[self._outermost].too_large = True
        return False
