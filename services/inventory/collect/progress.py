"""Counters of a run, moved by its threads and read by its watchers."""

import threading

from mesh.aws.outcomes import Outcome
from secmesh.inventory.v1.sync_pb2 import SyncProgress
from services.inventory.collect.versions import Changes


class Progress:
    """Counts under a lock; a snapshot is a message of its own."""

    def __init__(self, units: int) -> None:
        self._lock = threading.Lock()
        self._counters = SyncProgress(units=units)

    def answered(self, outcome: Outcome) -> None:
        """Count one answer of AWS."""
        with self._lock:
            self._counters.calls += 1
            self._counters.throttles += outcome is Outcome.THROTTLED
            self._counters.denied += outcome is Outcome.DENIED

    def unit_ended(self, changes: Changes | None) -> None:
        """Count a unit, and what it wrote if it got that far."""
        with self._lock:
            self._counters.units_done += 1
            if changes is not None:
                self._counters.resources += len(changes.opened) + changes.unchanged
                self._counters.rows_written += len(changes.opened)
                self._counters.rows_closed += changes.gone
                self._counters.rows_unchanged += changes.unchanged

    def snapshot(self) -> SyncProgress:
        """Give the counters as they stand."""
        copy = SyncProgress()
        with self._lock:
            copy.CopyFrom(self._counters)
        return copy
