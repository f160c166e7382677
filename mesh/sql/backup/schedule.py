"""Backups that are due, made by one of the processes that share a folder."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from mesh.errors import DependencyUnavailable
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.errors import BackupProblem, BackupsBusy
from mesh.sql.backup.folder import Failure, Manifest, Origin, now_micros
from mesh.sql.backup.progress import Progress

_LOG = logging.getLogger(__name__)
_LAST: "dict[str, int]" = {}
"""When the newest scheduled backup in a folder was made, in microseconds since 1970."""
_LOOKS = 10
"""Looks at the folder in the time between two backups."""
_SHORTEST, _LONGEST = 0.1, 600.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class Health:
    """How the schedule stands."""

    last: Manifest | None
    failure: Failure | None
    """Why the last try failed; None after a success."""


class BackupSchedule:
    """Backs up whenever the newest scheduled backup is older than an interval.

    The folder's lock and its content decide, so that of several processes one does it.
    """

    def __init__(
        self,
        backups: Backups,
        every: timedelta,
        keep: int,
        clock: Callable[[], int] = now_micros,
    ) -> None:
        """``every`` of no length makes no backups; ``keep`` scheduled ones stay."""
        self.every = every
        self._backups = backups
        self._keep = keep
        self._clock = clock
        self._progress = Progress()
        self._task: asyncio.Task[None] | None = None
        self._failure: Failure | None = None

    def start(self) -> None:
        """Look at once and then again and again, until ``close``."""
        if self.every:
            self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; a backup that is being written leaves nothing."""
        self._progress.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def health(self) -> Health:
        """Tell when it last succeeded and whether it fails."""
        folder = self._backups.folder
        found = await asyncio.to_thread(folder.all)
        last = next((each for each in found if each.origin is Origin.SCHEDULED), None)
        # The folder may be what failed: then only this process knows.
        return Health(last, self._failure or await asyncio.to_thread(folder.failure))

    async def _for_ever(self) -> None:
        pause = min(max(self.every.total_seconds() / _LOOKS, _SHORTEST), _LONGEST)
        while True:
            with contextlib.suppress(BackupsBusy):
                await self.look()
            await asyncio.sleep(pause)

    async def look(self) -> Manifest | None:
        """Back up if it is due, and remove scheduled backups beyond those to keep.

        Raises BackupsBusy if someone else is at it; other failures are noted and logged.
        """
        try:
            made = await self._backups.create_due(
                lambda last: self._clock() - last >= self.every // timedelta(microseconds=1),
                self._keep,
                self._progress,
            )
        except BackupsBusy:
            raise
        except (BackupProblem, DependencyUnavailable) as problem:
            self._failure = Failure(self._clock(), str(problem))
            _LOG.exception("a scheduled backup failed")
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._backups.folder.note_failure, self._failure)
            return None
        self._failure = None
        await self._note_last()
        return made

    async def _note_last(self) -> None:
        found = await asyncio.to_thread(self._backups.folder.all)
        last = next((each for each in found if each.origin is Origin.SCHEDULED), None)
        if last is not None:
            _LAST[str(self._backups.folder.path)] = last.created


def _last(_options: CallbackOptions) -> Iterable[Observation]:
    # Without a schedule nothing is told, and no alert is raised.
    for created in _LAST.values():
        yield Observation(created / 1e6)


metrics.get_meter("mesh.sql").create_observable_gauge(
    "backup.last.time",
    [_last],
    unit="s",
    description="when the newest scheduled backup was made, since 1970",
)
