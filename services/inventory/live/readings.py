"""Readings that events asked for: gathered while an account is busy, then read in one run.

Nothing waits longer than the process lives. Whoever posts an event is told that it was taken once
a run holds the leases of what it tells of, which another process would then go on with; before
that it is asked to post the event again.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mesh.errors import InternalError, Refusal
from mesh.sql.tenancy import acting_for
from secmesh.inventory.v1.event_service_pb2 import EventReading
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.event_map import EventMap
from services.inventory.collect.registry import Registry
from services.inventory.collect.run import Run
from services.inventory.collect.runner import SyncRunner, new_sync_id
from services.inventory.collect.source import GLOBAL
from services.inventory.collect.versions import Changes, Unit
from services.inventory.errors import EventsWaiting, SyncRunning
from services.inventory.live.parts import Parts, Place, Target, UnitsRead, parts_of
from services.inventory.live.turns import Change, Turns, changes_of

WINDOW_SECONDS = 10.0
"""In which a whole unit is read once at most, whatever events tell of it."""
BUSY_SECONDS = 0.5
"""Between two looks whether another run of the account has ended."""
MAX_REGIONS = 64
MAX_WAITING = 10_000
"""Readings of one account that wait; events beyond are to be posted again."""

_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Ticket:
    """One reading that was asked for; all who ask for it before it begins share it."""

    account: str
    """Id of the account at AWS."""
    target: Target
    done: asyncio.Future[EventReading] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    sync: str = ""
    """The run that reads it; empty before that."""

    def fail(self, problem: Refusal) -> None:
        """End it with a refusal, for whoever still waits."""
        if not self.done.done():
            self.done.set_exception(problem)
            # Nobody may be there to hear of it.
            self.done.exception()


@dataclass(frozen=True)
class Means:
    """What readings are made with."""

    runner: SyncRunner
    turns: Turns
    registry: Registry
    events: EventMap


@dataclass(frozen=True)
class Account:
    """An account of a tenant, as runs before read it."""

    tenant: str
    cloud_account_id: str
    name: str
    """Its name in the tenancy service; empty for none."""
    units: UnitsRead


class AccountReadings:
    """The readings of one account of one tenant, one run at a time."""

    def __init__(self, means: Means, account: Account) -> None:
        self._means = means
        self.account = account
        self._waiting: dict[Target, Ticket] = {}
        self._whole: dict[Place, float] = {}
        self._work: asyncio.Task[None] | None = None

    def ask(self, target: Target) -> Ticket:
        """Have something read again, after now. Raises EventsWaiting if too much waits."""
        ticket = self._waiting.get(target)
        if ticket is None:
            if len(self._waiting) >= MAX_WAITING:
                raise EventsWaiting(self.account.cloud_account_id)
            ticket = self._waiting[target] = Ticket(self.account.cloud_account_id, target)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._read_all())
        return ticket

    @property
    def forgettable(self) -> bool:
        """Whether nothing waits, nothing is read, and nothing was read just now."""
        busy = self._waiting or (self._work is not None and not self._work.done())
        latest = max(self._whole.values(), default=0.0)
        return not busy and time.monotonic() - latest >= WINDOW_SECONDS

    async def close(self) -> None:
        """Begin nothing more."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._fail(list(self._waiting.values()), EventsWaiting(self.account.cloud_account_id))

    async def _read_all(self) -> None:
        with acting_for(self.account.tenant):
            while self._waiting:
                due = [ticket for ticket in self._waiting.values() if self._is_due(ticket.target)]
                if not due or not await self._read(due):
                    await asyncio.sleep(BUSY_SECONDS)

    def _is_due(self, target: Target) -> bool:
        last = self._whole.get(target.place)
        return bool(target.key) or last is None or time.monotonic() - last >= WINDOW_SECONDS

    async def _read(self, due: list[Ticket]) -> bool:
        """Read in one run what is due; False if the account is being read."""
        changes: list[Change] = []

        def written(unit: Unit, stored: Mapping[str, Record], made: Changes) -> None:
            changes.extend(changes_of(unit, stored, made))

        parts = self._parts(ticket.target for ticket in due)
        try:
            run = await self._means.runner.start_focused(self._sync(parts), parts, written)
        except SyncRunning:
            return False
        except Refusal as problem:
            self._fail(due, problem)
            return True
        except Exception:  # noqa: BLE001  # whoever waits must hear of it, whatever happened
            _LOG.exception("a reading could not begin")
            self._fail(due, InternalError())
            return True
        self._begun(run, parts, due)
        await self._end(run, due, changes)
        return True

    def _parts(self, targets: Iterable[Target]) -> Parts:
        means = self._means
        return parts_of(targets, means.registry.collectors, self.account.units, means.events)

    def _sync(self, parts: Parts) -> Sync:
        account = self.account
        here = {region for _, region in parts} - {GLOBAL}
        # As in a whole run: some listings show what lives elsewhere.
        others = {region for _, region in account.units} - {GLOBAL} - here
        regions = [*sorted(here), *sorted(others)][:MAX_REGIONS]
        return Sync(
            name=f"tenants/{account.tenant}/syncs/{new_sync_id()}",
            account=account.name,
            cloud_account_id=account.cloud_account_id,
            source=Sync.SOURCE_EVENTS,
            collections=sorted({collection for collection, _ in parts}),
            regions=sorted(regions),
        )

    def _begun(self, run: Run, parts: Parts, due: list[Ticket]) -> None:
        now = time.monotonic()
        self._whole |= {place: now for place, focus in parts.items() if focus is None}
        for ticket in due:
            # Who asks from here on asks for what the run may have read already.
            del self._waiting[ticket.target]
            ticket.sync = run.sync.name

    async def _end(self, run: Run, due: list[Ticket], changes: list[Change]) -> None:
        await run.ended.wait()
        sync = run.sync
        if sync.state == Sync.STATE_RUNNING:
            # It was left to another process.
            self._fail(due, EventsWaiting(self.account.cloud_account_id))
            return
        try:
            reading = await self._means.turns.told(sync, changes)
        except Refusal as problem:
            self._fail(due, problem)
        except Exception:  # noqa: BLE001  # whoever waits must hear of it, whatever happened
            _LOG.exception("what a reading turned is not known")
            self._fail(due, InternalError())
        else:
            for ticket in due:
                if not ticket.done.done():
                    ticket.done.set_result(reading)

    @staticmethod
    def _fail(tickets: Iterable[Ticket], problem: Refusal) -> None:
        for ticket in tickets:
            ticket.fail(problem)
