"""Who does a job, until when, and how the last run of it ended: one item for each job.

There is no leader. Whoever finds a job due claims it by a conditional write that raises the
fence; a replica that lost its lease can write nothing of the job any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.store.conditions import All, AtMost, Condition, Equals, Missing
from services.tenancy.store.items import integer, text
from services.tenancy.store.keys import PlatformScope
from services.tenancy.store.port import (
    Change,
    ConditionFailed,
    Set,
    Store,
    StoreUnavailable,
    Update,
)
from services.tenancy.store.values import Item

RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
_PLATFORM = PlatformScope()


class LeaseLost(Exception):
    """Another replica may do the job now."""


@dataclass(frozen=True)
class Standing:
    """A job as its item has it; times in microseconds since 1970, 0 for what never was."""

    job: str
    owner: str = ""
    fence: int = 0
    lease_until: int = 0
    next_at: int = 0
    begun_at: int = 0
    ended_at: int = 0
    succeeded_at: int = 0
    """When a run ended well the last time."""
    outcome: str = ""
    """RUNNING, DONE or FAILED; RUNNING after its lease: whoever did it was lost."""
    reason: str = ""
    """Why it failed; empty if it did not."""
    failures: int = 0
    """Runs in a row that failed."""
    done: int = 0
    """Things that the last run did; ``failed`` alike."""
    failed: int = 0

    def free_at(self) -> int:
        """Give when it may be claimed."""
        return max(self.next_at, self.lease_until)


@dataclass(frozen=True)
class Claim:
    """A job that this replica does, until its lease is over."""

    standing: Standing
    """As it was before."""
    fence: int
    until: int

    @property
    def job(self) -> str:
        """Which job it is."""
        return self.standing.job


@dataclass(frozen=True)
class Ending:
    """How a run ended, and when."""

    at: int
    next_at: int
    reason: str = ""
    done: int = 0
    failed: int = 0


class Claims:
    """Reads and writes the items. All methods raise what the store raises when it cannot."""

    def __init__(self, store: Store, clock: Clock, owner: str, lease: float) -> None:
        """``owner`` is what no other replica is called or was; ``lease`` in seconds."""
        self._store = store
        self._clock = clock
        self._owner = owner
        self._lease = int(lease * MICROSECONDS)

    async def standings(self) -> Mapping[str, Standing]:
        """Give all jobs that were ever done, in one call."""
        page = await self._store.query(_PLATFORM.upkeep_jobs())
        found = map(_standing, page.items)
        return {each.job: each for each in found}

    async def claim(self, standing: Standing, *, early: bool = False) -> Claim | None:
        """Take a job as it was read; None if another was first, or it is not due yet.

        ``early`` takes it before it is due as well, if nobody does it.
        """
        now = self._clock.now()
        if standing.lease_until > now or (standing.next_at > now and not early):
            return None
        until = now + self._lease
        changes: list[Change] = [
            Set("job", standing.job),
            Set("owner", self._owner),
            Set("fence", standing.fence + 1),
            Set("lease_until", until),
            Set("begun_at", now),
            Set("outcome", RUNNING),
        ]
        condition = _unchanged(standing, now)
        upsert = standing.fence == 0
        claim = Claim(standing, standing.fence + 1, until)
        try:
            key = _PLATFORM.upkeep(standing.job)
            await self._store.write(Update(key, changes, condition, upsert))
        except ConditionFailed:
            return None
        except StoreUnavailable:
            return claim if await self._is_ours(claim) else None
        return claim

    async def renew(self, claim: Claim) -> Claim:
        """Give a claim that lasts longer; LeaseLost."""
        now = self._clock.now()
        if now >= claim.until:
            raise LeaseLost
        until = now + self._lease
        await self._write(claim, [Set("lease_until", until)])
        return Claim(claim.standing, claim.fence, until)

    async def end(self, claim: Claim, ending: Ending) -> None:
        """Tell how a run ended; LeaseLost. Told twice it is told once."""
        before = claim.standing
        failed = bool(ending.reason)
        changes: list[Change] = [
            Set("lease_until", 0),
            Set("next_at", ending.next_at),
            Set("ended_at", ending.at),
            Set("succeeded_at", before.succeeded_at if failed else ending.at),
            Set("outcome", FAILED if failed else DONE),
            Set("reason", ending.reason),
            Set("failures", before.failures + 1 if failed else 0),
            Set("done", ending.done),
            Set("failed", ending.failed),
        ]
        await self._write(claim, changes)

    async def release(self, claim: Claim) -> None:
        """Let another replica do the job at once; LeaseLost."""
        await self._write(claim, [Set("lease_until", 0)])

    async def _write(self, claim: Claim, changes: list[Change]) -> None:
        held = All(Equals("fence", claim.fence), Equals("owner", self._owner))
        try:
            await self._store.write(Update(_PLATFORM.upkeep(claim.job), changes, held))
        except ConditionFailed as failed:
            raise LeaseLost from failed

    async def _is_ours(self, claim: Claim) -> bool:
        item = await self._store.get(_PLATFORM.upkeep(claim.job))
        if item is None:
            return False
        return integer(item, "fence") == claim.fence and text(item, "owner") == self._owner


def _unchanged(standing: Standing, now: int) -> Condition:
    if not standing.fence:
        return Missing()
    # Who was thought lost may have renewed its lease meanwhile.
    return All(Equals("fence", standing.fence), AtMost("lease_until", now))


def _standing(item: Item) -> Standing:
    known: dict[str, Any] = {
        each.name: text(item, each.name) if each.type is str else integer(item, each.name)
        for each in fields(Standing)
    }
    return Standing(**known)
