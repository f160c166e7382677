"""One unambiguous byte string of several: what keys and hashes are bound to."""

from collections.abc import Iterable


def length_prefixed(parts: Iterable[bytes], *, width: int) -> bytes:
    """Join parts, each after its length as ``width`` bytes, big-endian.

    Different sequences of parts give different strings. OverflowError if a part is too long.
    """
    return b"".join([len(part).to_bytes(width, "big") + part for part in parts])
