"""What was asked of the store: each call with its tables, leading keys and consumed units.

Adapters tell an ``Observer`` of every call; tests of cost and of permissions keep them by
a ``Recorder``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

from services.tenancy.store.port import Action, Check, Delete, Put, Query
from services.tenancy.store.port import Key as ItemKey
from services.tenancy.store.tables import Table

TRANSACT = "TransactWriteItems"


@dataclass(frozen=True)
class Access:
    """What one part of a call does to one partition."""

    action: str
    """As IAM has it, without ``dynamodb:``, such as ``PutItem`` or ``ConditionCheckItem``."""
    table: Table
    leading_key: str
    index: str = ""


@dataclass(frozen=True)
class StoreCall:
    """One call of DynamoDB."""

    operation: str
    """As the API has it, such as ``TransactWriteItems``."""
    accesses: tuple[Access, ...]
    read_units: float = 0.0
    write_units: float = 0.0
    error: str = ""
    """Name of the error it ended with; empty if it did what it was asked for."""


Observer: TypeAlias = Callable[[StoreCall], None]


def query_access(query: Query) -> Access:
    """Give the access of a query."""
    return Access("Query", query.table, query.pk, query.index)


def key_access(action: str, key: ItemKey) -> Access:
    """Give the access to one item."""
    return Access(action, key.table, key.pk)


def iam_action(action: Action) -> str:
    """Give the permission that an action of a write needs."""
    if isinstance(action, Put):
        return "PutItem"
    if isinstance(action, Delete):
        return "DeleteItem"
    return "ConditionCheckItem" if isinstance(action, Check) else "UpdateItem"


def write_accesses(actions: tuple[Action, ...]) -> tuple[Access, ...]:
    """Give the accesses of a write."""
    return tuple(key_access(iam_action(action), action.key) for action in actions)


@dataclass
class Recorder:
    """Keeps the calls it is told of; ``recorder.observe`` is what an adapter is given."""

    calls: list[StoreCall] = field(default_factory=list)
    _own: ContextVar[list[StoreCall] | None] = field(
        default_factory=lambda: ContextVar("calls", default=None)
    )

    def observe(self, call: StoreCall) -> None:
        """Keep a call."""
        self.calls.append(call)
        own = self._own.get()
        if own is not None:
            own.append(call)

    @contextmanager
    def of_this_task(self) -> Iterator[list[StoreCall]]:
        """Give the list to which the calls of this task and those it starts are added."""
        own: list[StoreCall] = []
        token = self._own.set(own)
        try:
            yield own
        finally:
            self._own.reset(token)
