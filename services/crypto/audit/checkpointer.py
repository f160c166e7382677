"""Seals what writers wrote: every second, by one process at a time, outside of calls.

Each look is one transaction under an advisory lock: a process that is killed leaves the tree as it
was, and the next look of any process goes on from there.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from opentelemetry import metrics
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.recurring import Recurring
from services.crypto.audit.alert_store import Alert, alerts_of, count_from_nothing
from services.crypto.audit.change_log_store import folded_changes
from services.crypto.audit.note import PublicKey, Signer
from services.crypto.audit.owner_chain import OwnerChain
from services.crypto.audit.parts import months
from services.crypto.audit.seal_store import BEGINNING, SealStore
from services.crypto.audit.sealing import MICROSECONDS, Break, followed, seal
from services.crypto.audit.subjects import Subjects
from services.crypto.audit.tampering import name_of

EVERY = timedelta(seconds=1)
EACH = 2000
"""Entries of one writer that one checkpoint takes at most."""
_THOROUGH = 600
"""Looks of which one goes through the parts of all months."""
_RECENT = timedelta(days=2)
_LOG = logging.getLogger(__name__)
_METER = metrics.get_meter("secmesh.crypto")
_SEALED = _METER.create_counter(
    "secmesh.crypto.audit.sealed", description="audit entries that this process sealed"
)
_BREAKS = _METER.create_gauge(
    "secmesh.crypto.audit.breaks", description="writers of the audit whose chains are broken"
)


def _now() -> datetime:
    return datetime.now(UTC)


class Checkpointer(Recurring):
    """Extends the tree and signs it."""

    def __init__(
        self,
        store: SealStore,
        origin: str,
        signer: Signer,
        keys: Sequence[PublicKey],
        subjects: Subjects,
        every: timedelta = EVERY,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take the keys by which writers' starts are signed."""
        super().__init__(every, "entries of the audit could not be sealed")
        self._store = store
        self._origin = origin
        self._signer = signer
        self._keys = keys
        self._clock = clock
        self._subjects = subjects
        self._chain = OwnerChain(origin, signer)
        self._last = 0
        self._looks = 0
        count_from_nothing()
        self.breaks: tuple[Break, ...] = ()
        """Where chains are broken, as the last look of this process found them."""

    async def look(self) -> int:
        """Seal all that waits; give how many entries. While another process seals, none."""
        total = 0
        while True:
            thorough = self._looks % _THOROUGH == 0
            self._looks += 1
            count, more = await self._checkpoint(thorough=thorough)
            total += count
            if not more:
                return total

    async def _checkpoint(self, *, thorough: bool) -> tuple[int, bool]:
        """Make one checkpoint; give how many entries, and whether more may wait."""
        since = BEGINNING if thorough else next(months(self._clock() - _RECENT))
        raised: list[Alert] = []
        try:
            async with self._store.turn() as connection:
                if connection is None:
                    return 0, False
                entries, heads = await self._store.waiting(connection, since, EACH)
                # Hashing would hold up calls of this process.
                good, breaks = await asyncio.to_thread(followed, entries, heads, self._keys)
                if good:
                    tree = await self._store.tree(connection)
                    sealed = await asyncio.to_thread(seal, tree, good, self._origin, self._signer)
                    await self._store.add(connection, sealed)
                    raised = await alerts_of(connection, good)
                await self._append(connection, raised)
        except BaseException:
            self._chain.lost()
            raise
        self._chain.kept()
        for each in raised:
            each.tell()
        if breaks and not thorough:
            # What seems to be missing may stand in the part of an older month.
            count, more = await self._checkpoint(thorough=True)
            return len(good) + count, more
        self._tell(breaks)
        _SEALED.add(len(good))
        return len(good), len(good) >= EACH

    async def _append(self, connection: AsyncConnection, raised: Sequence[Alert]) -> None:
        """Add the upkeep's own entries; the next checkpoint takes them."""
        self._last = max(self._last, int(self._clock().timestamp() * MICROSECONDS))
        entries = [alert.entry(self._last) for alert in raised]
        entries += await folded_changes(connection, self._subjects, self._last)
        if entries:
            await self._chain.append(connection, entries)

    def _tell(self, breaks: Sequence[Break]) -> None:
        for each in set(breaks) - set(self.breaks):
            name = name_of(each.writer_id, each.seq)
            _LOG.error("the audit was tampered with: entry %s %s", name, each.problem)
        self.breaks = tuple(breaks)
        _BREAKS.set(len(breaks))
