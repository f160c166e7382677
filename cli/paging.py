"""Lists read page by page, as far as the user wants."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from google.protobuf.message import Message

PAGE = 500

Item = TypeVar("Item", bound=Message)


class Page(Protocol):
    """What every List answer has."""

    @property
    def next_page_token(self) -> str: ...


Answer = TypeVar("Answer", bound=Page)


def read_pages(
    call: Callable[[int, str], Answer], items: Callable[[Answer], list[Item]], limit: int
) -> Iterator[Item]:
    """Give items page by page until the last, or until ``limit`` of them; 0 means all.

    Args:
        call: Takes the page size and the page token.
        items: Takes an answer's items out of it.
        limit: The most items to give.
    """
    left, token = limit, ""
    while True:
        answer = call(min(PAGE, left) if limit else PAGE, token)
        found = items(answer)
        yield from found
        left -= len(found)
        token = answer.next_page_token
        if not token or (limit and left <= 0):
            return
