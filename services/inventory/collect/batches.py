"""Lists cut to what one call takes."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a list into parts of this size; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]
