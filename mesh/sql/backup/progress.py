"""How far a backup or a restore is: moved by a thread, read by the loop."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ParamSpec, TypeVar

from mesh.sql.backup.errors import BackupStopped

P = ParamSpec("P")
T = TypeVar("T")


class Phase(IntEnum):
    """What is being done."""

    WRITING = 1
    """The backup is written."""
    CHECKING = 2
    """The backup is read back."""
    SECURING = 3
    """What stands now is backed up before it is replaced."""
    RESTORING = 4
    """The store is replaced."""


@dataclass
class Progress:
    """Counts pages, bytes or rows of one phase."""

    phase: Phase = Phase.WRITING
    done: int = 0
    total: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def enter(self, phase: Phase, total: int = 0) -> None:
        """Begin a phase."""
        self.phase, self.done, self.total = phase, 0, total

    def stop(self) -> None:
        """Let the work end at its next step."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether the caller gave up."""
        return self._stopped.is_set()

    def move(self, done: int, total: int) -> None:
        """Note how far the phase is; BackupStopped if its caller gave up."""
        if self.stopped:
            raise BackupStopped("the caller gave up")
        self.done, self.total = done, total

    async def in_thread(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Do work in a thread; who gives up waits for its end, so that nothing goes on behind."""
        running = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **options))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.gather(running, return_exceptions=True)
            raise
