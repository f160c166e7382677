"""Which events a filter pattern of CloudWatch Logs matches, of those patterns that look into JSON.

Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax", "Using filter patterns to match
terms in JSON log events". Patterns of words or of columns match nothing here.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

Event = Mapping[str, Any]
Predicate = Callable[[Event], bool]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<symbol>&&|\|\||!=|<=|>=|[(){}=<>])
    |(?P<quoted>"(?:\\.|[^"\\])*")
    |%(?P<regex>[^%]*)%
    |(?P<path>\$(?:\.[\w@-]+|\[[^\]]*\])+)
    |(?P<word>[^\s(){}=<>!&|"%]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_KEY = re.compile(r"\.(?P<name>[\w@-]+)|\[\s*(?:(?P<index>\d+)|[\"'](?P<quoted>[^\"']*)[\"'])\s*\]")
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_NOTHING = object()
"""The value of a member that is not there."""


class _NoPattern(ValueError):
    """The text is no pattern of this kind."""


def matcher(pattern: str) -> Predicate:
    """Give what tells whether a pattern matches an event; what is no pattern matches nothing."""
    try:
        return _Parser(pattern).whole()
    except (_NoPattern, RecursionError):
        return lambda _event: False


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._tokens = _tokens(pattern)
        self._place = 0

    def whole(self) -> Predicate:
        self._symbol("{")
        found = self._either()
        self._symbol("}")
        if self._place < len(self._tokens):
            raise _NoPattern
        return found

    def _either(self) -> Predicate:
        parts = [self._both()]
        while self._next("||"):
            parts.append(self._both())
        return lambda event: any(part(event) for part in parts)

    def _both(self) -> Predicate:
        parts = [self._one()]
        while self._next("&&"):
            parts.append(self._one())
        return lambda event: all(part(event) for part in parts)

    def _one(self) -> Predicate:
        if self._next("("):
            found = self._either()
            self._symbol(")")
            return found
        path = _keys(self._token("path"))
        kind, text = self._take()
        if kind == "word":
            return self._state(path, text.upper())
        if kind != "symbol":
            raise _NoPattern
        return _comparison(path, text, *self._take())

    def _state(self, path: list[str | int], word: str) -> Predicate:
        if word == "EXISTS":
            return lambda event: _value(event, path) is not _NOTHING
        asked = self._token("word").upper()
        if (word, asked) == ("NOT", "EXISTS"):
            return lambda event: _value(event, path) is _NOTHING
        wanted = {"NULL": None, "TRUE": True, "FALSE": False}
        if word != "IS" or asked not in wanted:
            raise _NoPattern
        return lambda event: _value(event, path) is wanted[asked]

    def _take(self) -> tuple[str, str]:
        if self._place >= len(self._tokens):
            raise _NoPattern
        self._place += 1
        return self._tokens[self._place - 1]

    def _token(self, kind: str) -> str:
        found, text = self._take()
        if found != kind:
            raise _NoPattern
        return text

    def _symbol(self, symbol: str) -> None:
        if self._take() != ("symbol", symbol):
            raise _NoPattern

    def _next(self, symbol: str) -> bool:
        found = self._tokens[self._place : self._place + 1] == [("symbol", symbol)]
        self._place += found
        return found


def _tokens(pattern: str) -> list[tuple[str, str]]:
    found, place, text = [], 0, pattern.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise _NoPattern
        found.append((match.lastgroup, match[match.lastgroup]))
        place = match.end()
    return found


def _keys(path: str) -> list[str | int]:
    keys: list[str | int] = []
    for match in _KEY.finditer(path):
        if match["index"] is not None:
            keys.append(int(match["index"]))
        else:
            keys.append(match["name"] or match["quoted"] or "")
    return keys


def _value(event: Event, path: list[str | int]) -> Any:
    found: Any = event
    for key in path:
        if isinstance(found, Mapping) != isinstance(key, str) or isinstance(found, str):
            return _NOTHING
        try:
            found = found[key]
        except (LookupError, TypeError):
            return _NOTHING
    return found


def _comparison(path: list[str | int], symbol: str, kind: str, text: str) -> Predicate:
    if symbol in _ORDER:
        return _ordered(path, symbol, text)
    if symbol not in ("=", "!=") or kind not in ("quoted", "word", "regex"):
        raise _NoPattern
    equals = _equality(kind, text)

    def compared(event: Event) -> bool:
        value = _value(event, path)
        # What is not there is neither equal nor unequal.
        if value is _NOTHING or isinstance(value, Mapping | list):
            return False
        return equals(value) == (symbol == "=")

    return compared


def _ordered(path: list[str | int], symbol: str, text: str) -> Predicate:
    try:
        bound = float(text)
    except ValueError:
        raise _NoPattern from None

    def compared(event: Event) -> bool:
        value = _value(event, path)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and _ORDER[symbol](value, bound)

    return compared


def _equality(kind: str, text: str) -> Callable[[Any], bool]:
    if kind == "regex":
        try:
            expression = re.compile(text)
        except re.error:
            raise _NoPattern from None
        return lambda value: expression.search(str(value)) is not None
    if kind == "quoted":
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    # A star stands for any text; other signs of fnmatch's for themselves.
    wild = re.sub(r"[\[?]", r"[\g<0>]", text)
    return lambda value: fnmatchcase(str(value), wild)
