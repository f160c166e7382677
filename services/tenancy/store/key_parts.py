"""Parts of keys, as texts that DynamoDB sorts: bounded, joined by ``#``, numbers padded."""

import hashlib
import unicodedata
from datetime import UTC, datetime
from typing import Final

from services.tenancy.clock import MICROSECONDS
from services.tenancy.store.values import Value

META: Final = "META"
SEPARATOR: Final = "#"
LAST: Final = "~"
"""Sorts after all that a key holds otherwise."""
MILLISECONDS_DIGITS: Final = 13
_SECONDS_DIGITS = 10
_MAX_PART = 512

IndexKeys = dict[str, Value]
"""Key attributes of an index, to be put into an item beside its own."""


class KeyInvalid(ValueError):
    """A part that no key can hold; contracts bound ids so that callers cannot cause it."""


def month_of(moment: int) -> str:
    """Give the month in UTC of microseconds since 1970, as ``202611``."""
    return datetime.fromtimestamp(moment // MICROSECONDS, UTC).strftime("%Y%m")


def folded(text: str) -> str:
    """Give the form in which names are compared: compatible forms, cases and spaces are one.

    Of long names it is a digest, since a sort key holds 1,024 bytes.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    form = " ".join(unicodedata.normalize("NFKC", plain).split())
    if len(form.encode()) > _MAX_PART:
        return f"sha256:{hashlib.sha256(form.encode()).hexdigest()}"
    return last(form)


def part(value: str) -> str:
    """Give a part of a key that others may follow."""
    if SEPARATOR in value or LAST in value or not value.isprintable():
        raise KeyInvalid("a part of a key holds #, ~ or a control character")
    return last(value)


def last(value: str) -> str:
    """Give the last part of a key."""
    if not 0 < len(value.encode()) <= _MAX_PART:
        raise KeyInvalid("a part of a key is empty or too long")
    return value


def join(first: str, *parts: str) -> str:
    """Give a key of parts, of which none holds a separator."""
    return SEPARATOR.join((part(first), *(part(each) for each in parts)))


def status(status: str) -> str:
    """Give a status: in capitals, so that no tenant's id is the name of a partition."""
    if not status.isupper():
        raise KeyInvalid("a status is written in capitals")
    return part(status)


def seconds(value: int) -> str:
    """Write seconds since 1970."""
    return digits(value, _SECONDS_DIGITS)


def milliseconds(microseconds: int) -> str:
    """Write microseconds since 1970 as milliseconds."""
    return digits(microseconds // 1000, MILLISECONDS_DIGITS)


def digits(value: int, number: int) -> str:
    """Write a number so that texts sort as numbers do; KeyInvalid beyond the digits."""
    text = f"{value:0{number}d}"
    if value < 0 or len(text) > number:
        raise KeyInvalid("a moment outside what keys hold")
    return text
