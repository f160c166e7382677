"""Texts that meet the bounds of a string field."""

from re import _constants as op  # type: ignore[attr-defined]  # the parsed form of patterns
from re import _parser as parser  # type: ignore[attr-defined]  # what makes that form
from typing import Any

_LONGEST = 24
"""Characters where a pattern would take more."""


def text_of(rules: Any, digits: str) -> str:
    """Give a text that meets ``buf.validate`` string rules; other digits, mostly another text."""
    known = rules.WhichOneof("well_known")
    if known is not None:
        return _well_known(known, digits)
    if allowed := list(getattr(rules, "in")):
        return str(allowed[int(digits[:4], 16) % len(allowed)])
    if rules.HasField("const"):
        return str(rules.const)
    if rules.HasField("pattern"):
        parsed = parser.parse(rules.pattern)
        # Repeats within repeats are longer than each alone.
        texts = (_Writer(digits, longest).write(parsed) for longest in range(_LONGEST, 0, -1))
        return next(each for each in texts if len(each) <= (int(rules.max_len) or len(each)))
    if rules.HasField("len"):
        return _exactly(int(rules.len), digits)
    most = int(rules.max_len) or 64
    length = max(int(rules.min_len), min(most, 20), 1)
    return (str(rules.prefix) + _exactly(length, digits))[:most]


def _exactly(length: int, digits: str) -> str:
    return (digits * (length // len(digits) + 1))[:length]


def _well_known(rule: str, digits: str) -> str:
    number = int(digits[:2], 16)
    return {
        "uuid": f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:30]}",
        "email": f"{digits[:12]}@example.com",
        "hostname": f"h{digits[:8]}.example.com",
        "ip": f"192.0.2.{number}",
        "ipv4": f"192.0.2.{number}",
        "ipv6": f"2001:db8::{digits[:4]}",
        "uri": f"https://example.com/{digits[:8]}",
        "uri_ref": f"/{digits[:8]}",
        "address": f"192.0.2.{number}",
        "ip_prefix": "192.0.2.0/24",
        "ip_with_prefixlen": f"192.0.2.{number}/24",
        "host_and_port": f"h{digits[:8]}.example.com:443",
    }[rule]


class _Writer:
    """Writes one text of a parsed pattern, as the digits choose."""

    def __init__(self, digits: str, longest: int) -> None:
        self._longest = longest
        self._choices = [int(digit, 16) for digit in digits]
        self._next = 0

    def write(self, pattern: Any) -> str:
        return "".join(self._piece(kind, argument) for kind, argument in pattern)

    def _choice(self, number: int) -> int:
        self._next += 1
        place = self._next * 2 % len(self._choices)
        return (self._choices[place - 2] * 16 + self._choices[place - 1]) % number

    def _piece(self, kind: Any, argument: Any) -> str:
        if kind is op.LITERAL:
            return chr(argument)
        if kind is op.ANY:
            return "x"
        if kind is op.NOT_LITERAL:
            return "y" if chr(argument) == "x" else "x"
        if kind is op.IN:
            characters = _characters(argument)
            return characters[self._choice(len(characters))]
        if kind is op.SUBPATTERN:
            return self.write(argument[-1])
        if kind is op.BRANCH:
            branches = argument[1]
            return self.write(branches[self._choice(len(branches))])
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, inner = argument
            length = max(int(least), min(int(most), self._longest if int(most) > 1 else 0))
            return "".join(self.write(inner) for _ in range(length))
        if kind is op.AT:
            return ""
        raise AssertionError(f"no text is written for {kind}")


def _characters(parts: Any) -> str:
    """Give the characters of a class; of one that excludes, letters that it leaves."""
    found: list[str] = []
    excluded = False
    for kind, argument in parts:
        if kind is op.NEGATE:
            excluded = True
        elif kind is op.LITERAL:
            found.append(chr(argument))
        elif kind is op.RANGE:
            found.extend(chr(code) for code in range(argument[0], argument[1] + 1))
        elif kind is op.CATEGORY:
            digits, space = argument is op.CATEGORY_DIGIT, argument is op.CATEGORY_SPACE
            found.extend("0123456789" if digits else " " if space else "abcdef0123456789")
    if excluded:
        return "".join(each for each in "abcdef0123456789" if each not in found)
    # Letters and digits first of all: what stands at an end is mostly bound to them.
    plain = [each for each in found if each.isalnum() and each.isascii()]
    return "".join(plain or found)
