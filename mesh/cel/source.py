"""The text of a condition: what it becomes before CEL parses it, and where things stand.

CEL's ``has()`` takes a selection only, and some words cannot be variables. So ``has(x)`` of a
field and fields with such names are written as selections from a hidden variable, and every
position is led back to the text that the user wrote.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import pairwise

from mesh.errors import FilterInvalid

BODY = "__body"
"""Hidden variable whose fields are the body's."""

# Words kept for other languages (CEL language definition, "Syntax").
_WORDS = "as break const continue else for function if import let loop package namespace return"
# Names of types, which are variables already, and the last of the words.
_TYPES = "bool bytes double dyn int list map null_type string type uint var void while"
RESERVED = frozenset(f"{_WORDS} {_TYPES}".split())
"""Names that a field may have and a variable may not."""

# Literals by the same document: raw ones know no escapes, triple-quoted ones span lines.
_TOKEN = re.compile(
    r"""
    (?P<skip> \s+ | //[^\n]* )
  | (?P<text> [bB]?[rR](?: \"\"\"[\s\S]*?\"\"\" | '''[\s\S]*?''' | "[^"\n\r]*" | '[^'\n\r]*' )
            | [bB]?(?: \"\"\"(?:\\[\s\S]|[^\\])*?\"\"\" | '''(?:\\[\s\S]|[^\\])*?'''
                     | "(?:\\.|[^"\\\n\r])*" | '(?:\\.|[^'\\\n\r])*' ) )
  | (?P<number> [0-9][0-9A-Za-z_]*(?:\.[0-9][0-9A-Za-z_]*)? )
  | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_NAME_BEFORE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?=\s*$)")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


_NONE = _Token("sign", "", 0)


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup is not None and match.lastgroup != "skip":
            yield _Token(match.lastgroup, match[0], match.start())


class Source:
    """One condition's text, as written and as CEL gets it. Offsets count code points."""

    def __init__(self, written: str, fields: Container[str]) -> None:
        self.written = written
        tokens = list(_tokens(written))
        self._insertions = sorted(self._selections(tokens, fields))
        cuts = [0, *self._insertions, len(written)]
        self.text = f"{BODY}.".join(written[start:end] for start, end in pairwise(cuts))

    def _selections(self, tokens: list[_Token], fields: Container[str]) -> set[int]:
        """Give the offsets of the names that become selections from the hidden variable."""
        found: set[int] = set()
        padded = [_NONE, *tokens, _NONE, _NONE, _NONE]
        for place, token in enumerate(tokens, start=1):
            if token.kind != "name" or padded[place - 1].text == ".":
                continue
            following = padded[place + 1 : place + 4]
            if token.text == BODY:
                raise self._invalid(f"undeclared reference to '{BODY}'", token.start)
            if token.text in RESERVED and token.text in fields and following[0].text != "(":
                found.add(token.start)
            if token.text == "has" and [following[0].text, following[2].text] == ["(", ")"]:
                argument = following[1]
                if argument.kind == "name" and argument.text in fields:
                    found.add(argument.start)
        return found

    def offset_at(self, line: int, column: int) -> int:
        """Give the offset in the text of a position that CEL reports, counted from 1."""
        lines = self.text.split("\n")
        if not 1 <= line <= len(lines):
            return 0
        return sum(len(each) + 1 for each in lines[: line - 1]) + max(column - 1, 0)

    def name_before(self, offset: int) -> str:
        """Give the name that ends right before an offset of the text; empty if none does."""
        match = _NAME_BEFORE.search(self.text[:offset])
        return match[0] if match else ""

    def refusal(self, problem: str, offset: int) -> FilterInvalid:
        """Refuse the condition because of what stands at an offset of the text."""
        # CEL places a call at its parenthesis; people look for its name.
        if self.text[offset : offset + 1] == "(" and (name := self.name_before(offset)):
            offset = self.text.rindex(name, 0, offset)
        return self._invalid(problem, self._written_offset(offset))

    def _written_offset(self, offset: int) -> int:
        width = len(BODY) + 1
        shift = 0
        for insertion in self._insertions:
            inside = offset - (insertion + shift)
            if inside < 0:
                break
            if inside < width:
                return insertion
            shift += width
        return offset - shift

    def _invalid(self, problem: str, offset: int) -> FilterInvalid:
        before = self.written[:offset]
        line_start = before.rfind("\n") + 1
        return FilterInvalid(
            problem, line=before.count("\n") + 1, column=len(before) - line_start + 1
        )
