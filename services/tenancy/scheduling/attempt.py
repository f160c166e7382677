"""One attempt at an execution: the work under a lease that is kept by heartbeats, and its end."""

import asyncio
import logging
import random
from dataclasses import dataclass, field

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.schedules import CODEC
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.backoff import Backoff
from services.tenancy.scheduling.claims import paused
from services.tenancy.scheduling.executions import Lease
from services.tenancy.scheduling.work import ACCOUNT_GONE, Assignment, Published, Work, WorkFailed
from services.tenancy.store.items import integer, text
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import (
    Action,
    ConditionFailed,
    Conflict,
    Item,
    Store,
    StoreUnavailable,
    Throttled,
)

_LOG = logging.getLogger(__name__)
_AGAIN = (Conflict, StoreUnavailable, Throttled)
_DELETED = "SCHEDULE_STATE_DELETED"
_STORE = WorkFailed("DEPENDENCY_UNAVAILABLE", "the store did not answer")
_UNFORESEEN = WorkFailed("INTERNAL", "the executor failed; its log says how")


class LeaseLost(Exception):
    """Another executor has the execution, or may have it by now."""


class CancelAsked(Exception):
    """Somebody wants the execution to end."""


@dataclass(frozen=True)
class ExecutorPace:
    """How an executor works; times in seconds."""

    shards: int = 16
    """The same for all processes of a deployment, for good."""
    tick: float = 1
    others: float = 15
    """Between two looks at a shard that another executor owns."""
    page: int = 100
    slots: int = 8
    """Executions that run at one time."""
    per_tenant: int = 4
    """Of those, the most of one tenant."""
    lease: float = 120
    """Without a heartbeat for so long another executor takes the execution up."""
    beat: float = 30
    waits: float = 30
    """Between two looks at what another execution must end for."""
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def lease_length(self) -> int:
        """The lease in microseconds."""
        return int(self.lease * MICROSECONDS)


@dataclass
class ExecutorCounts:
    """What an executor did since it started."""

    started: int = 0
    succeeded: int = 0
    failed: int = 0
    """Attempts that ended in an error."""
    dead: int = 0
    """Executions that ended without a success: a page for the operator."""
    cancelled: int = 0
    lost: int = 0
    """Leases lost to others."""
    released: int = 0


@dataclass
class Attempt:
    """Does the work, beats, and writes the end. All it writes carries the fence of its lease."""

    store: Store
    clock: Clock
    chance: random.Random
    work: Work
    pace: ExecutorPace
    counts: ExecutorCounts
    item: Item
    """The execution as it was before the lease."""
    lease: Lease

    async def run(self) -> None:
        """Bring the attempt to its end. Cancelled, it gives the lease back."""
        try:
            try:
                await self._run()
            except asyncio.CancelledError:
                await self._write(
                    executions.released(self.lease, self.clock.now(), self.pace.shards)
                )
                self.counts.released += 1
                raise
        except LeaseLost:
            self.counts.lost += 1

    async def _run(self) -> None:
        try:
            published = await self._worked(await self._assignment())
        except CancelAsked:
            self.counts.cancelled += 1
            await self._end(executions.CANCELLED)
        except WorkFailed as failure:
            await self._fail(failure)
        except LeaseLost:
            raise
        except _AGAIN:
            await self._fail(_STORE)
        except Exception:  # noqa: BLE001 - whatever it is, the attempt failed
            _LOG.exception("execution %s failed", self._identity)
            await self._fail(_UNFORESEEN)
        else:
            self.counts.succeeded += 1
            end = executions.ended(
                self.lease, executions.SUCCEEDED, self.clock.now(), result=published.result
            )
            await self._write(end, *published.actions)

    async def _assignment(self) -> Assignment:
        tenant, schedule_id = text(self.item, "tenant_id"), text(self.item, "schedule_id")
        item = await self.store.get(TenantScope(tenant).schedule(schedule_id))
        if item is None or item.get("state") == _DELETED:
            raise WorkFailed("SCHEDULE_GONE", "the schedule is not there any more", final=True)
        return Assignment(
            tenant=tenant,
            schedule_id=schedule_id,
            execution_id=self._identity,
            account_id=text(self.item, "account_id"),
            fire=integer(self.item, "fire_time"),
            fence=self.lease.fence,
            key=executions.work_key(self.item),
            schedule=CODEC.message(item),
        )

    async def _worked(self, assignment: Assignment) -> Published:
        """Do the work while beating; LeaseLost and CancelAsked end it."""
        work = asyncio.create_task(self.work.run(assignment))
        try:
            while True:
                rest = asyncio.create_task(self.clock.sleep(self.pace.beat))
                try:
                    await asyncio.wait({work, rest}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    rest.cancel()
                if work.done():
                    return work.result()
                try:
                    await self._beat()
                except CancelAsked:
                    work.cancel()
                    await self._abort(assignment)
                    raise
        finally:
            work.cancel()
            # What it ends with is of no interest any more.
            await asyncio.gather(work, return_exceptions=True)

    async def _abort(self, assignment: Assignment) -> None:
        try:
            await self.work.abort(assignment)
        except Exception:  # noqa: BLE001 - the execution ends, whatever goes on elsewhere
            _LOG.exception("the work of execution %s goes on elsewhere", self._identity)

    async def _beat(self) -> None:
        """Keep the lease, however often the store has to be asked before it is over."""
        while True:
            now = self.clock.now()
            if now >= self.lease.until:
                raise LeaseLost
            update, lease = executions.beaten(
                self.lease, now, self.pace.lease_length, self.pace.shards
            )
            try:
                await self.store.write(update)
            except ConditionFailed as failed:
                if executions.is_lost(self.lease, failed.item):
                    raise LeaseLost from failed
                raise CancelAsked from failed
            except _AGAIN:
                await self._rest()
            else:
                self.lease = lease
                return

    async def _fail(self, failure: WorkFailed) -> None:
        """Have it tried again later, or end it for good."""
        self.counts.failed += 1
        attempts = integer(self.item, "attempts") + 1
        now, reason, message = self.clock.now(), failure.reason, failure.message
        if failure.final:
            await self._end(executions.FAILED, reason, message)
        elif attempts >= integer(self.item, "max_attempts"):
            await self._end(executions.DEAD, reason, message)
        else:
            wait = self.pace.backoff.microseconds(attempts, self.chance)
            await self._write(
                executions.requeued(self.lease, now, now + wait, self.pace.shards, reason, message)
            )

    async def _end(self, status: executions.Status, reason: str = "", message: str = "") -> None:
        now = self.clock.now()
        end = executions.ended(self.lease, status, now, reason, message)
        await self._write(end, *await self._pauses(status, reason, now))
        if status in (executions.FAILED, executions.DEAD):
            self.counts.dead += 1
            _LOG.error("execution %s ended without a success: %s", self._identity, reason)

    async def _pauses(self, status: executions.Status, reason: str, now: int) -> list[Action]:
        while self.clock.now() < self.lease.until:
            try:
                return await pauses(self.store, self.item, status, reason, now)
            except _AGAIN:
                await self._rest()
        raise LeaseLost

    async def _write(self, own: Action, *others: Action) -> None:
        """Write the transition of this execution, with others as far as their conditions hold."""
        actions = [own, *others]
        while True:
            try:
                await self.store.write(*actions)
            except ConditionFailed as failed:
                if not failed.position:
                    if self._was_written(failed.item):
                        return
                    raise LeaseLost from failed
                del actions[failed.position]
            except _AGAIN:
                if self.clock.now() >= self.lease.until:
                    raise LeaseLost from None
                await self._rest()
            else:
                return

    def _was_written(self, item: Item | None) -> bool:
        """Tell whether a write of ours happened of which no answer came: nobody else can end it."""
        return (
            item is not None
            and integer(item, "fence") == self.lease.fence
            and executions.status_of(item) != executions.RUNNING
        )

    async def _rest(self) -> None:
        """Wait before the store is asked again."""
        await self.clock.sleep(self.chance.uniform(0, min(1.0, self.pace.beat / 4)))

    @property
    def _identity(self) -> str:
        return text(self.item, "execution_id")


async def pauses(
    store: Store, item: Item, status: executions.Status, reason: str, now: int
) -> list[Action]:
    """Give what pauses the schedule of an execution that failed for good.

    That is where the schedule asks for it, or its account is gone. It changes nothing of a
    schedule that is not active.
    """
    failed = status in (executions.FAILED, executions.DEAD)
    if not failed or not (item.get("pause_on_failure") or reason == ACCOUNT_GONE):
        return []
    scope = TenantScope(text(item, "tenant_id"))
    schedule = await store.get(scope.schedule(text(item, "schedule_id")))
    why = f"execution {text(item, 'execution_id')} failed: {reason}"
    return [paused(schedule, why, now)] if schedule is not None else []
