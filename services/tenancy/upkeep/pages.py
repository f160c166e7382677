"""What a query finds, one page after the other."""

from collections.abc import AsyncIterator
from dataclasses import replace

from services.tenancy.store.items import text
from services.tenancy.store.port import Query, Store
from services.tenancy.store.values import Item


async def each_item(store: Store, query: Query) -> AsyncIterator[Item]:
    """Give every item; StoreUnavailable, Throttled."""
    while True:
        page = await store.query(query)
        for item in page.items:
            yield item
        if page.next is None:
            return
        query = replace(query, start=page.next)


async def each_text(store: Store, query: Query, attribute: str) -> AsyncIterator[str]:
    """Give a text of every item; StoreUnavailable, Throttled."""
    async for item in each_item(store, query):
        yield text(item, attribute)
