"""When a condition is false, and when it is not true: CEL texts over one record, exact in both.

A condition is three-valued: it is unknown where it depends on a field that is absent or was not
read. Taken apart at its outer ``&&``, ``||`` and ``!``, each piece says by itself when it is
known, as Kleene's logic joins them.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mesh.cel.language import Condition

TOKEN = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[A-Za-z_][A-Za-z0-9_]*|\S", re.DOTALL)
_MEMBER = re.compile(r"\b([A-Za-z_]\w*)\[(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')\]")
_OTHER = {"&&": "||", "||": "&&"}
Compile = Callable[[str], Condition]


@dataclass(frozen=True)
class Atom:
    """A piece that is not taken apart."""

    text: str


@dataclass(frozen=True)
class Not:
    """What is true where the inner one is false."""

    inner: "Piece"


@dataclass(frozen=True)
class Joined:
    """Pieces joined by ``&&`` or ``||``."""

    symbol: str
    pieces: "Sequence[Piece]"


Piece = Atom | Not | Joined


def taken_apart(expression: str) -> Piece:
    """Take an expression apart."""
    text = expression.strip()
    while _is_enclosed(text):
        text = text[1:-1].strip()
    symbols = {symbol for symbol, _, _ in outer_operators(text)}
    if "?" in symbols:
        return Atom(text)
    for symbol in ("||", "&&"):
        if symbol in symbols:
            return Joined(symbol, [taken_apart(each) for each in split(text, symbol)])
    if text.startswith("!") and _is_enclosed(text[1:].strip()):
        return Not(taken_apart(text[1:]))
    return Atom(text)


def split(text: str, symbol: str) -> list[str]:
    """Split an expression at an outermost operator."""
    places = [(start, end) for each, start, end in outer_operators(text) if each == symbol]
    starts = [0, *(end for _, end in places)]
    ends = [*(start for start, _ in places), len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def outer_operators(expression: str) -> Iterator[tuple[str, int, int]]:
    """Give the operators outside of all brackets, with their places."""
    depth, before, start = 0, "", 0
    for match in TOKEN.finditer(expression):
        symbol = match[0]
        depth += (symbol in "([{") - (symbol in ")]}")
        if depth == 0 and symbol in "&|" and symbol == before:
            yield symbol * 2, start, match.end()
            symbol = ""
        elif depth == 0 and symbol == "?":
            yield symbol, match.start(), match.end()
        before, start = symbol, match.start()


class Truth:
    """Writes when a condition has a value; ``compile`` tells what a piece reads."""

    def __init__(self, compile_piece: Compile) -> None:
        self._compile = compile_piece

    def known(self, piece: Piece, *, value: bool) -> str:
        """Write when a piece is true or false, whatever else could not be read."""
        match piece:
            case Not():
                return self.known(piece.inner, value=not value)
            case Joined():
                symbol = piece.symbol if value else _OTHER[piece.symbol]
                return _join(symbol, [self.known(each, value=value) for each in piece.pieces])
        text = piece.text if value else negated(piece.text)
        return _join("&&", [text, *self.read(piece.text)])

    def not_known(self, piece: Piece, *, value: bool) -> str:
        """Write when a piece is not true or not false, if all it reads was read."""
        match piece:
            case Not():
                return self.not_known(piece.inner, value=not value)
            case Joined():
                symbol = _OTHER[piece.symbol] if value else piece.symbol
                return _join(symbol, [self.not_known(each, value=value) for each in piece.pieces])
        text = negated(piece.text) if value else piece.text
        return _join("||", [text, *self.absences(piece.text)])

    def unmet(self, piece: Piece, *, value: bool) -> str:
        """Write when a piece is not known to be true or false: that too is never unknown."""
        match piece:
            case Not():
                return self.unmet(piece.inner, value=not value)
            case Joined():
                symbol = _OTHER[piece.symbol] if value else piece.symbol
                return _join(symbol, [self.unmet(each, value=value) for each in piece.pieces])
        text = negated(piece.text) if value else piece.text
        unread = [negated(clause) for clause in self.read(piece.text)]
        return _join("||", [text, *self.absences(piece.text), *unread])

    def read(self, text: str) -> list[str]:
        """Give the clause that everything a text reads was read."""
        return read_clause(self._compile(text))

    def absences(self, text: str) -> list[str]:
        """Give the clauses that something a piece reads is absent, so that it is unknown."""
        if "has(" in text:
            return []
        fields = sorted(each for each in self._compile(text).fields if "." not in each)
        absent = [f"!has({each})" for each in fields if not is_list(text, each)]
        return [*absent, *(f"!({key} in {field})" for field, key in _MEMBER.findall(text))]


def read_clause(condition: Condition) -> list[str]:
    """Give the clause that everything a condition reads was read."""
    fields = sorted(field for field in condition.fields if "." not in field)
    if not fields:
        return []
    return [f"!record.unread.exists(gap, gap.field in {json.dumps(fields)})"]


def negated(text: str) -> str:
    """Give the opposite of a piece."""
    if re.fullmatch(r"!?\w+", text):
        return text[1:] if text.startswith("!") else f"!{text}"
    return f"!({text})"


def is_list(text: str, field: str) -> bool:
    """Tell whether a text reads a field as a list or map, which is never absent."""
    reading = rf"size\(\s*{field}\s*\)|\b{field}\s*\.\s*(exists|all)\b|\bin\s+{field}\b"
    return re.search(reading, text) is not None


def _is_enclosed(text: str) -> bool:
    """Tell whether one pair of brackets holds the whole."""
    if not text.startswith("("):
        return False
    depth = 0
    for match in TOKEN.finditer(text):
        depth += (match[0] in "([{") - (match[0] in ")]}")
        if depth == 0:
            return match.end() == len(text)
    return False


def _join(symbol: str, texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return f" {symbol} ".join(f"({each})" for each in texts)
