"""A pull reader of JSON (RFC 8259) that holds one element at a time.

The containers on the way to the results are walked; each result is cut out by matching its
brackets and parsed on its own. So one that is malformed, too large or too deep costs itself
and no other, and memory does not grow with the report.
"""

import io
import re
from collections import deque
from collections.abc import Iterator
from typing import Protocol

import orjson

from services.security.importing import json_ahead
from services.security.importing.limits import Limits
from services.security.importing.spool import CHUNK

# All quantifiers are possessive: a match never backtracks, so reading is linear.
_SPACE = re.compile(rb"[ \t\r\n]*+")
_PLAIN = re.compile(
    rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+',
    re.DOTALL,
)
_NESTED = 9
"""Levels of brackets that one match passes; what is deeper is walked bracket by bracket."""


def _closed() -> bytes:
    """Within a value: everything up to a bracket that has no partner in the next levels."""
    plain = closed = _PLAIN.pattern
    for _ in range(_NESTED - 1):
        closed = rb"%b(?:[{\[]%b[}\]]%b)*+" % (plain, closed, plain)
    return closed


_CLOSED = re.compile(_closed(), re.DOTALL)
_WHOLE = re.compile(rb"[{\[]%b[}\]]" % _closed(), re.DOTALL)
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR = re.compile(rb'[^ \t\r\n,:{}\[\]"]*+')
_OPEN = frozenset(b"{[")
_QUOTE, _LAST_SPACE = ord('"'), ord(" ")


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes: ...


class Unreadable(Exception):
    """Nothing can be read from this byte on; `offset` counts from the start of the text."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class BadElement(Exception):
    """This value cannot be used, and the cursor stands behind it."""


def parsed(text: bytes) -> object:
    """The value of a text. BadElement if it is not JSON."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadElement(f"is not JSON: {error.msg}") from error
    return value


class JsonCursor:
    """Call `members`, `elements`, `value` or `skip` where the cursor stands; a value left
    untouched by the loop over its container is skipped. Loops run to their end."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._buffer = b""
        self._at = 0
        self._dropped = 0
        self._taken = 0
        self._nesting = 0
        self._ended = False
        self._nested = limits.depth >= _NESTED
        """Whether nothing that is matched whole can be too deep."""
        self._ahead: deque[bytes] = deque()
        """The next elements of the array here, if they were cut beforehand."""
        self._guesses = True
        """Whether elements can be looked for ahead in what is left of the buffer."""

    @property
    def offset(self) -> int:
        """How many bytes of the text lie behind the cursor."""
        return self._dropped + self._at

    def peek(self) -> str:
        """The first character of the next token; the empty string at the end of the text."""
        at = self._at
        if at < len(self._buffer) and self._buffer[at] > _LAST_SPACE:
            return chr(self._buffer[at])
        while True:
            found = _SPACE.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._buffer):
                return chr(self._buffer[self._at])
            if not self._fill(self._at):
                return ""

    def members(self) -> Iterator[str]:
        """The keys of the object here, the cursor each time before the key's value."""
        for _ in self._within("{", "}"):
            if self.peek() != '"':
                raise self._unexpected("a member's name")
            try:
                key = self.value()
            except BadElement as error:
                raise Unreadable(f"a member's name {error}", self.offset) from error
            self._expect(":")
            before = self._taken
            yield str(key)
            if self._taken == before:
                self.skip()

    def elements(self) -> Iterator[int]:
        """The positions of the array here, the cursor each time before the element."""
        for index in self._within("[", "]"):
            before = self._taken
            yield index
            if self._taken == before:
                self.skip()

    def value(self) -> object:
        """The value here, parsed. BadElement if it is not JSON, too large or too deep."""
        return parsed(self.text())

    def text(self) -> bytes:
        """The value here as it is written, for `parsed`. BadElement if it is too large or deep."""
        return self._scan(keep=True)

    def skip(self) -> None:
        """Past the value here, whatever its size."""
        self._scan(keep=False)

    def finish(self) -> None:
        """Nothing but space may follow; Unreadable otherwise."""
        if self.peek():
            raise Unreadable("something follows the end of the document", self.offset)

    def _within(self, opening: str, closing: str) -> Iterator[int]:
        self._expect(opening)
        self._ahead.clear()
        self._nesting += 1
        index = 0
        while self.peek() != closing:
            if index:
                self._expect(",")
            self.peek()
            yield index
            index += 1
        self._nesting -= 1
        self._at += 1
        self._taken += 1

    def _expect(self, token: str) -> None:
        if self.peek() != token:
            raise self._unexpected(f"'{token}'")
        self._at += 1

    def _unexpected(self, wanted: str) -> Unreadable:
        found = self.peek()
        if not found:
            return Unreadable("the report is cut: it ends within its document", self.offset)
        return Unreadable(f"{wanted} should stand here, not {found!r}", self.offset)

    def _scan(self, *, keep: bool) -> bytes:
        """Moves past one value; its bytes, if they are to be kept and within the limits."""
        first = self.peek()
        if self._ahead:
            return self._cut(self._ahead.popleft(), keep=keep)
        found = _WHOLE.match(self._buffer, self._at) if self._nested else None
        if found is not None:
            self._passed(found.end() - self._at, keep=keep)
            self._look_ahead()
            return found[0] if keep else b""
        scan = _Scan(self._at, keep=keep)
        if first in ("{", "[", '"'):
            self._brackets(scan, first == '"')
        elif first in ("", ",", ":", "}", "]"):
            raise self._unexpected("a value")
        else:
            self._scalar(scan)
        self._taken += 1
        if scan.keep and self._at - scan.start > self._limits.element_bytes:
            scan.refuse(f"is larger than {self._limits.element_bytes} bytes")
        if scan.refusal:
            raise BadElement(scan.refusal)
        return self._buffer[scan.start : self._at] if keep else b""

    def _passed(self, size: int, *, keep: bool) -> None:
        """Moves past a value that is in the buffer whole."""
        self._at += size
        self._taken += 1
        if keep and size > self._limits.element_bytes:
            raise BadElement(f"is larger than {self._limits.element_bytes} bytes")

    def _cut(self, text: bytes, *, keep: bool) -> bytes:
        """Moves past an element that was cut beforehand."""
        self._passed(len(text), keep=keep)
        if keep and text.count(b"{") + text.count(b"[") > self._limits.depth:
            # That many brackets may be too deep.
            return JsonCursor(io.BytesIO(text), self._limits).text()
        return text

    def _look_ahead(self) -> None:
        """Cuts the elements that follow the one just passed, as far as the buffer has them."""
        if self._guesses and (found := json_ahead.follow(self._buffer, self._at)):
            self._ahead.extend(json_ahead.cut(self._buffer, *found))
            self._guesses = bool(self._ahead)

    def _leap(self) -> None:
        """Moves past the elements that follow the one just skipped, in what is skipped whole."""
        if self._guesses and (found := json_ahead.follow(self._buffer, self._at)):
            self._guesses = json_ahead.are_whole(self._buffer, *found)
            self._at = found[1] if self._guesses else self._at

    def _scalar(self, scan: "_Scan") -> None:
        while True:
            found = _SCALAR.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._buffer):
                return
            if not self._more(scan):
                if self._nesting:
                    raise Unreadable("the report is cut: it ends within a value", self.offset)
                return

    def _brackets(self, scan: "_Scan", quoted: bool) -> None:
        depth, inside = int(not quoted), quoted
        self._at += 1
        while depth or inside:
            if not (scan.keep or inside):
                self._leap()
            flat = scan.keep and depth + _NESTED > self._limits.depth
            pattern = _INSIDE if inside else _PLAIN if flat else _CLOSED
            found = pattern.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            if self._at >= len(self._buffer) or (inside and self._buffer[self._at] != _QUOTE):
                if not self._more(scan):
                    raise Unreadable("the report is cut: it ends within a value", self.offset)
                continue
            byte = self._buffer[self._at]
            self._at += 1
            if byte == _QUOTE:
                inside = not inside
                continue
            depth += 1 if byte in _OPEN else -1
            if depth > self._limits.depth and scan.keep:
                scan.refuse(f"is nested deeper than {self._limits.depth}")

    def _more(self, scan: "_Scan") -> bool:
        """Reads on; a kept value that is too large is kept no longer."""
        if scan.keep and self._at - scan.start > self._limits.element_bytes:
            scan.refuse(f"is larger than {self._limits.element_bytes} bytes")
        keep_from = scan.start if scan.keep else self._at
        filled = self._fill(keep_from)
        scan.start = 0 if scan.keep else -1
        return filled

    def _fill(self, keep_from: int) -> bool:
        kept = self._buffer[keep_from:]
        # A long value doubles the read, so that copying it stays linear.
        more = b"" if self._ended else self._source.read(max(CHUNK, len(kept)))
        self._ended, self._guesses = not more, True
        self._dropped += keep_from
        self._at -= keep_from
        self._buffer = kept + more
        return bool(more)


class _Scan:
    """One value on its way past the cursor."""

    def __init__(self, start: int, *, keep: bool) -> None:
        self.start = start
        self.keep = keep
        self.refusal = ""

    def refuse(self, reason: str) -> None:
        self.refusal = self.refusal or reason
        self.keep = False
