"""From a stream of elements to a stream of items: what is bad is reported, the rest goes on."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import orjson

from services.security.importing.json_cursor import BadElement, JsonCursor, Unreadable, parsed
from services.security.importing.model import Item, Problem, Rejected
from services.security.importing.node import BadResult, Node
from services.security.importing.spool import CHUNK, Spool
from services.security.importing.xml_elements import Found, elements

Parse = Callable[[Node, "Count"], Iterator[Item]]
ParseTold = Callable[[bytes, Node, "Count"], Iterator[Item]]
"""Reads an element whose digest is known."""


class Digest(Protocol):
    """A digest that can be gone on with."""

    def copy(self) -> "Digest": ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Told:
    """How elements are told by the digests of their bytes, and read."""

    digest: Digest
    """Of what elements mean where they stand; each one's bytes are added to it."""
    recall: Callable[[bytes], Item | None]
    """Gives what is known by a digest; None if the element must be read."""
    plain: Callable[[bytes, bytes, int, str], Item | None]
    """Reads an element as most are, by its bytes, digest, number and place; None if it is not."""

    def of(self, text: bytes) -> bytes:
        """The digest of an element."""
        own = self.digest.copy()
        own.update(text)
        return own.digest()


@dataclass(slots=True)
class Count:
    """Numbers the results of a report from 0."""

    index: int = -1

    def next(self) -> int:
        self.index += 1
        return self.index


@dataclass(slots=True)
class Reading:
    """One reading of a JSON report from its start."""

    spool: Spool
    count: Count = field(default_factory=Count)
    cursor: JsonCursor = field(init=False)

    def __post_init__(self) -> None:
        self.cursor = JsonCursor(self.spool.reader(), self.spool.limits)

    def each(self, pointer: str, parse: Parse) -> Iterator[Item]:
        """The items of every element of the array here; none for `null`."""
        if self.cursor.peek() == "n":
            self.cursor.skip()
            return
        for position in self.cursor.elements():
            yield from self.one(f"{pointer}/{position}", parse)

    def one(self, pointer: str, parse: Parse) -> Iterator[Item]:
        """The items of the value here."""
        try:
            value = self.cursor.value()
        except BadElement as error:
            yield Rejected(self.count.next(), pointer, str(error))
            return
        yield from self._items(value, pointer, parse)

    def told(self, pointer: str, parse: ParseTold, told: Told) -> Iterator[Item]:
        """The items of every element of the array here, but for those that are recalled."""
        if self.cursor.peek() == "n":
            self.cursor.skip()
            return
        for position in self.cursor.elements():
            place = f"{pointer}/{position}"
            try:
                text = self.cursor.text()
                digest = told.of(text)
                found = told.recall(digest)
                if found is None:
                    found = told.plain(text, digest, self.count.index + 1, place)
                value = parsed(text) if found is None else None
            except BadElement as error:
                yield Rejected(self.count.next(), place, str(error))
                continue
            if found is not None:
                self.count.next()
                yield found
            else:
                yield from self._items(value, place, partial(parse, digest))

    def _items(self, value: object, pointer: str, parse: Parse) -> Iterator[Item]:
        return guarded(lambda: parse(Node.of(value, pointer), self.count), self.count, pointer)

    def documents(self, parse: Parse) -> Iterator[Item]:
        """The items of every element of an array, of every line, or of every value in a row."""
        if self.cursor.peek() == "[":
            yield from self.each("", parse)
            self.cursor.finish()
        elif _is_json(next(lines(self.spool), b"")):
            for position, line in enumerate(lines(self.spool)):
                yield from self._line(line, f"/{position}", parse)
        else:
            position = 0
            self.cursor = JsonCursor(self.spool.reader(), self.spool.limits)
            while self.cursor.peek():
                yield from self.one(f"/{position}", parse)
                position += 1

    def _line(self, line: bytes, pointer: str, parse: Parse) -> Iterator[Item]:
        """A line that is no JSON: the last one was cut, another is bad on its own."""
        limit = self.spool.limits.element_bytes
        cursor = JsonCursor(io.BytesIO(line), self.spool.limits)
        try:
            value = cursor.value()
            cursor.finish()
        except Unreadable as error:
            if not line.endswith(b"\n") and len(line) <= limit:
                raise
            reason = f"is larger than {limit} bytes" if len(line) > limit else error.reason
            yield Rejected(self.count.next(), pointer, reason)
            return
        except BadElement as error:
            yield Rejected(self.count.next(), pointer, str(error))
            return
        yield from guarded(lambda: parse(Node.of(value, pointer), self.count), self.count, pointer)

    def small(self, pointer: str) -> Node:
        """An object that says something of the whole report; it must be readable."""
        return Node.of(self.small_value(pointer), pointer)

    def small_value(self, pointer: str) -> object:
        """A value that says something of the whole report."""
        try:
            return self.cursor.value()
        except BadElement as error:
            raise BadResult(pointer, str(error)) from error


def lines(spool: Spool) -> Iterator[bytes]:
    """Lines with their ends, without empty ones; of one that is too large, enough to tell."""
    source, rest, limit = spool.reader(), b"", spool.limits.element_bytes
    while chunk := source.read(CHUNK):
        *whole_lines, rest = (rest + chunk).splitlines(keepends=True) or [b""]
        if rest.endswith(b"\n"):
            whole_lines, rest = [*whole_lines, rest], b""
        yield from (line for line in whole_lines if line.strip())
        if len(rest) > limit + CHUNK:
            rest = rest[: limit + 1]
    if rest.strip():
        yield rest


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def guarded(parse: Callable[[], Iterator[Item]], count: Count, pointer: str) -> Iterator[Item]:
    """What one element yields; if it turns out bad, a rejection of it.

    A parser numbers a result as it yields it. What failed before has no number yet and gets one.
    """
    try:
        yield from parse()
    except BadResult as error:
        yield Rejected(count.next(), error.pointer or pointer, error.reason)


def whole(report: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """A report's items, and one Problem at the end if it could not be read to its end."""
    try:
        yield from report()
    except Unreadable as error:
        yield Problem("", error.reason, error.offset)
    except BadResult as error:
        yield Problem(error.pointer, error.reason)


def xml_elements(spool: Spool, *wanted: str) -> Iterator[Found]:
    """Each outermost element of these names."""
    return elements(spool.raw(), frozenset(wanted), spool.limits)
