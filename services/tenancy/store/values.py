"""Values of attributes, and how DynamoDB compares and measures them."""

from collections.abc import Mapping
from typing import TypeAlias

Value: TypeAlias = "str | int | bool | bytes | list[Value] | dict[str, Value]"
"""Types S, N (whole numbers), BOOL, B, L and M of DynamoDB; what is absent has no value."""
Item: TypeAlias = dict[str, Value]
"""The attributes of an item by name, its keys ``pk`` and ``sk`` among them."""

MAX_ITEM_BYTES = 400 * 1024
_LIST_OVERHEAD = 3
_ELEMENT_OVERHEAD = 1
_DIGITS_PER_BYTE = 2


def same(left: Value, right: Value) -> bool:
    """Tell whether two values are equal, types included: True is not 1."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def at_most(left: Value, right: Value) -> bool:
    """Tell whether two values are of one ordered type and the left is not beyond the right.

    Texts sort by their UTF-8 bytes.
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if isinstance(left, int) and isinstance(right, int):
        return left <= right
    if isinstance(left, str) and isinstance(right, str):
        return left.encode() <= right.encode()
    return isinstance(left, bytes) and isinstance(right, bytes) and left <= right


def size_of(item: Mapping[str, Value]) -> int:
    """Give the bytes of an item as DynamoDB counts them: names and values."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Value) -> int:
    if isinstance(value, bool):
        return 1
    if isinstance(value, int):
        # Two digits take a byte; trailing zeros are dropped, one byte is the exponent.
        digits = len(str(abs(value)).rstrip("0")) or 1
        return (digits + 1) // _DIGITS_PER_BYTE + 1 + (value < 0)
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list):
        return _LIST_OVERHEAD + sum(_ELEMENT_OVERHEAD + _size(each) for each in value)
    return _LIST_OVERHEAD + sum(
        _ELEMENT_OVERHEAD + len(key.encode()) + _size(each) for key, each in value.items()
    )


def copied(value: Value) -> Value:
    """Give a copy that shares nothing that can change."""
    if isinstance(value, list):
        return [copied(each) for each in value]
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return value


def copied_item(item: Mapping[str, Value]) -> Item:
    """Give a copy of an item that shares nothing that can change."""
    return {name: copied(value) for name, value in item.items()}
