"""The exact store in memory: one lock, DynamoDB's semantics and bill, and faults on demand.

For tests, simulations and load without AWS. What a transaction sees and writes is atomic;
an index learns of a write as late as ``Faults.index_lag`` says.
"""

import asyncio
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from services.tenancy.clock import MICROSECONDS, Clock, SystemClock
from services.tenancy.store.belonging import all_own, own
from services.tenancy.store.capacity import (
    index_units,
    read_units,
    read_units_of,
    write_units,
)
from services.tenancy.store.conditions import holds
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.memory_table import MemoryIndex, MemoryTable
from services.tenancy.store.port import (
    Action,
    Add,
    Check,
    ConditionFailed,
    Delete,
    Item,
    ItemTooLarge,
    Key,
    Page,
    Put,
    Query,
    Remove,
    RequestInvalid,
    Set,
    SetIfMissing,
    StoreError,
    TokenReused,
    Update,
    check_actions,
    check_keys,
)
from services.tenancy.store.recorder import (
    TRANSACT,
    Access,
    Observer,
    StoreCall,
    iam_action,
    key_access,
    query_access,
    write_accesses,
)
from services.tenancy.store.tables import PK, SK, Table
from services.tenancy.store.values import MAX_ITEM_BYTES, copied, copied_item, size_of

MAX_PAGE_BYTES: Final = 1024 * 1024
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
TOKEN_MICROSECONDS: Final = 10 * 60 * MICROSECONDS
"""How long the token of a transaction is remembered."""


Change = tuple[Key, Item | None, Item | None]
"""What a write makes of one item: its key, what it was, what it becomes."""


class MemoryStore:
    """See ``Store``."""

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        faults: Faults | None = None,
        observe: Observer | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._faults = faults
        self._observe = observe
        self._lock = threading.Lock()
        self._tables = {table: MemoryTable(table) for table in Table}
        self._tokens: dict[str, tuple[int, tuple[Action, ...]]] = {}

    async def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        """Give an item."""
        (found,) = await self._read("GetItem", [key], consistent=consistent)
        return found

    async def get_many(self, keys: Sequence[Key], *, consistent: bool = True) -> list[Item | None]:
        """Give items in the order of their keys."""
        check_keys(keys)
        if not keys:
            return []
        return await self._read("BatchGetItem", keys, consistent=consistent)

    async def query(self, query: Query) -> Page:
        """Give a page of a partition."""
        accesses = (query_access(query),)
        await self._begin("Query", accesses)
        with self._lock:
            source = self._source(query)
            items, cut = _page(source.found(query), query.limit)
            start = source.start_key(items[-1]) if cut else None
        units = read_units(sum(map(size_of, items)), consistent=query.consistent)
        await self._end(StoreCall("Query", accesses, read_units=units))
        return Page(all_own(items), start)

    async def write(self, *actions: Action, token: str = "") -> None:
        """Do all actions or none."""
        check_actions(actions, token)
        transaction = len(actions) > 1 or bool(token)
        operation = TRANSACT if transaction else iam_action(actions[0])
        accesses = write_accesses(actions)
        await self._begin(operation, accesses)
        with self._lock:
            changes, error = self._written(actions, token)
        units = sum(self._units(change, transaction=transaction) for change in changes)
        name = type(error).__name__ if error else ""
        await self._end(StoreCall(operation, accesses, write_units=units, error=name))
        if error is not None:
            raise error

    async def close(self) -> None:
        """Keep everything: another may go on with it."""

    def items(self, table: Table) -> list[Item]:
        """Give all items of a table, for tests to look on: the port cannot."""
        with self._lock:
            return [copied_item(each) for each in self._tables[table].items()]

    async def _read(
        self, operation: str, keys: Sequence[Key], *, consistent: bool
    ) -> list[Item | None]:
        accesses = tuple(key_access(operation, key) for key in keys)
        await self._begin(operation, accesses)
        with self._lock:
            found = [self._tables[key.table].get((key.pk, key.sk)) for key in keys]
            items = [None if each is None else copied_item(each) for each in found]
        units = read_units_of(items, consistent=consistent)
        await self._end(StoreCall(operation, accesses, read_units=units))
        return [None if each is None else own(each) for each in items]

    def _source(self, query: Query) -> MemoryTable | MemoryIndex:
        table = self._tables[query.table]
        if not query.index:
            return table
        index = table.indexes[query.index]
        index.settle(self._clock.now())
        return index

    def _written(
        self, actions: Sequence[Action], token: str
    ) -> tuple[list[Change], StoreError | None]:
        """Write, and give what that changed; with an error what it would have been billed for."""
        now = self._clock.now()
        before = [self._tables[each.key.table].get((each.key.pk, each.key.sk)) for each in actions]
        unchanged = [(each.key, old, old) for each, old in zip(actions, before, strict=True)]
        try:
            if self._is_repeated(actions, token, now):
                return unchanged, None
            changes = [
                (each.key, old, _result(position, each, old))
                for position, (each, old) in enumerate(zip(actions, before, strict=True))
            ]
            if sum(size_of(after or {}) for _, _, after in changes) > MAX_TRANSACTION_BYTES:
                raise ItemTooLarge("a transaction")
        except StoreError as error:
            return unchanged, error
        for key, _, after in changes:
            arrives = now + (self._faults.lag() if self._faults else 0)
            self._tables[key.table].replace((key.pk, key.sk), after, now, arrives)
        if token:
            self._tokens[token] = (now, tuple(actions))
        return changes, None

    def _is_repeated(self, actions: Sequence[Action], token: str, now: int) -> bool:
        made, done = self._tokens.get(token, (0, ()))
        if not done or made + TOKEN_MICROSECONDS <= now:
            return False
        if done != tuple(actions):
            raise TokenReused("the token stands for another transaction")
        return True

    def _units(self, change: Change, *, transaction: bool) -> float:
        key, before, after = change
        units = write_units(before, after, transaction=transaction)
        if before is after:
            return units
        indexes = key.table.indexes.values()
        return units + sum(index_units(index, before, after) for index in indexes)

    async def _begin(self, operation: str, accesses: tuple[Access, ...]) -> None:
        # Others go on while a call is under way.
        await asyncio.sleep(0)
        if self._faults is None:
            return
        try:
            self._faults.before(transaction=operation == TRANSACT)
        except StoreError as error:
            self._tell(StoreCall(operation, accesses, error=type(error).__name__))
            raise

    async def _end(self, call: StoreCall) -> None:
        self._tell(call)
        await asyncio.sleep(0)
        if self._faults is not None:
            self._faults.after()

    def _tell(self, call: StoreCall) -> None:
        if self._observe is not None:
            self._observe(call)


def _page(found: Iterable[Item], limit: int) -> tuple[list[Item], bool]:
    """Give copies of the items of a page, and whether it ended before the partition did.

    As in DynamoDB a page that is full says that there may be more, even if there is not.
    """
    items: list[Item] = []
    size = 0
    for item in found:
        size += size_of(item)
        items.append(copied_item(item))
        if len(items) == limit or size >= MAX_PAGE_BYTES:
            return items, True
    return items, False


def _result(position: int, action: Action, before: Item | None) -> Item | None:
    """Give the item that an action makes of one; ConditionFailed, ItemTooLarge."""
    exists = not isinstance(action, Update) or action.upsert or before is not None
    condition = action.condition
    if not exists or (condition is not None and not holds(condition, before)):
        raise ConditionFailed(position, None if before is None else copied_item(before))
    match action:
        case Delete():
            return None
        case Check():
            return before
        case Put():
            after = {**copied_item(action.attributes), PK: action.key.pk, SK: action.key.sk}
        case Update():
            after = {PK: action.key.pk, SK: action.key.sk} if before is None else dict(before)
            for change in action.changes:
                _apply(after, change)
    if size_of(after) > MAX_ITEM_BYTES:
        raise ItemTooLarge(action.key.table.value)
    return after


def _apply(item: Item, change: Set | SetIfMissing | Remove | Add) -> None:
    match change:
        case Set(attribute, value):
            item[attribute] = copied(value)
        case SetIfMissing(attribute, value):
            item.setdefault(attribute, copied(value))
        case Remove(attribute):
            item.pop(attribute, None)
        case Add(attribute, number):
            old = item.get(attribute, 0)
            if isinstance(old, bool) or not isinstance(old, int):
                raise RequestInvalid(f"{attribute} is no number")
            item[attribute] = old + number
