"""The store that tenancy is written against: items, queries, conditional writes, transactions.

So low that the simulation runs the real code, and without a scan: what no key or index
answers cannot be asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mesh.errors import DependencyUnavailable
from services.tenancy.errors import WritesCollided
from services.tenancy.store.conditions import Condition
from services.tenancy.store.tables import PK, SK, Table
from services.tenancy.store.values import Item, Value

MAX_ACTIONS = 100
"""Actions of one transaction."""
MAX_KEYS = 100
"""Keys of one get_many."""
MAX_TOKEN = 36
"""Characters of a transaction's token."""
DEFAULT_LIMIT = 100
_DEPENDENCY = "store"
_KEYS = frozenset({PK, SK})

StartKey: TypeAlias = Mapping[str, str]
"""Where a page goes on: the key attributes of the last item seen, those of an index included."""


@dataclass(frozen=True)
class Key:
    """Which item. Made by ``keys.py`` alone."""

    table: Table
    pk: str
    sk: str


@dataclass(frozen=True)
class Prefix:
    """Sort keys that begin so."""

    text: str


@dataclass(frozen=True)
class Between:
    """Sort keys from ``low`` to ``high``, both included."""

    low: str
    high: str


@dataclass(frozen=True)
class UpTo:
    """Sort keys up to this one, included."""

    text: str


SortCondition: TypeAlias = Prefix | Between | UpTo


@dataclass(frozen=True)
class Query:
    """Items of one partition of a table or of one of its indexes, by sort key."""

    table: Table
    pk: str
    index: str = ""
    """Name of an index; empty for the table itself."""
    sk: SortCondition | None = None
    limit: int = DEFAULT_LIMIT
    """Most items of a page; it has fewer where they are large (1 MB)."""
    forward: bool = True
    """Whether sort keys ascend."""
    start: StartKey | None = None
    """``Page.next`` of the page before."""
    consistent: bool = False
    """Whether all earlier writes are seen; an index cannot."""

    def __post_init__(self) -> None:
        if self.index and self.index not in self.table.indexes:
            raise ValueError(f"{self.table.value} has no index {self.index!r}")
        if self.index and self.consistent:
            raise ValueError("an index is never read consistently")
        if self.limit < 1:
            raise ValueError("a page has room for an item at least")


@dataclass(frozen=True)
class Page:
    """Items of a query; an index gives the attributes of its projection alone."""

    items: list[Item]
    next: StartKey | None
    """Where the next page starts; None if there is nothing more."""


@dataclass(frozen=True)
class Set:
    """Give the attribute this value."""

    attribute: str
    value: Value


@dataclass(frozen=True)
class SetIfMissing:
    """Give the attribute this value unless it has one."""

    attribute: str
    value: Value


@dataclass(frozen=True)
class Remove:
    """Leave the item without the attribute."""

    attribute: str


@dataclass(frozen=True)
class Add:
    """Add to the attribute, which counts from 0 where it is absent."""

    attribute: str
    number: int


Change: TypeAlias = Set | SetIfMissing | Remove | Add


@dataclass(frozen=True)
class Put:
    """Write the item whole, in place of one that is there."""

    key: Key
    attributes: Mapping[str, Value]
    """Without ``pk`` and ``sk``."""
    condition: Condition | None = None


@dataclass(frozen=True)
class Update:
    """Change attributes of an item; ``upsert`` makes one that is not there."""

    key: Key
    changes: Sequence[Change]
    """At least one; none twice on one attribute."""
    condition: Condition | None = None
    upsert: bool = False
    """Without it the item must exist, as if Exists() were part of the condition."""


@dataclass(frozen=True)
class Delete:
    """Remove the item; one that is not there is removed already, unless the condition asks."""

    key: Key
    condition: Condition | None = None


@dataclass(frozen=True)
class Check:
    """Change nothing, but have the others of the transaction happen under this condition."""

    key: Key
    condition: Condition


Action: TypeAlias = Put | Update | Delete | Check


class StoreError(Exception):
    """A call of the store that did not do what it was asked for."""


class ConditionFailed(StoreError):
    """A condition did not hold; nothing was written."""

    def __init__(self, position: int, item: Item | None = None) -> None:
        super().__init__(f"the condition of action {position} does not hold")
        self.position = position
        """Of the first action whose condition failed, from 0."""
        self.item = item
        """The item as it stands; None if it does not exist."""


class TokenReused(StoreError):
    """The token of a transaction stands for another one; nothing was written."""


class ItemTooLarge(StoreError):
    """An item beyond 400 KB, or a transaction beyond 4 MB; nothing was written."""

    def __init__(self, what: str) -> None:
        super().__init__(f"an item of {what} is too large")


class RequestInvalid(StoreError):
    """What the store takes from nobody: a mistake of this program, such as adding to a text."""


class _Unavailable(StoreError, DependencyUnavailable):
    """What a caller of an RPC is told as UNAVAILABLE when nobody below handles it."""

    def __init__(self, why: str = "") -> None:
        DependencyUnavailable.__init__(self, _DEPENDENCY)
        self.why = why
        """For the log; holds no data."""


class Conflict(StoreError, WritesCollided):
    """Another write of the same items was under way; nothing was written, after all retries."""

    def __init__(self, why: str = "") -> None:
        WritesCollided.__init__(self)
        self.why = why
        """For the log; holds no data."""


class Throttled(_Unavailable):
    """The store takes no more at the moment; nothing was written."""


class StoreUnavailable(_Unavailable):
    """No answer: whether something was written is unknown, only reading again tells."""


class Store(Protocol):
    """Reads and writes items. All methods raise Throttled and StoreUnavailable.

    An item that names another tenant than its partition's is read as if there were none.
    """

    async def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        """Give an item with its keys; None if there is none."""

    async def get_many(self, keys: Sequence[Key], *, consistent: bool = True) -> list[Item | None]:
        """Give items in the order of their keys, in one call; at most 100, none twice."""

    async def query(self, query: Query) -> Page:
        """Give a page of items in the order of their sort keys."""

    async def write(self, *actions: Action, token: str = "") -> None:
        """Do all actions or none: one as a conditional write, several as a transaction.

        At most 100, no two of one item. A transaction with the ``token`` of one that
        happened in the last ten minutes happens no second time; TokenReused if it is another.
        Raises ConditionFailed, Conflict and ItemTooLarge.
        """

    async def close(self) -> None:
        """Let go of connections and threads."""


def check_keys(keys: Sequence[Key]) -> None:
    """Refuse by ValueError keys that no get_many takes; adapters begin with it."""
    if len(keys) > MAX_KEYS:
        raise ValueError(f"at most {MAX_KEYS} keys at once, not {len(keys)}")
    if len(set(keys)) != len(keys):
        raise ValueError("one key twice")


def check_actions(actions: Sequence[Action], token: str) -> None:
    """Refuse by ValueError what no store takes; adapters begin with it."""
    if not 1 <= len(actions) <= MAX_ACTIONS:
        raise ValueError(f"a write has 1 to {MAX_ACTIONS} actions, not {len(actions)}")
    if len({action.key for action in actions}) != len(actions):
        raise ValueError("two actions of one item")
    if len(token) > MAX_TOKEN:
        raise ValueError(f"a token has at most {MAX_TOKEN} characters")
    if len(actions) == 1 and isinstance(actions[0], Check):
        raise ValueError("a check alone writes nothing")
    for action in actions:
        if isinstance(action, Put):
            _check_put(action)
        elif isinstance(action, Update):
            _check_update(action)


def _check_put(action: Put) -> None:
    if _KEYS & action.attributes.keys():
        raise ValueError("the key of an item is not among its attributes")
    for name, value in action.attributes.items():
        _check_index_key(action.key.table, name, value)


def _check_update(action: Update) -> None:
    names = [change.attribute for change in action.changes]
    if not names:
        raise ValueError("an update without changes")
    if len(set(names)) != len(names):
        raise ValueError("two changes of one attribute")
    if _KEYS & set(names):
        raise ValueError("keys do not change")
    for change in action.changes:
        if isinstance(change, Set | SetIfMissing):
            _check_index_key(action.key.table, change.attribute, change.value)


def _check_index_key(table: Table, name: str, value: Value) -> None:
    # Not every emulator refuses what DynamoDB does.
    is_key = any(name in index.keys for index in table.indexes.values())
    if is_key and not (isinstance(value, str) and value):
        raise ValueError(f"{name}, the key of an index, is a text with something in it")


__all__ = [
    "Action",
    "Add",
    "Between",
    "Change",
    "Check",
    "Condition",
    "ConditionFailed",
    "Conflict",
    "Delete",
    "Item",
    "ItemTooLarge",
    "Key",
    "Page",
    "Prefix",
    "Put",
    "Query",
    "Remove",
    "RequestInvalid",
    "Set",
    "SetIfMissing",
    "SortCondition",
    "StartKey",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Table",
    "Throttled",
    "TokenReused",
    "UpTo",
    "Update",
    "Value",
    "check_actions",
    "check_keys",
]
