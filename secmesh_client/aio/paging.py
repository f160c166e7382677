"""Lists read page by page (AIP-158), with asyncio."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from secmesh_client.paging import Answer, Item, Pages, Request


async def pages(
    method: Callable[[Request], Awaitable[Answer]], request: Request
) -> AsyncIterator[Answer]:
    """Give the answers of a List method, from the request's ``page_token`` to the last page."""
    place = Pages(request, 0)
    while True:
        answer = await method(place.request())
        yield answer
        if place.ends(answer):
            return


async def items(
    method: Callable[[Request], Awaitable[Answer]],
    request: Request,
    take: Callable[[Answer], Iterable[Item]],
    limit: int = 0,
) -> AsyncIterator[Item]:
    """Give what a List method lists, page by page, at most ``limit``; 0 means all.

    ``take`` takes an answer's items out of it: ``lambda page: page.records``.
    """
    place = Pages(request, limit)
    while True:
        answer = await method(place.request())
        for item in take(answer):
            yield item
            place.taken(1)
        if place.ends(answer):
            return
