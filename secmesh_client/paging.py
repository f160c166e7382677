"""Lists read page by page (AIP-158), by code without an event loop."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, cast

from google.protobuf.message import Message

PAGE = 500
"""Items to ask for in a page, where the request does not say."""


class Page(Protocol):
    """What every List answer has."""

    @property
    def next_page_token(self) -> str: ...


Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Page)
Item = TypeVar("Item")


class Pages:
    """Where reading a list stands: makes the request of each page."""

    def __init__(self, request: Message, limit: int) -> None:
        missing = {"page_size", "page_token"}.difference(request.DESCRIPTOR.fields_by_name)
        if missing:
            raise ValueError(f"{request.DESCRIPTOR.full_name} has no {min(missing)}: it lists none")
        self._request = cast("Any", request)
        self._limit = limit
        self._left = limit
        self._token: str = self._request.page_token

    def request(self) -> Any:
        """Give the request of the page that comes next."""
        page = type(self._request)()
        page.CopyFrom(self._request)
        size = page.page_size or PAGE
        page.page_size = min(size, self._left) if self._limit else size
        page.page_token = self._token
        return page

    def taken(self, count: int) -> None:
        self._left -= count

    def ends(self, answer: Page) -> bool:
        """Tell whether nothing more is to be read. Raises ValueError if the server repeats itself,
        which would be read for ever.
        """
        token = answer.next_page_token
        if token and token == self._token:
            raise ValueError("the server gave the same page_token again")
        self._token = token
        return not token or (self._limit > 0 and self._left <= 0)


def pages(method: Callable[[Request], Answer], request: Request) -> Iterator[Answer]:
    """Give the answers of a List method, from the request's ``page_token`` to the last page.

    Raises CallRefused; an answer lost on the way is asked for again.
    """
    place = Pages(request, 0)
    while True:
        answer = method(place.request())
        yield answer
        if place.ends(answer):
            return


def items(
    method: Callable[[Request], Answer],
    request: Request,
    take: Callable[[Answer], Iterable[Item]],
    limit: int = 0,
) -> Iterator[Item]:
    """Give what a List method lists, page by page, at most ``limit``; 0 means all.

    ``take`` takes an answer's items out of it: ``lambda page: page.records``.
    """
    place = Pages(request, limit)
    while True:
        answer = method(place.request())
        for item in take(answer):
            yield item
            place.taken(1)
        if place.ends(answer):
            return
