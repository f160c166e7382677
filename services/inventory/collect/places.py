"""Places that are held at a time, given round about to those who wait for one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from mesh.contract.names import tenant_of

T = TypeVar("T", bound=Hashable)


class Rounds(Generic[T]):
    """What waits, in lanes: first come, first served in each, and one lane after the other."""

    def __init__(self) -> None:
        # Dicts keep their order: of the lanes it is that of their next turns.
        self._lanes: dict[str, dict[T, None]] = {}

    def add(self, lane: str, item: T) -> None:
        """Let something wait that does not wait yet."""
        self._lanes.setdefault(lane, {}).setdefault(item)

    def discard(self, lane: str, item: T) -> None:
        """Let something wait no more."""
        waiting = self._lanes.get(lane, {})
        waiting.pop(item, None)
        if not waiting:
            self._lanes.pop(lane, None)

    def has(self, lane: str) -> bool:
        """Tell whether something waits in a lane."""
        return lane in self._lanes

    def next(self, may: Callable[[str], bool] = lambda _lane: True) -> T | None:
        """Take out what comes next of the lanes that may have a turn; None if nothing does."""
        for lane, waiting in self._lanes.items():
            if may(lane):
                item = next(iter(waiting))
                # The lane goes to the end, if anything is left in it.
                rest = self._lanes.pop(lane)
                del rest[item]
                if rest:
                    self._lanes[lane] = rest
                return item
        return None


class Places:
    """So many places that tasks hold at a time."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting = Rounds[asyncio.Future[None]]()

    @asynccontextmanager
    async def held(self, lane: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it for the block."""
        await self._take(lane)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, lane: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.add(lane, turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.discard(lane, turn)
            if not turn.cancelled():
                # The place came in the moment in which nobody wanted it any more.
                self._give_back()
            raise

    def _give_back(self) -> None:
        while (turn := self._waiting.next()) is not None:
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class RunPlaces:
    """Which runs are executed at a time, and which is next.

    A tenant that has a place leaves the last one to others, so that whoever comes next does
    not wait for all the accounts of one tenant.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: dict[str, str] = {}
        """The tenants of the runs that have a place, by their names."""
        self._waiting = Rounds[str]()

    def take(self, run: str) -> bool:
        """Give a run a place, unless it has to wait for one."""
        tenant = tenant_of(run) or ""
        if self._waiting.has(tenant) or not self._may(tenant):
            return False
        self._held[run] = tenant
        return True

    def wait(self, run: str) -> None:
        """Let a run wait for its turn, if it does not yet."""
        if run not in self._held:
            self._waiting.add(tenant_of(run) or "", run)

    def leave(self, run: str) -> None:
        """Let a run have no place and wait for none."""
        self._held.pop(run, None)
        self._waiting.discard(tenant_of(run) or "", run)

    def next(self) -> str | None:
        """Give a waiting run a place; None if there is no place or none waits."""
        run = self._waiting.next(self._may)
        if run is not None:
            self._held[run] = tenant_of(run) or ""
        return run

    def _may(self, tenant: str) -> bool:
        kept = 1 if tenant in self._held.values() else 0
        return self._count - len(self._held) > kept
