"""Padding that hides the exact length of a value: ISO/IEC 7816-4, to a multiple of a block."""

from services.crypto.errors import ValueUnopenable

_MARK = b"\x80"


def pad(value: bytes, block: int) -> bytes:
    """Lengthen to a multiple of ``block`` bytes; at least one byte is added."""
    return (value + _MARK).ljust(-(-(len(value) + 1) // block) * block, b"\x00")


def unpad(padded: bytes) -> bytes:
    """Take padding away. Raises ValueUnopenable if there is none.

    What is unpadded was authenticated before: the time that it takes tells nothing new.
    """
    value = padded.rstrip(b"\x00")
    if not value.endswith(_MARK):
        raise ValueUnopenable
    return value[:-1]
