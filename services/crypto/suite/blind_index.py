"""Blind indexes: keyed, truncated hashes by which sealed values are found.

    index = first bits of HMAC-SHA-256(key, label | tenant | field | key version | normal form)

Truncation makes unequal values collide, so that an index alone proves nothing; candidates are
opened and compared. The bits obey sqrt(X) <= 2^N < X/2 for X values in the field.
"""

import math
from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from services.crypto.suite.context import canonical
from services.crypto.suite.normal_form import Form

_LABEL = b"secmesh/bidx/1"
_MAX_BITS = 63
_MIN_ENTROPY = 1_000_000
"""Possible values of a field from which one alone may be indexed."""
_FEWEST_VALUES = 1000
"""Possible values of a field below which its index tells which rows are equal."""


class IndexKey:
    """One version of the key of a field's blind index."""

    __slots__ = ("_keyed", "version")

    def __init__(self, version: int, secret: bytes) -> None:
        self.version = version
        self._keyed = HMAC(secret, SHA256())

    def index(self, tenant: str, field: str, normal: str, bits: int) -> int:
        """Give the index of a value in its normal form: an integer of so many bits, at most 63."""
        if not 0 < bits <= _MAX_BITS:
            raise ValueError("an index has 1 to 63 bits")
        version = self.version.to_bytes(4, "big")
        keyed = self._keyed.copy()
        keyed.update(canonical(_LABEL, tenant.encode(), field.encode(), version, normal.encode()))
        return int.from_bytes(keyed.finalize()[:8]) >> (64 - bits)


def bits_for(values: int) -> int:
    """Give the bits of an index for so many values: sqrt(X) <= 2^N < X/2, nearer the lower end.

    Raises ValueError for fewer values than hide one another.
    """
    if values < _FEWEST_VALUES:
        raise ValueError(f"an index needs at least {_FEWEST_VALUES} values to hide in")
    return min(_MAX_BITS, math.ceil(math.log2(values) / 2))


class Kept(StrEnum):
    """How a field's value, or a part of it, can be seen in the store."""

    BLIND_INDEX = "blind_index"
    LAST_FOUR = "last_four"
    CLEAR = "clear"


class Exposure(NamedTuple):
    """One way in which a store shows something of a field."""

    field: str
    form: Form
    possible_values: int
    """How many different values people have in it, about; 365 x 80 for a date of birth."""
    kept: Kept


def leaks(exposures: Collection[Exposure]) -> list[str]:
    """Say which blind indexes give away what they index; none is good.

    A field of few values is found by counting. A card's index beside its last four digits leaves
    a hash over few unknown digits (PCI DSS 3.5.1.1 and its FAQ 1308).
    """
    problems = []
    for each in exposures:
        if each.kept is not Kept.BLIND_INDEX:
            continue
        if each.possible_values < _MIN_ENTROPY:
            problems.append(f"{each.field}: {each.possible_values} possible values are too few")
        ways = {other.kept for other in exposures if other.field == each.field}
        if each.form is Form.CARD and Kept.LAST_FOUR in ways:
            problems.append(f"{each.field}: an index and the last four digits, never both")
    return problems
