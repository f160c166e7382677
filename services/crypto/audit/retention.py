"""Makes the parts of coming months, signs those that ended, and drops those kept long enough.

Nothing is dropped that was not signed and, where there is a second place, kept there before. The
drop itself is signed, and an entry of the audit, in the same transaction.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import DependencyUnavailable
from mesh.sql.recurring import Recurring
from services.crypto.audit.anchors import AnchorFailed, Anchors, segment_name
from services.crypto.audit.chain import EVERY_TENANT, entry_of
from services.crypto.audit.entry import Access, Operation
from services.crypto.audit.note import Signer
from services.crypto.audit.owner_chain import OwnerChain
from services.crypto.audit.parts import months
from services.crypto.audit.seal_store import SealStore, newest_note
from services.crypto.audit.sealing import MICROSECONDS
from services.crypto.audit.segment_store import SegmentRow, SegmentStore
from services.crypto.audit.segments import close_segment, drop_segment
from services.crypto.audit.statements import SegmentAnchor, merged

EVERY = timedelta(hours=1)
GRACE = timedelta(days=2)
"""How long after its end a segment is closed: nothing of it comes in any more."""
_LOG = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Retention(Recurring):
    """Looks after the segments of the audit; processes take turns."""

    def __init__(
        self,
        store: SealStore,
        origin: str,
        signer: Signer,
        anchors: Anchors | None = None,
        every: timedelta = EVERY,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(every, "segments of the audit could not be looked after")
        self._store = store
        self._segments = SegmentStore()
        self._origin = origin
        self._signer = signer
        self._anchors = anchors
        self._clock = clock
        self._chain = OwnerChain(origin, signer)

    async def look(self) -> tuple[list[str], list[str]]:
        """Do all that is due; give the segments that were closed and dropped."""
        async with self._store.turn(patient=True) as connection:
            if connection is not None:
                await self._segments.make_parts(connection, self._clock())
        closed, dropped = [], []
        while (segment := await self._close_next()) is not None:
            closed.append(segment)
        while (segment := await self._drop_next()) is not None:
            dropped.append(segment)
        return closed, dropped

    async def _close_next(self) -> str | None:
        """Sign the oldest segment that ended; None if there is none."""
        async with self._store.turn(patient=True) as connection:
            newest = await newest_note(connection) if connection is not None else None
            if connection is None or newest is None:
                return None
            closed = await self._segments.closed(connection)
            known = {row.segment for row in closed}
            present = f"{next(months(self._clock() - GRACE)):%Y-%m}"
            parts = await self._segments.parts(connection)
            segment = next((each for each in parts if each < present and each not in known), None)
            if segment is None:
                return None
            runs = await self._segments.runs(connection, segment)
            sealed = sum(end - start for start, end in (run.indexes for run in runs))
            if sealed != (stored := await self._segments.count(connection, segment)):
                _LOG.error("segment %s: %d entries, of which %d sealed", segment, stored, sealed)
                return None
            ranges = list(merged(run.indexes for run in runs))
            leaves = await self._segments.leaves(connection, ranges)
            previous = closed[-1].anchor if closed else ""
            anchor = await asyncio.to_thread(
                close_segment,
                segment,
                runs,
                leaves.__getitem__,
                newest[1],
                previous,
                self._signer,
            )
            await self._segments.close(connection, segment, anchor)
        await self._keep(segment_name(segment, anchor), anchor)
        return segment

    async def _drop_next(self) -> str | None:
        """Drop the oldest segment whose time is over; None if there is none."""
        async with self._store.turn(patient=True) as connection:
            if connection is None:
                return None
            days = await self._segments.retention_days(connection)
            rows = await self._segments.closed(connection)
        oldest = next(months(self._clock() - timedelta(days=days)))
        left = [row for row in rows if not row.drop_note]
        if not left or left[0].segment >= f"{oldest:%Y-%m}":
            return None
        # Once more: the process may have ended between the signature and the second place.
        await self._keep(segment_name(left[0].segment, left[0].anchor), left[0].anchor)
        note = ""
        try:
            async with self._store.turn(patient=True) as connection:
                if connection is not None:
                    note = await self._drop(connection, left[0])
        except BaseException:
            self._chain.lost()
            raise
        self._chain.kept()
        if not note:
            return None
        _LOG.info("segment %s of the audit was dropped after %d days", left[0].segment, days)
        await self._keep(segment_name(left[0].segment, note), note)
        return left[0].segment

    async def _drop(self, connection: AsyncConnection, row: SegmentRow) -> str:
        """Drop a segment in a transaction; give what is signed of it, empty if another did."""
        rows = await self._segments.closed(connection)
        if any(each.segment == row.segment and each.drop_note for each in rows):
            return ""
        gone = [each for each in rows if each.drop_note or each.segment == row.segment]
        thinned = await self._segments.thinned(connection, self._covered(gone))
        moment = int(self._clock().timestamp() * MICROSECONDS)
        note = drop_segment(row.segment, row.anchor, thinned, moment, self._origin, self._signer)
        await self._segments.drop(connection, row.segment, note, thinned)
        entries = SegmentAnchor.opened(row.anchor, [self._signer.public]).entries
        details = f"segment {row.segment} entries {entries}"
        access = Access(EVERY_TENANT, Operation.DROP_SEGMENT, "system", "", details=details)
        await self._chain.append(connection, [entry_of(access, b"", moment)])
        return note

    def _covered(self, rows: list[SegmentRow]) -> int:
        """Give the place up to which all entries belong to some segments."""
        keys = [self._signer.public]
        indexes = sorted(
            each for row in rows for each in SegmentAnchor.opened(row.anchor, keys).indexes
        )
        first = next(merged(indexes), (0, 0))
        return first[1] if first[0] == 0 else 0

    async def _keep(self, name: str, note: str) -> None:
        if self._anchors is None:
            return
        try:
            await self._anchors.put(name, note)
        except AnchorFailed as error:
            raise DependencyUnavailable("anchors") from error
