"""Entries that the audit's own upkeep writes, in the transactions of what they tell of."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.audit.append_store import append_within
from services.crypto.audit.chain import Chain
from services.crypto.audit.entry import Entry
from services.crypto.audit.note import Signer
from services.crypto.audit.seal_store import newest_note
from services.crypto.audit.statements import NOTHING


class OwnerChain:
    """A chain whose entries are there if, and only if, the caller's transaction is.

    After each transaction that appended, ``kept`` or ``lost`` says what became of it.
    """

    def __init__(self, origin: str, signer: Signer) -> None:
        self._origin = origin
        self._signer = signer
        self._chain: Chain | None = None
        self._next: Chain | None = None
        self._follows = NOTHING

    async def append(self, connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        """Add entries in a transaction; none before the last one of this chain in time."""
        chain = self._next or self._chain
        if chain is None:
            found = await newest_note(connection)
            newest = found[1] if found else ""
            moment = entries[0].accessed_at
            chain, start = Chain.begun(self._origin, self._signer, newest, self._follows, moment)
            entries = [start, *entries]
        self._next, batch = chain.bound(entries)
        await append_within(connection, batch)

    def kept(self) -> None:
        """Say that the transaction was committed."""
        self._chain, self._next = self._next or self._chain, None

    def lost(self) -> None:
        """Say that the transaction failed, or may have: a new chain follows."""
        if self._next is not None:
            self._follows = self._next.writer_id.hex()
            self._chain = self._next = None
