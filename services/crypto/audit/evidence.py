"""What a store of audit entries holds, and which part of it signatures vouch for."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from services.crypto.audit.entry import BEFORE_FIRST
from services.crypto.audit.findings import Finding, Tampering
from services.crypto.audit.note import Checkpoint, NoteBroken, PublicKey, digest, opened
from services.crypto.audit.sealing import Stored
from services.crypto.audit.statements import (
    NOTHING,
    Run,
    SegmentAnchor,
    SegmentDrop,
    runs_digest,
    sealing_keys,
)
from services.crypto.audit.tiles import HASH, WIDTH, Tile, Tiles
from services.crypto.audit.tree import EMPTY_ROOT, Range, node_hash


class SegmentNotes(NamedTuple):
    """What the store says of a segment that ended."""

    segment: str
    anchor: str
    drop: str = ""
    """Empty while its entries are there."""


@dataclass(frozen=True)
class Snapshot:
    """All that is stored, at one moment."""

    entries: Callable[[], Iterator[Stored]]
    """By writer and number; each call begins anew."""
    checkpoints: Sequence[str]
    """Notes, by size."""
    runs: Sequence[Run]
    """By their first index."""
    tiles: Tiles
    """Of level 0."""
    segments: Sequence[SegmentNotes] = ()
    """In their order."""
    partitions: frozenset[str] = frozenset()
    """Segments for which there is a table."""


@dataclass
class Evidence:
    """What can be relied on, and what was found wrong on the way."""

    findings: list[Finding] = field(default_factory=list)
    checkpoints: list[tuple[Checkpoint, str]] = field(default_factory=list)
    """With their notes, by size."""
    runs: list[Run] = field(default_factory=list)
    dropped: dict[str, SegmentAnchor] = field(default_factory=dict)
    """Segments that left by the policy."""
    anchored: dict[str, SegmentAnchor] = field(default_factory=dict)
    thinned: int = 0
    """Checkpoints of smaller trees left by the policy."""
    _unbounded: set[int] = field(default_factory=set)
    """Sizes of checkpoints of which it is not known how large the tree before was."""

    @property
    def size(self) -> int:
        return self.checkpoints[-1][0].size if self.checkpoints else 0

    def found(self, tampering: Tampering, place: str, words: str) -> None:
        """Note what was done."""
        self.findings.append(Finding(tampering, place, words))

    def read(self, snapshot: Snapshot, keys: Sequence[PublicKey]) -> None:
        """Take what is signed, and what signed digests vouch for."""
        keys = sealing_keys(keys)
        self._read_segments(snapshot.segments, keys)
        self._read_checkpoints(snapshot.checkpoints, keys)
        self._read_runs(snapshot.runs)

    def _read_segments(self, segments: Sequence[SegmentNotes], keys: Sequence[PublicKey]) -> None:
        previous = NOTHING
        for each in segments:
            place = f"segment {each.segment}"
            try:
                anchor = SegmentAnchor.opened(each.anchor, keys)
                drop = SegmentDrop.opened(each.drop, keys) if each.drop else None
            except (NoteBroken, ValueError) as error:
                self.found(Tampering.SEGMENT_FORGED, place, f"what is said of it: {error}")
                continue
            problem = ""
            if anchor.segment != each.segment:
                problem = f"its anchor is that of {anchor.segment}"
            elif anchor.previous != previous:
                problem = "an anchor before it is missing or another"
            elif drop and (drop.segment, drop.anchor) != (each.segment, digest(each.anchor)):
                problem = "it left by another anchor"
            if problem:
                self.found(Tampering.SEGMENT_FORGED, place, problem)
            else:
                self.anchored[each.segment] = anchor
                if drop:
                    self.dropped[each.segment] = anchor
                    self.thinned = max(self.thinned, drop.thinned)
            previous = digest(each.anchor)

    def _read_checkpoints(self, notes: Sequence[str], keys: Sequence[PublicKey]) -> None:
        previous = NOTHING
        for note in notes:
            try:
                checkpoint = Checkpoint.parsed(opened(note, keys))
            except NoteBroken as error:
                self.found(Tampering.CHECKPOINT_FORGED, _place_of(note), str(error))
                previous = digest(note)
                continue
            thinned = not self.checkpoints and checkpoint.size == self.thinned
            if thinned:
                self._unbounded.add(checkpoint.size)
            if checkpoint.value("previous") != previous and not thinned:
                since = f"size {self.size}" if self.checkpoints else "the beginning"
                words = f"checkpoints between {since} and this one are missing or others"
                self.found(Tampering.CHECKPOINT_MISSING, f"size {checkpoint.size}", words)
                self._unbounded.add(checkpoint.size)
            self.checkpoints.append((checkpoint, note))
            previous = digest(note)

    def _read_runs(self, runs: Sequence[Run]) -> None:
        start = 0
        by_index = sorted(runs)
        firsts = [run.first_index for run in by_index]
        for checkpoint, _ in self.checkpoints:
            last = checkpoint.size - 1
            of_it = by_index[bisect_right(firsts, start - 1) : bisect_right(firsts, last)]
            told = runs_digest(of_it) == checkpoint.value("runs")
            # Where its own runs begin is not known then; entries are held against them anyway.
            if told or checkpoint.size in self._unbounded:
                self.runs += of_it
            else:
                words = f"the list of what came in with it (places {start} to {last}) was changed"
                self.found(Tampering.RUNS_CHANGED, f"checkpoint of size {checkpoint.size}", words)
            start = checkpoint.size
        if by_index and by_index[-1].indexes[1] > start:
            words = f"entries came in up to place {by_index[-1].indexes[1] - 1} by later ones"
            self.found(Tampering.CHECKPOINT_MISSING, f"after size {start}", words)

    def ends_before(self) -> dict[tuple[bytes, int], bytes]:
        """Give the hashes of the last entries of writers in segments that left."""
        ends = {}
        for anchor in self.dropped.values():
            for line in anchor.writers:
                writer, _, last, head = line.split(" ")
                ends[bytes.fromhex(writer), int(last)] = bytes.fromhex(head)
        return ends


def _place_of(note: str) -> str:
    lines = [*note.split("\n"), "", ""]
    return f"size {lines[1][:20]}"


class Leaves:
    """The hashes that stood in the tree, by place."""

    def __init__(self, size: int, tiles: Tiles) -> None:
        self.size = size
        parts = []
        for number in range(-(-size // WIDTH)):
            count = min(WIDTH, size - number * WIDTH)
            tile = tiles.get(Tile(0, number), b"")[: count * HASH]
            parts.append(tile + bytes(count * HASH - len(tile)))
        self._hashes = bytearray(b"".join(parts))

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._hashes[index * HASH : (index + 1) * HASH])

    def __setitem__(self, index: int, value: bytes) -> None:
        self._hashes[index * HASH : (index + 1) * HASH] = value

    def places(self) -> Mapping[bytes, int]:
        """Give the place of each hash."""
        return {self[index]: index for index in range(self.size)}

    def roots(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """Give the roots that the tree had at sizes up to its own."""
        wanted = sorted({size for size in sizes if size <= self.size})
        found: dict[int, bytes] = {}
        subtrees: list[tuple[int, bytes]] = []
        at = 0
        for size in wanted:
            for index in range(at, size):
                count, whole = 1, self[index]
                while subtrees and subtrees[-1][0] == count:
                    count, whole = count * 2, node_hash(subtrees.pop()[1], whole)
                subtrees.append((count, whole))
            at = size
            root = subtrees[-1][1] if subtrees else EMPTY_ROOT
            for _, left in subtrees[-2::-1]:
                root = node_hash(left, root)
            found[size] = root
        return found


class Placement:
    """Where an entry stands in the tree, and which entry stands at a place."""

    def __init__(
        self, runs: Sequence[Run], leaves: Leaves, ends: Mapping[tuple[bytes, int], bytes]
    ) -> None:
        self._leaves = leaves
        self._ends = ends
        self._by_index = sorted(runs)
        self._indexes = [run.first_index for run in self._by_index]
        self._by_writer: dict[bytes, list[Run]] = {}
        for run in sorted(runs, key=lambda each: (each.writer_id, each.first_seq)):
            self._by_writer.setdefault(run.writer_id, []).append(run)
        self._firsts = {
            writer: [run.first_seq for run in of_writer]
            for writer, of_writer in self._by_writer.items()
        }

    def index(self, writer_id: bytes, seq: int) -> int | None:
        """Give the place of an entry; None if it is in no checkpoint."""
        at = bisect_right(self._firsts.get(writer_id, ()), seq) - 1
        if at < 0:
            return None
        run = self._by_writer[writer_id][at]
        return run.first_index + seq - run.first_seq if seq <= run.last_seq else None

    def entry(self, index: int) -> tuple[Run, int] | None:
        """Give the run and the number of the entry at a place."""
        at = bisect_right(self._indexes, index) - 1
        if at < 0:
            return None
        run = self._by_index[at]
        return (run, run.first_seq + index - run.first_index) if index < run.indexes[1] else None

    def hash_of(self, writer_id: bytes, seq: int) -> bytes | None:
        """Give the hash that an entry was sealed with; None if that is not known."""
        if seq == 0:
            return BEFORE_FIRST
        place = self.index(writer_id, seq)
        return self._ends.get((writer_id, seq)) if place is None else self._leaves[place]

    def head(self, writer_id: bytes) -> int:
        """Give the number of a writer's last entry in the tree; 0 if it has none."""
        if writer_id in self._by_writer:
            return self._by_writer[writer_id][-1].last_seq
        return max((seq for writer, seq in self._ends if writer == writer_id), default=0)


def gaps(covered: Iterable[Range], size: int) -> Iterator[Range]:
    """Give what ranges leave uncovered of a tree."""
    at = 0
    for start, end in sorted(covered):
        if start > at:
            yield at, start
        at = max(at, end)
    if at < size:
        yield at, size
