"""Counters of a run, moved by its threads and read by its watchers."""

import threading
from collections.abc import Iterable

from mesh.aws.outcomes import Outcome
from secmesh.inventory.v1.sync_pb2 import SyncProgress
from services.inventory.collect.versions import Changes


class Progress:
    """Counts under a lock; a snapshot is a message of its own."""

    def __init__(self, units: int, ended: Iterable[SyncProgress] = ()) -> None:
        """Begin with what units counted that ended before, in another process perhaps."""
        self._lock = threading.Lock()
        self._counters = SyncProgress(units=units)
        for each in ended:
            self.add(each)

    def unit(self) -> "UnitProgress":
        """Give the counters of one unit, which count here too."""
        return UnitProgress(self)

    def add(self, more: SyncProgress) -> None:
        """Count what happened meanwhile."""
        with self._lock:
            _add(self._counters, more)

    def snapshot(self) -> SyncProgress:
        """Give the counters as they stand."""
        copy = SyncProgress()
        with self._lock:
            copy.CopyFrom(self._counters)
        return copy


class UnitProgress:
    """Counts the answers of one unit, for itself and at once for its run."""

    def __init__(self, run: Progress) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._counters = SyncProgress()

    def answered(self, outcome: Outcome) -> None:
        """Count one answer of AWS."""
        one = SyncProgress(
            calls=1,
            throttles=int(outcome is Outcome.THROTTLED),
            denied=int(outcome is Outcome.DENIED),
        )
        with self._lock:
            _add(self._counters, one)
        self._run.add(one)

    def ended(self, changes: Changes) -> SyncProgress:
        """Give all that the unit counts if it ends with these changes."""
        whole = written(changes)
        with self._lock:
            _add(whole, self._counters)
        return whole


def written(changes: Changes) -> SyncProgress:
    """Count a unit that ended and what it wrote."""
    return SyncProgress(
        units_done=1,
        resources=len(changes.opened) + changes.unchanged,
        rows_written=len(changes.opened),
        rows_closed=changes.gone,
        rows_unchanged=changes.unchanged,
    )


def _add(counters: SyncProgress, more: SyncProgress) -> None:
    for field, value in more.ListFields():
        setattr(counters, field.name, getattr(counters, field.name) + value)
