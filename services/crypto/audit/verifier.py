"""Verifies a stored audit offline and names what was done to it.

What signatures vouch for comes first: checkpoints, then the hashes of all entries that the tree
held, then which entry stood where. Each entry is then held against its own hash, with the hash of
the one before as it was sealed, so that one change never makes others look changed.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from services.crypto.audit.entry import BEFORE_FIRST, entry_hash
from services.crypto.audit.evidence import Evidence, Leaves, Placement, Snapshot, gaps
from services.crypto.audit.findings import Report, Tampering
from services.crypto.audit.note import Checkpoint, NoteBroken, PublicKey, opened
from services.crypto.audit.sealing import Stored, start_of
from services.crypto.audit.statements import sealing_keys
from services.crypto.audit.tampering import Strays, name_of
from services.crypto.audit.tree import root_of


def verify(snapshot: Snapshot, keys: Sequence[PublicKey], anchors: Iterable[str] = ()) -> Report:
    """Verify all that is stored.

    Args:
        snapshot: What is stored, at one moment.
        keys: Keys that sign for the audit.
        anchors: Checkpoints that were kept elsewhere. Without them a store that was put back to
            an earlier moment as a whole, or that was written anew with the signing key, looks
            like a good one.
    """
    return _Verification(snapshot, keys).run(anchors)


class _Verification:
    def __init__(self, snapshot: Snapshot, keys: Sequence[PublicKey]) -> None:
        self._snapshot = snapshot
        self._keys = keys
        self._evidence = Evidence()
        self._evidence.read(snapshot, keys)
        size = self._evidence.size
        self._leaves = Leaves(size, snapshot.tiles)
        self._placement = Placement(self._evidence.runs, self._leaves, self._evidence.ends_before())
        self._seen = bytearray(size)
        self._verified = 0
        self._anchors = 0
        self._strays: list[Stored] = []

    def run(self, anchors: Iterable[str]) -> Report:
        self._hold_tree()
        self._hold_anchors(anchors)
        self._hold_entries()
        strays = Strays(
            self._snapshot, self._evidence, self._leaves, self._placement, self._seen, self._keys
        )
        pending = strays.name(self._strays)
        self._hold_segments()
        self._name_missing(strays.explained)
        evidence = self._evidence
        return Report(
            tuple(evidence.findings),
            self._verified,
            pending,
            evidence.size,
            evidence.checkpoints[-1][0].root if evidence.checkpoints else root_of([]),
            len(evidence.checkpoints),
            self._anchors,
            {name: anchor.entries for name, anchor in evidence.dropped.items()},
        )

    def _hold_tree(self) -> None:
        """Hold the kept hashes against the signed roots; put right from the rows if they fail."""
        sizes = [checkpoint.size for checkpoint, _ in self._evidence.checkpoints]
        if self._disagreeing(self._leaves, sizes) is not None:
            mended = Leaves(self._leaves.size, self._snapshot.tiles)
            for stored in self._snapshot.entries():
                index = self._placement.index(stored.entry.writer_id, stored.entry.seq)
                if index is not None:
                    mended[index] = stored.hash
            self._name_tiles(mended, sizes)
        if (wrong := self._disagreeing(self._leaves, sizes)) is not None:
            words = "neither the kept hashes nor the entries give the root that was signed"
            self._evidence.found(Tampering.TREE_DISAGREES, f"checkpoint of size {wrong}", words)

    def _name_tiles(self, mended: Leaves, sizes: Sequence[int]) -> None:
        # From the smallest tree on: each that the rows explain shows which hashes were changed.
        start = 0
        for size in sizes:
            places = range(start, size)
            changed = [each for each in places if self._leaves[each] != mended[each]]
            kept = [self._leaves[each] for each in changed]
            if changed and self._disagreeing(self._leaves, [size]) is not None:
                for each in changed:
                    self._leaves[each] = mended[each]
                if self._disagreeing(self._leaves, [size]) is None:
                    words = f"{len(changed)} kept hashes from place {changed[0]} on were changed"
                    self._evidence.found(Tampering.TILES_CHANGED, f"tree of size {size}", words)
                else:
                    for each, hashed in zip(changed, kept, strict=True):
                        self._leaves[each] = hashed
            start = size

    def _disagreeing(self, leaves: Leaves, sizes: Sequence[int]) -> int | None:
        """Give the size of the first checkpoint whose root is another."""
        roots = leaves.roots(sizes)
        for checkpoint, _ in self._evidence.checkpoints:
            if checkpoint.size in sizes and roots[checkpoint.size] != checkpoint.root:
                return checkpoint.size
        return None

    def _hold_anchors(self, notes: Iterable[str]) -> None:
        """Hold what was kept elsewhere against the tree."""
        kept: dict[int, Checkpoint] = {}
        for note in notes:
            try:
                anchor = Checkpoint.parsed(opened(note, sealing_keys(self._keys)))
            except NoteBroken as error:
                self._evidence.found(Tampering.ANCHOR_FORGED, "an anchor", str(error))
                continue
            other = kept.setdefault(anchor.size, anchor)
            if other.root != anchor.root:
                words = "two checkpoints of this size were signed, with different roots"
                place = f"anchors of size {anchor.size}"
                self._evidence.found(Tampering.HISTORY_REWRITTEN, place, words)
            self._anchors += 1
        size, roots = self._evidence.size, self._leaves.roots(kept)
        agreed = 0
        for anchor in sorted(kept.values(), key=lambda each: each.size):
            place = f"anchor of size {anchor.size}"
            if anchor.size > size:
                words = (
                    f"the store ends at size {size}: it was put back to an earlier state, or "
                    f"{anchor.size - size} entries and the checkpoints over them were removed"
                )
                self._evidence.found(Tampering.STORE_ROLLED_BACK, place, words)
                # The others beyond say the same.
                break
            if roots[anchor.size] != anchor.root:
                words = f"the store tells another history since size {agreed}"
                self._evidence.found(Tampering.HISTORY_REWRITTEN, place, words)
                break
            agreed = anchor.size

    def _hold_entries(self) -> None:
        """Hold each entry against its hash; what is not at its place is named afterwards."""
        unplaced = self._unplaced()
        entries = self._snapshot.entries()
        for writer_id, of_writer in groupby(entries, key=lambda each: each.entry.writer_id):
            last, before = 0, BEFORE_FIRST
            for stored in of_writer:
                seq = stored.entry.seq
                index = self._placement.index(writer_id, seq)
                if seq != last + 1:
                    before = self._placement.hash_of(writer_id, seq - 1) or BEFORE_FIRST
                if index is None and unplaced:
                    index = unplaced.get(self._hash(stored, before))
                if index is None:
                    self._strays.append(stored)
                    last, before = seq, stored.hash
                    continue
                expected = self._leaves[index]
                self._hold(stored, index, before, expected)
                last, before = seq, expected

    def _unplaced(self) -> dict[bytes, int]:
        """Give the places in the tree of which no list of entries is left that can be relied on."""
        left = [each for anchor in self._evidence.dropped.values() for each in anchor.indexes]
        placed = [run.indexes for run in self._evidence.runs]
        ranges = gaps([*left, *placed], self._evidence.size)
        return {self._leaves[each]: each for start, end in ranges for each in range(start, end)}

    def _hold(self, stored: Stored, index: int, before: bytes, expected: bytes) -> None:
        if self._seen[index] or self._hash(stored, before) != expected:
            self._strays.append(stored)
            return
        self._seen[index] = 1
        self._verified += 1
        entry = stored.entry
        if stored.hash != expected:
            words = "its hash was changed, its content was not"
            self._evidence.found(Tampering.HASH_CHANGED, name_of(entry.writer_id, entry.seq), words)
        if entry.seq == 1 and start_of(entry, self._keys) is None:
            words = "its first entry is no signed start: no process of the service wrote it"
            self._evidence.found(Tampering.WRITER_UNKNOWN, entry.writer_id.hex(), words)

    @staticmethod
    def _hash(stored: Stored, before: bytes) -> bytes:
        try:
            return entry_hash(stored.entry, before)
        except ValueError:
            return b""

    def _hold_segments(self) -> None:
        """Hold what is said of each ended segment against the tree."""
        for name, anchor in self._evidence.anchored.items():
            indexes = [i for start, end in anchor.indexes for i in range(start, end)]
            inside = not indexes or indexes[-1] < self._evidence.size
            if not inside or len(indexes) != anchor.entries:
                problem = "its anchor names places that the tree does not have"
            elif root_of([self._leaves[index] for index in indexes]) != anchor.root:
                problem = "its anchor has another root than its entries"
            else:
                continue
            self._evidence.found(Tampering.SEGMENT_FORGED, f"segment {name}", problem)

    def _name_missing(self, explained: set[int]) -> None:
        """Name the entries of the tree that are gone."""
        left = [each for anchor in self._evidence.dropped.values() for each in anchor.indexes]
        missing = [
            index
            for start, end in gaps(left, self._evidence.size)
            for index in range(start, end)
            if not self._seen[index] and index not in explained
        ]
        lost = self._name_segments(missing)
        of_writers: dict[bytes, list[int]] = {}
        for index in missing:
            found = self._placement.entry(index)
            if found is None or found[0].segment in lost:
                continue
            of_writers.setdefault(found[0].writer_id, []).append(found[1])
        for writer_id, numbers in of_writers.items():
            self._name_entries(writer_id, sorted(numbers))

    def _name_segments(self, missing: Sequence[int]) -> set[str]:
        """Name the segments of which nothing is there; give them."""
        gone: dict[str, int] = {}
        kept: set[str] = set()
        absent = set(missing)
        for run in self._evidence.runs:
            indexes = range(*run.indexes)
            lacking = sum(index in absent for index in indexes)
            gone[run.segment] = gone.get(run.segment, 0) + lacking
            if lacking < len(indexes):
                kept.add(run.segment)
        lost = set()
        for segment, entries in gone.items():
            # A segment whose table stands lost its entries one by one, or was emptied.
            if not entries or segment in kept or segment in self._evidence.dropped:
                continue
            if segment in self._snapshot.partitions:
                continue
            anchored = segment in self._evidence.anchored
            told = "anchored, but no signed drop" if anchored else "no anchor"
            words = f"its table is gone with all {entries} entries, and there is {told} of it"
            self._evidence.found(Tampering.SEGMENT_MISSING, f"segment {segment}", words)
            lost.add(segment)
        return lost

    def _name_entries(self, writer_id: bytes, numbers: list[int]) -> None:
        head = self._placement.head(writer_id)
        for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
            listed = [number for _, number in group]
            first, last = listed[0], listed[-1]
            place = name_of(writer_id, first) + (f"-{last}" if last > first else "")
            if last == head:
                words = f"the last {len(listed)} sealed entries of the writer were removed"
                self._evidence.found(Tampering.TAIL_MISSING, place, words)
            else:
                words = f"{len(listed)} entries were removed"
                self._evidence.found(Tampering.ENTRIES_MISSING, place, words)
