"""A JSON object of which only some members are wanted (RFC 8259)."""

import re
from collections.abc import Collection, Iterator, Mapping
from json.decoder import JSONDecodeError, JSONDecoder
from typing import Any

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = JSONDecoder()


class Members(Mapping[str, Any]):
    """The members of an object in a text, each parsed when it is asked for.

    To find where one ends it is parsed once before; what that gives is not kept.
    """

    def __init__(self, text: str, start: int = 0, opened: Collection[str] = ()) -> None:
        """``opened`` names members that are objects, whose own members are found one by one.

        Raises JSONDecodeError if there is no whole object at ``start``.
        """
        self._text = text
        self._places: dict[str, int] = {}
        self._opened: dict[str, Members] = {}
        self._end = self._find(_expected(text, start, "{"), opened)

    def _find(self, at: int, opened: Collection[str]) -> int:
        """Find the members from behind the brace on; give the place behind the other brace."""
        text = self._text
        at = _after_blanks(text, at)
        if text[at : at + 1] == "}":
            return at + 1
        while True:
            name, at = _DECODER.raw_decode(text, _expected(text, at, '"') - 1)
            at = _after_blanks(text, _expected(text, at, ":"))
            self._places[name] = at
            if name in opened:
                self._opened[name] = Members(text, at)
                at = self._opened[name]._end
            else:
                at = _DECODER.raw_decode(text, at)[1]
            at = _after_blanks(text, at)
            if text[at : at + 1] == "}":
                return at + 1
            at = _expected(text, at, ",")

    def __getitem__(self, name: str) -> Any:
        """Give a member: itself such a mapping if it is opened. KeyError if there is none."""
        if name in self._opened:
            return self._opened[name]
        return _DECODER.raw_decode(self._text, self._places[name])[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _expected(text: str, at: int, mark: str) -> int:
    """Give the place behind a mark, before which blanks may stand."""
    at = _after_blanks(text, at)
    if text[at : at + 1] != mark:
        raise JSONDecodeError(f"expected {mark}", text, at)
    return at + 1


def _after_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()
