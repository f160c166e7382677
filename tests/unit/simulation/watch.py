"""What must hold of every write of a simulation, and of what is left at its end."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import takewhile

from secmesh.tenancy.v1.execution_pb2 import ExecutionStatus, ExecutionTrigger
from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy, ScheduleState
from services.tenancy.clock import MICROSECONDS
from services.tenancy.schedules import ACTIVE, CODEC
from services.tenancy.scheduling import executions
from services.tenancy.store.items import integer, text
from services.tenancy.store.keys import LATEST, TenantScope
from services.tenancy.store.memory import Change, MemoryStore
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.port import Action, Item, StoreError
from services.tenancy.store.tables import Table
from services.tenancy.timing.timing import Timing
from tests.unit.simulation.process import BEGIN, WorldClock

MOST_SKEW = 5 * MICROSECONDS
"""By how much the clocks of two processes differ at most."""
MOST_LATE = 120 * MICROSECONDS
"""By how much a schedule's next time is past when all has come to rest."""
_ALLOW = OverlapPolicy.Name(OverlapPolicy.OVERLAP_POLICY_ALLOW)
_ACTIVE = ScheduleState.Name(ACTIVE)
_SCHEDULED = ExecutionTrigger.Name(ExecutionTrigger.EXECUTION_TRIGGER_SCHEDULE)
_BACKFILLED = ExecutionTrigger.Name(ExecutionTrigger.EXECUTION_TRIGGER_BACKFILL)
_MOVES = {
    (executions.QUEUED, executions.RUNNING),
    (executions.QUEUED, executions.CANCELLED),
    (executions.RUNNING, executions.RUNNING),
    (executions.RUNNING, executions.QUEUED),
    (executions.RUNNING, executions.SUCCEEDED),
    (executions.RUNNING, executions.FAILED),
    (executions.RUNNING, executions.DEAD),
    (executions.RUNNING, executions.CANCELLED),
    *((each, executions.QUEUED) for each in executions.RETRIED),
}
"""Transitions that are part of an execution's life."""


class WatchedStore(MemoryStore):
    """The one store of a simulation: each write that happens is held against what must be true."""

    def __init__(self, clock: WorldClock, faults: Faults) -> None:
        super().__init__(clock, faults=faults)
        self._true = clock
        self._running: dict[str, set[str]] = defaultdict(set)
        self.moves = Counter[str]()
        self.published = Counter[str]()
        """Scan results by execution."""
        self.violations: list[str] = []
        self.violated = asyncio.Event()

    def _written(
        self, actions: Sequence[Action], token: str
    ) -> tuple[list[Change], StoreError | None]:
        changes, error = super()._written(actions, token)
        for key, old, new in changes if error is None else ():
            if new is not None and key.table is Table.EXECUTIONS:
                self._hold_execution(old, new)
            elif new is not None and old is not None and "state" in new:
                self._hold_schedule(old, new)
            elif new is not None and key.table is Table.SCAN_RESULTS:
                self._hold_result(new)
        return changes, error

    def _hold_execution(self, old: Item | None, new: Item) -> None:
        identity, status = text(new, "execution_id"), executions.status_of(new)
        if old is not None:
            self._hold_move(identity, old, new)
        self.moves[ExecutionStatus.Name(status)] += old is None or old["status"] != new["status"]
        running = self._running[text(new, "schedule_id")]
        running.discard(identity)
        if status == executions.RUNNING:
            running.add(identity)
            self._hold_overlap(new, running)
        waits = "lease_pk" in new
        self._hold(waits == (status in executions.UNENDED), f"{identity} waits {waits} as {status}")

    def _hold_move(self, identity: str, old: Item, new: Item) -> None:
        move = executions.status_of(old), executions.status_of(new)
        same = move[0] == move[1]
        fences = integer(old, "fence"), integer(new, "fence")
        self._hold(same or move in _MOVES, f"{identity} went from {move[0]} to {move[1]}")
        self._hold(fences[0] <= fences[1], f"the fence of {identity} fell")
        if move[1] == executions.RUNNING and fences[0] != fences[1]:
            self.moves["lease"] += 1
            if move[0] == executions.RUNNING:
                self.moves["takeover"] += 1
                late = self._true.now() + MOST_SKEW - integer(old, "lease_time")
                self._hold(late >= 0, f"the lease of {identity} was taken while it was good")
        self._hold(
            not same or move[0] in executions.UNENDED, f"{identity} was changed after its end"
        )

    def _hold_overlap(self, new: Item, running: set[str]) -> None:
        key = TenantScope(text(new, "tenant_id")).schedule(text(new, "schedule_id"))
        schedule = self._tables[Table.SCHEDULES].get((key.pk, key.sk))
        allowed = schedule is not None and schedule.get("overlap_policy") == _ALLOW
        self._hold(allowed or len(running) == 1, f"{running} run side by side")

    def _hold_schedule(self, old: Item, new: Item) -> None:
        """Have each occurrence of the stretch that a claim covers fired or missed, once."""
        fired = integer(new, "fired_count") - integer(old, "fired_count")
        missed = integer(new, "missed_count") - integer(old, "missed_count")
        self._hold(integer(new, "version") > integer(old, "version"), "a version was not raised")
        if not fired and not missed:
            return
        self.moves["claim"] += 1
        schedule = CODEC.message(old)
        identity = text(old, "schedule_id")
        self._hold(schedule.state == ACTIVE, f"{identity} fired while it was {schedule.state}")
        due, timing = schedule.next_fire_time.seconds, Timing.of(schedule)
        now = self._true.now() + MOST_SKEW
        end = integer(new, "next_fire_time", now) // MICROSECONDS
        covered = len(list(takewhile(lambda time: time < end, timing.fires(due - 1))))
        # Those that a backfill made are neither, unless they were not to run anyway.
        backfilled = self._backfilled(text(new, "tenant_id"), identity, due, end)
        rest = covered - fired - missed
        self._hold(0 <= rest <= backfilled, f"{identity}: {covered} are {fired} and {missed}")
        late = integer(new, "last_fire_time") <= now
        self._hold(late, f"{identity} fired before its time")

    def _backfilled(self, tenant: str, schedule_id: str, since: int, until: int) -> int:
        executions_of_all = self._tables[Table.EXECUTIONS].items()
        return sum(
            item["pk"] == f"{tenant}#{schedule_id}"
            and item["trigger"] == _BACKFILLED
            and since <= integer(item, "fire_time") // MICROSECONDS < until
            for item in executions_of_all
        )

    def _hold_result(self, new: Item) -> None:
        if str(new["sk"]) != LATEST:
            self.published[text(new, "execution_id")] += 1

    def hold_end(self) -> None:
        """Hold what is left when all has come to rest: nothing lost, nothing twice, all ended."""
        made: Counter[str] = Counter()
        for item in self.items(Table.EXECUTIONS):
            identity, status = text(item, "execution_id"), executions.status_of(item)
            self._hold(status not in executions.UNENDED, f"{identity} has not ended: {item}")
            made[text(item, "schedule_id")] += text(item, "trigger") == _SCHEDULED
            wanted = int(status == executions.SUCCEEDED)
            found = self.published[identity]
            self._hold(
                found == wanted, f"{identity} is {status}, and {found} results are published"
            )
        for item in self._schedules():
            schedule_id, fired = text(item, "schedule_id"), integer(item, "fired_count")
            there = made[schedule_id]
            self._hold(there == fired, f"{schedule_id} fired {fired} times, and {there} are there")

    def _schedules(self) -> list[Item]:
        return [item for item in self.items(Table.SCHEDULES) if "state" in item]

    def hold_schedules(self) -> None:
        """Hold schedules while the replicas work and nothing disturbs them."""
        now = self._true.now()
        for item in self._schedules():
            schedule_id, active = text(item, "schedule_id"), item["state"] == _ACTIVE
            self._hold(active == ("due_pk" in item), f"{schedule_id} is not where it belongs")
            late = now - integer(item, "next_fire_time", now)
            self._hold(late <= MOST_LATE, f"{schedule_id} is late by {late / MICROSECONDS} s")

    def _hold(self, true: bool, problem: str) -> None:
        """Keep what is violated: raised, it would be one more error that the code survives."""
        if not true:
            self.violate(problem)

    def violate(self, problem: str) -> None:
        """End this life: something happened that must not."""
        self.violations.append(f"{self._true.now() / MICROSECONDS - BEGIN:.3f}: {problem}")
        self.violated.set()
