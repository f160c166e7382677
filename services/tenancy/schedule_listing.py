"""Pages of schedules that an index leads to: those of an account, those that are due."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.listing import DEFAULT_PAGE_SIZE
from services.tenancy.retention import is_gone
from services.tenancy.schedules import ACTIVE, CODEC, DELETED, run_time
from services.tenancy.store.keys import PlatformScope, TenantScope, key_of
from services.tenancy.store.pages import PageTokens
from services.tenancy.store.port import MAX_KEYS, Key, Query, Store
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item, Value

_DUE = Table.SCHEDULES.indexes["due"]
_OWNER: Final = "platform"
"""What a token is bound to that is no tenant's: no tenant has this id."""
_PLACE: Final = "place"


class ScheduleListing:
    """Reads pages of schedules; PageTokenInvalid for a token of another listing."""

    def __init__(self, store: Store, clock: Clock, tokens: PageTokens, shards: int) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._shards = shards

    async def of_account(
        self, tenant: str, account: str, size: int, token: str, *, deleted: bool
    ) -> tuple[list[Schedule], str]:
        """Give schedules of an account by id, at most 100 of a page, and the token of the next."""
        asked = str(deleted)
        query = TenantScope(tenant).schedules_of_account(account)
        sized = replace(query, limit=min(size or DEFAULT_PAGE_SIZE, MAX_KEYS))
        page = await self._store.query(self._tokens.started(tenant, sized, token, asked))
        found = await self._read([key_of(Table.SCHEDULES, item) for item in page.items])
        now = self._clock.now()
        kept = [CODEC.message(item) for item in found if not is_gone(item, now)]
        return (
            [each for each in kept if deleted or each.state != DELETED],
            self._tokens.next(tenant, sized, page, asked),
        )

    async def due(self, size: int, token: str) -> tuple[list[Schedule], str]:
        """Give schedules of all tenants whose time has come, the longest due first.

        At most 100 of a page. What was taken up meanwhile is left out, so a page may have fewer.
        """
        size = min(size or DEFAULT_PAGE_SIZE, MAX_KEYS)
        now = self._clock.now() // MICROSECONDS
        position: Mapping[str, str] = {}
        if token:
            position = self._tokens.read(_OWNER, [_DUE.name], token)
        queries = self._due_queries(position.get(_PLACE, ""), now, size)
        pages = await asyncio.gather(*(self._store.query(each) for each in queries))
        hits = sorted((item for page in pages for item in page.items), key=_place_of)
        found = await self._read([key_of(Table.SCHEDULES, item) for item in hits[:size]])
        following = ""
        if len(hits) > size or any(page.next for page in pages):
            following = self._tokens.write(_OWNER, [_DUE.name], {_PLACE: _place_of(hits[size - 1])})
        schedules = [CODEC.message(item) for item in found]
        return [each for each in schedules if _is_due(each, now)], following

    def _due_queries(self, place: str, now: int, size: int) -> Sequence[Query]:
        scope = PlatformScope()
        return [
            replace(
                scope.due_after(shard, place, now) if place else scope.due(shard, now), limit=size
            )
            for shard in range(self._shards)
        ]

    async def _read(self, keys: Sequence[Key]) -> list[Item]:
        found = await self._store.get_many(keys) if keys else []
        return [item for item in found if item is not None]


def _place_of(item: Mapping[str, Value]) -> str:
    return str(item[_DUE.sk])


def _is_due(schedule: Schedule, now: int) -> bool:
    """Tell it of the schedule itself: an index may show what it was a moment ago."""
    schedule_id = schedule.name.rsplit("/", 1)[-1]
    fire, jitter = schedule.next_fire_time.seconds, schedule.jitter_seconds
    return schedule.state == ACTIVE and run_time(schedule_id, fire, jitter) <= now
