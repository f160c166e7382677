"""How statements that are signed are written: what it is, its origin, then lines ``word value``."""

import re
from collections.abc import Iterable, Sequence

from services.crypto.audit.note import NoteBroken, PublicKey, opened

Words = list[tuple[str, str]]
"""The lines of a statement after its origin, in their order."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def statement_text(kind: str, origin: str, words: Iterable[tuple[str, str]]) -> str:
    """Write what is to be signed."""
    return "".join(f"{line}\n" for line in (kind, origin, *(f"{w} {v}" for w, v in words)))


def statement_words(kind: str, note: str, keys: Sequence[PublicKey]) -> tuple[str, Words]:
    """Give the origin and the words of a statement that one of the keys signed; NoteBroken."""
    found, origin, *lines = [*opened(note, keys).removesuffix("\n").split("\n"), ""]
    if found != kind:
        raise NoteBroken(f"this is no {kind!r}")
    return origin, [(word, value) for word, _, value in (line.partition(" ") for line in lines)]


def values_of(words: Words, word: str) -> list[str]:
    """Give the values of all lines of a word."""
    return [value for name, value in words if name == word]


def value_of(words: Words, word: str) -> str:
    """Give the value of the one line of a word; NoteBroken."""
    found = values_of(words, word)
    if len(found) != 1:
        raise NoteBroken(f"a statement has one line {word!r}")
    return found[0]


def number_of(text: str) -> int:
    """Read a number, which has one writing; NoteBroken."""
    if not _NUMBER.fullmatch(text):
        raise NoteBroken("a number is none")
    return int(text)


def bytes_of(text: str) -> bytes:
    """Read bytes in hexadecimal, which have one writing; NoteBroken."""
    try:
        found = bytes.fromhex(text)
    except ValueError as error:
        raise NoteBroken("bytes are none") from error
    if found.hex() != text:
        raise NoteBroken("bytes are none")
    return found
