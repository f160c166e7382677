"""Pages of resources: queries with tokens, and what is gone left out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from google.protobuf.message import Message

from services.tenancy.clock import Clock
from services.tenancy.retention import is_gone
from services.tenancy.store.items import ItemCodec
from services.tenancy.store.pages import PageTokens
from services.tenancy.store.port import Query, Store

DEFAULT_PAGE_SIZE: Final = 100
M = TypeVar("M", bound=Message)


class Listing:
    """Reads pages of queries that hold whole items."""

    def __init__(self, store: Store, clock: Clock, tokens: PageTokens) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens

    async def page(
        self,
        owner: str,
        query: Query,
        codec: ItemCodec[M],
        size: int,
        token: str,
        keep: Callable[[M], bool],
        *asked: str,
    ) -> tuple[list[M], str]:
        """Give the resources of a page that are to be kept, and the token of the next.

        ``owner`` is the tenant, ``asked`` what ``keep`` depends on: a token is good for both
        alone. A page may have fewer resources than its size and be followed by others all the
        same. PageTokenInvalid.
        """
        sized = replace(query, limit=size or DEFAULT_PAGE_SIZE)
        page = await self._store.query(self._tokens.started(owner, sized, token, *asked))
        now = self._clock.now()
        found = [codec.message(item) for item in page.items if not is_gone(item, now)]
        return [each for each in found if keep(each)], self._tokens.next(owner, sized, page, *asked)
