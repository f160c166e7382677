"""One table in memory: its items by partition and sort key, and its indexes, which may lag."""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import TypeAlias

from services.tenancy.store.capacity import projected
from services.tenancy.store.port import (
    Between,
    Prefix,
    Query,
    RequestInvalid,
    SortCondition,
    StartKey,
    UpTo,
)
from services.tenancy.store.tables import PK, SK, Index, Table
from services.tenancy.store.values import Item

ItemKey: TypeAlias = tuple[str, str]
Order: TypeAlias = tuple[str, ...]
"""What an item is sorted by in its partition: its sort key; in an index, its own key after it."""
_FIRST = itemgetter(0)


class SortedPartitions:
    """The orders of items, by partition."""

    def __init__(self) -> None:
        self._partitions: defaultdict[str, list[Order]] = defaultdict(list)

    def add(self, pk: str, order: Order) -> None:
        """Take one in that is not there."""
        insort(self._partitions[pk], order)

    def remove(self, pk: str, order: Order) -> None:
        """Take one out that is there."""
        orders = self._partitions[pk]
        del orders[bisect_left(orders, order)]
        if not orders:
            del self._partitions[pk]

    def found(self, query: Query, after: Order | None) -> Iterable[Order]:
        """Give those of a query in its order, beginning after one. RequestInvalid."""
        orders = self._partitions.get(query.pk, [])
        if after is not None and _bounds([after], query.sk) != (0, 1):
            raise RequestInvalid("a page starts outside of its query")
        low, high = _bounds(orders, query.sk)
        if after is not None and query.forward:
            low = max(low, bisect_right(orders, after))
        elif after is not None:
            high = min(high, bisect_left(orders, after))
        positions = range(low, high) if query.forward else range(high - 1, low - 1, -1)
        return (orders[position] for position in positions)


def _bounds(orders: list[Order], condition: SortCondition | None) -> tuple[int, int]:
    match condition:
        case None:
            return 0, len(orders)
        case Prefix(text):
            # Cut to the length of the prefix, the keys are still in order.
            high = bisect_right(orders, text, key=lambda order: order[0][: len(text)])
            return bisect_left(orders, text, key=_FIRST), high
        case Between(low, high_text):
            first = bisect_left(orders, low, key=_FIRST)
            return first, max(first, bisect_right(orders, high_text, key=_FIRST))
        case UpTo(text):
            return 0, bisect_right(orders, text, key=_FIRST)


class MemoryIndex:
    """An index: what has arrived in it, and what is on its way."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._entries: dict[ItemKey, Item] = {}
        self._sorted = SortedPartitions()
        self._coming: list[tuple[int, int, ItemKey, Item | None]] = []
        self._last_coming: dict[ItemKey, int] = {}
        self._sent = 0

    def send(self, key: ItemKey, item: Item | None, now: int, arrives: int) -> None:
        """Let a write arrive at a moment, but not before earlier ones of the same item."""
        if arrives <= now and key not in self._last_coming:
            self._replace(key, projected(self.index, item))
            return
        arrives = max(arrives, self._last_coming.get(key, arrives))
        self._last_coming[key] = arrives
        self._sent += 1
        heapq.heappush(self._coming, (arrives, self._sent, key, projected(self.index, item)))

    def settle(self, now: int) -> None:
        """Take in all that has arrived by now."""
        while self._coming and self._coming[0][0] <= now:
            arrived, _, key, entry = heapq.heappop(self._coming)
            if self._last_coming.get(key) == arrived:
                del self._last_coming[key]
            self._replace(key, entry)

    def _replace(self, key: ItemKey, entry: Item | None) -> None:
        old = self._entries.pop(key, None)
        if old is not None:
            self._sorted.remove(str(old[self.index.pk]), self.order(old))
        if entry is not None:
            self._entries[key] = entry
            self._sorted.add(str(entry[self.index.pk]), self.order(entry))

    def order(self, entry: StartKey | Item) -> Order:
        """Give what an entry, or a start key, is sorted by."""
        sk = str(entry[self.index.sk]) if self.index.sorted else ""
        return sk, str(entry[PK]), str(entry[SK])

    def start_key(self, entry: Item) -> StartKey:
        """Give the start key of the page that follows an entry."""
        return {name: str(entry[name]) for name in (PK, SK, *self.index.keys)}

    def found(self, query: Query) -> Iterable[Item]:
        """Give the entries of a query."""
        after = None if query.start is None else self.order(query.start)
        return (self._entries[order[1:]] for order in self._sorted.found(query, after))  # type: ignore[index]  # two of three


class MemoryTable:
    """The items of a table."""

    def __init__(self, table: Table) -> None:
        self.indexes = {name: MemoryIndex(index) for name, index in table.indexes.items()}
        self._items: dict[ItemKey, Item] = {}
        self._sorted = SortedPartitions()

    def get(self, key: ItemKey) -> Item | None:
        """Give the item itself, which is not to be changed."""
        return self._items.get(key)

    def replace(self, key: ItemKey, item: Item | None, now: int, arrives: int) -> None:
        """Write or remove an item; its indexes learn of it at a moment that may be later."""
        if self._items.pop(key, None) is not None:
            self._sorted.remove(key[0], key[1:])
        if item is not None:
            self._items[key] = item
            self._sorted.add(key[0], key[1:])
        for index in self.indexes.values():
            index.send(key, item, now, arrives)

    def found(self, query: Query) -> Iterable[Item]:
        """Give the items of a query of the table itself."""
        after = None if query.start is None else (query.start[SK],)
        return (self._items[query.pk, order[0]] for order in self._sorted.found(query, after))

    def start_key(self, item: Item) -> StartKey:
        """Give the start key of the page that follows an item."""
        return {PK: str(item[PK]), SK: str(item[SK])}

    def items(self) -> list[Item]:
        """Give all items, which no caller of the port can ask for: tests look on."""
        return list(self._items.values())
