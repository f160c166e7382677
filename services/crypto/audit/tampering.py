"""Names what became of entries that are not where, or not what, the tree says."""

from collections.abc import Sequence
from itertools import groupby

from services.crypto.audit.entry import BEFORE_FIRST, Entry, entry_hash
from services.crypto.audit.evidence import Evidence, Leaves, Placement, Snapshot
from services.crypto.audit.findings import Tampering
from services.crypto.audit.note import PublicKey
from services.crypto.audit.sealing import Stored, start_of

_COMPARED = 500_000
"""How often a stray entry is tried at a place without its entry, over all of them."""


def name_of(writer_id: bytes, seq: int) -> str:
    """Name an entry by its writer and number."""
    return f"{writer_id.hex()}/{seq}"


class Strays:
    """Entries at places where the tree has others, or none."""

    def __init__(
        self,
        snapshot: Snapshot,
        evidence: Evidence,
        leaves: Leaves,
        placement: Placement,
        seen: bytearray,
        keys: Sequence[PublicKey],
    ) -> None:
        self._snapshot = snapshot
        self._evidence = evidence
        self._leaves = leaves
        self._placement = placement
        self._seen = seen
        self._keys = keys
        self.explained: set[int] = set()
        """Places whose entries are not simply gone."""
        self._twins: dict[bytes, tuple[bytes, int]] = {}
        """Entries that are as they were sealed, by id, where a stray one has the same."""
        self._follows: dict[bytes, str] = {}
        """Of each writer, the one it took over from (``WriterStart.follows``)."""
        self._tries = _COMPARED
        self._vacant: list[int] = []
        self._by_hash: dict[bytes, int] = {}

    def name(self, strays: Sequence[Stored]) -> int:
        """Name all of them; give how many wait for the next checkpoint and are as they should."""
        if not strays:
            return 0
        self._look_through({stored.entry.entry_id for stored in strays})
        self._vacant = [index for index in range(self._evidence.size) if not self._seen[index]]
        self._by_hash = dict(self._leaves.places())
        placed = [each for each in strays if self._index(each.entry) is not None]
        beyond = [each for each in strays if self._index(each.entry) is None]
        origins = {id(each): self._origin(each) for each in strays}
        self._name_swapped(placed, origins)
        for stored in placed:
            self._name_placed(stored, origins[id(stored)])
        pending = 0
        for writer_id, of_writer in groupby(beyond, key=lambda each: each.entry.writer_id):
            foreign = [
                stored
                for stored in of_writer
                if not self._name_foreign(stored, origins[id(stored)])
            ]
            pending += self._name_pending(writer_id, foreign)
        return pending

    def _index(self, entry: Entry) -> int | None:
        return self._placement.index(entry.writer_id, entry.seq)

    def _look_through(self, ids: set[bytes]) -> None:
        for stored in self._snapshot.entries():
            entry = stored.entry
            index = self._index(entry)
            if entry.entry_id in ids and index is not None and self._seen[index]:
                self._twins[entry.entry_id] = (entry.writer_id, entry.seq)
            if start := start_of(entry, self._keys):
                self._follows[entry.writer_id] = start.follows

    def _origin(self, stored: Stored) -> int | None:
        """Give the place in the tree at which an entry was sealed; None if at none."""
        candidates = [self._by_hash.get(stored.hash)]
        if twin := self._twins.get(stored.entry.entry_id):
            candidates.append(self._placement.index(*twin))
        for index in candidates:
            if index is not None and self._is_of(stored.entry, index):
                return index
        for index in self._vacant[: self._tries]:
            self._tries -= 1
            if self._is_of(stored.entry, index):
                return index
        return None

    def _is_of(self, entry: Entry, index: int) -> bool:
        """Tell whether an entry, but for its writer and number, was sealed at a place."""
        found = self._placement.entry(index)
        if found is None:
            return False
        run, seq = found
        before = self._placement.hash_of(run.writer_id, seq - 1)
        if before is None:
            return False
        try:
            again = entry_hash(entry._replace(writer_id=run.writer_id, seq=seq), before)
        except ValueError:
            return False
        return again == self._leaves[index]

    def _name_swapped(self, placed: Sequence[Stored], origins: dict[int, int | None]) -> None:
        """Name pairs that stand at each other's places."""
        at = {self._index(each.entry): each for each in placed}
        for stored in placed:
            here, there = self._index(stored.entry), origins[id(stored)]
            other = at.get(there) if there is not None else None
            if here is None or other is None or other is stored or here in self.explained:
                continue
            if origins[id(other)] == here and there is not None:
                self.explained |= {here, there}
                places = f"{self._at(here)} and {self._at(there)}"
                words = "these two entries were exchanged"
                self._evidence.found(Tampering.ENTRIES_SWAPPED, places, words)

    def _name_placed(self, stored: Stored, origin: int | None) -> None:
        """Name what stands at the place of another entry."""
        here = self._index(stored.entry)
        if here is None or here in self.explained:
            return
        if origin == here or origin is None:
            self._name_unknown(here, origin)
            return
        place = self._at(here)
        gone = "" if self._seen[here] else ", in place of the entry that was there"
        if self._seen[origin]:
            words = f"a copy of {self._at(origin)} was put here{gone}"
            self._evidence.found(Tampering.ENTRY_DUPLICATED, place, words)
        else:
            self.explained.add(origin)
            words = f"the entry {self._at(origin)} was moved here{gone}"
            self._evidence.found(Tampering.ENTRY_MOVED, place, words)
        self.explained.add(here)

    def _name_unknown(self, here: int, origin: int | None) -> None:
        if not self._seen[here]:
            self.explained.add(here)
            words = "its content is not what was recorded"
            self._evidence.found(Tampering.ENTRY_CHANGED, self._at(here), words)
        elif origin == here:
            words = "a copy of this entry stands beside it"
            self._evidence.found(Tampering.ENTRY_DUPLICATED, self._at(here), words)
        else:
            words = "another entry of this number stands beside the one that was recorded"
            self._evidence.found(Tampering.ENTRY_INSERTED, self._at(here), words)

    def _name_foreign(self, stored: Stored, origin: int | None) -> bool:
        """Name an entry beyond its writer's end that was sealed elsewhere; tell whether it was."""
        if origin is None:
            return False
        place = name_of(stored.entry.writer_id, stored.entry.seq)
        if self._seen[origin]:
            words = f"a copy of {self._at(origin)} was put here"
            self._evidence.found(Tampering.ENTRY_DUPLICATED, place, words)
        else:
            self.explained.add(origin)
            words = f"the entry {self._at(origin)} was moved here"
            self._evidence.found(Tampering.ENTRY_MOVED, place, words)
        return True

    def _name_pending(self, writer_id: bytes, entries: Sequence[Stored]) -> int:
        """Follow a writer beyond its last sealed entry; give how many entries follow."""
        seq = self._placement.head(writer_id)
        before = self._placement.hash_of(writer_id, seq) or BEFORE_FIRST
        for count, stored in enumerate(entries):
            entry = stored.entry
            problem = self._pending_problem(stored, seq, before)
            if not problem and entry.seq == 1 and writer_id not in self._follows:
                words = "it was never sealed and no process of the service began it"
                self._evidence.found(Tampering.WRITER_UNKNOWN, writer_id.hex(), words)
                return 0
            twin = self._twins.get(entry.entry_id)
            if twin and not problem and not self._took_over(writer_id, twin[0]):
                problem = f"it is a copy of {name_of(*twin)}"
            if problem:
                place = name_of(writer_id, entry.seq)
                self._evidence.found(Tampering.ENTRY_INSERTED, place, problem)
                return count
            seq, before = entry.seq, stored.hash
        return len(entries)

    def _took_over(self, one: bytes, other: bytes) -> bool:
        """Tell whether one of two writers took over entries in doubt from the other."""
        return self._follows.get(one) == other.hex() or self._follows.get(other) == one.hex()

    @staticmethod
    def _pending_problem(stored: Stored, seq: int, before: bytes) -> str:
        if stored.entry.seq != seq + 1:
            return f"it does not follow entry {seq}; it was never sealed"
        try:
            good = entry_hash(stored.entry, before) == stored.hash
        except ValueError:
            good = False
        return "" if good else "it is not what its hash says; it was never sealed"

    def _at(self, index: int) -> str:
        found = self._placement.entry(index)
        return name_of(found[0].writer_id, found[1]) if found else f"place {index}"
