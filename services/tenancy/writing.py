"""Writes of which each action knows what it means when its condition does not hold."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message

from mesh.errors import Refusal, RequestIdReused
from services.tenancy.store.idempotency import Requests
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Action, ConditionFailed, Item, Store

Meaning: TypeAlias = Callable[[Item | None], Refusal]
"""Gives the refusal for an item as it stands; None if it does not exist."""
M = TypeVar("M", bound=Message)


class Write:
    """One write in the making: all of its actions are done or none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._actions: list[Action] = []
        self._meanings: list[Meaning] = []

    def add(self, action: Action, meaning: Meaning) -> "Write":
        """Add an action; earlier ones tell first what is wrong."""
        self._actions.append(action)
        self._meanings.append(meaning)
        return self

    def extend(self, actions: Sequence[Action], meaning: Meaning) -> "Write":
        """Add actions that mean the same."""
        for action in actions:
            self.add(action, meaning)
        return self

    async def carry_out(self) -> None:
        """Do it, if it is anything, or raise the refusal of the first action that cannot be done.

        Beside those Throttled, Conflict and StoreUnavailable, which callers are told as such.
        """
        if not self._actions:
            return
        try:
            await self._store.write(*self._actions)
        except ConditionFailed as failed:
            raise self._meanings[failed.position](failed.item) from failed


Naming: TypeAlias = Callable[[str, str, Message], "NamedRequest"]
"""Gives a request of a tenant, with its request_id, as one that is done once."""


class Named(Protocol):
    """A request as what is done by it sees it."""

    @property
    def id(self) -> str:
        """Its request_id; "" if it has none."""

    def remember(self, write: Write, name: str) -> Write:
        """Have a write remember the resource it is about; to be called before all else of it."""

    async def was_done(self) -> bool:
        """Tell whether it was done before; RequestIdReused if its id stands for another."""


@dataclass(frozen=True)
class OwnRequest:
    """See ``Named``: what this service asks of itself, and knows again by what it made."""

    id: str = ""

    def remember(self, write: Write, _name: str) -> Write:
        """Do nothing."""
        return write

    async def was_done(self) -> bool:
        """Say no."""
        return False


class NamedRequest:
    """A request that may name itself by a request_id, to be done once."""

    def __init__(
        self, requests: Requests, scope: TenantScope, request_id: str, request: Message
    ) -> None:
        self._requests = requests
        self._scope = scope
        self._request_id = request_id
        self._request = request

    @property
    def id(self) -> str:
        """The request_id; "" if it has none."""
        return self._request_id

    def remember(self, write: Write, name: str) -> Write:
        """Have a write remember the resource it is about; to be called before all else of it."""
        actions = self._requests.remember(self._scope, self._request_id, self._request, name)
        return write.extend(actions, lambda _item: RequestIdReused())

    async def was_done(self) -> bool:
        """Tell whether it was done before; RequestIdReused if its id stands for another.

        To be asked, too, by what answers without a write: that would have found out.
        """
        return await self._result() is not None

    async def once(self, do: Callable[[], Awaitable[M]], again: Callable[[str], Awaitable[M]]) -> M:
        """Do it, or give what came of it before: ``again`` reads the resource of a name.

        That it was done before is asked only when it cannot be done, so that a request costs
        no call more. RequestIdReused if the id stands for another request.
        """
        try:
            return await do()
        except Refusal:
            name = await self._result()
            if name is None:
                raise
            return await again(name)

    async def _result(self) -> str | None:
        return await self._requests.replayed(self._scope, self._request_id, self._request)
