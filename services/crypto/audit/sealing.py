"""Brings entries into the tree and signs the checkpoint over them; pure, for the checkpointer.

Entries come in by segment, writer and number. What does not follow its writer's last entry in the
tree, or is not what its hash says, stays outside, and everything of that writer behind it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from services.crypto.audit.entry import BEFORE_FIRST, Entry, Operation, entry_hash
from services.crypto.audit.note import Checkpoint, NoteBroken, PublicKey, Signer, digest
from services.crypto.audit.statements import NOTHING, Run, WriterStart, runs_digest
from services.crypto.audit.tiles import Tile, Tiles, edge, extended, range_hash

MICROSECONDS = 1_000_000
_DAY = 86_400 * MICROSECONDS


class Stored(NamedTuple):
    """An entry as the table has it."""

    entry: Entry
    hash: bytes


class Head(NamedTuple):
    """The last entry of a writer that is in the tree."""

    seq: int
    hash: bytes


NO_HEAD = Head(0, BEFORE_FIRST)


class Tree(NamedTuple):
    """A tree that can be extended: what the newest checkpoint and the right edge say."""

    size: int = 0
    tiles: Tiles = MappingProxyType({})
    """Those of ``tiles.edge``."""
    note: str = ""
    """Newest checkpoint, signed."""


class Sealed(NamedTuple):
    """What one checkpoint adds."""

    runs: list[Run]
    tiles: dict[Tile, bytes]
    note: str
    size: int


class Break(NamedTuple):
    """Where a writer's entries cannot be taken."""

    writer_id: bytes
    seq: int
    """Number of the entry that should be there."""
    problem: str


def segment_of(accessed_at: int) -> str:
    """Give the month (UTC) that an entry belongs to, ``YYYY-MM``."""
    return _month(accessed_at // _DAY)


@lru_cache(maxsize=128)
def _month(day: int) -> str:
    return datetime.fromtimestamp(day * (_DAY // MICROSECONDS), UTC).strftime("%Y-%m")


def start_of(entry: Entry, keys: Sequence[PublicKey]) -> WriterStart | None:
    """Give what is signed of a writer's start, if an entry is one."""
    if entry.operation != Operation.START_WRITER or entry.seq != 1:
        return None
    try:
        start = WriterStart.opened(entry.details, keys)
    except NoteBroken:
        return None
    return start if start.writer_id == entry.writer_id else None


def followed(
    entries: Iterable[Stored], heads: Mapping[bytes, Head], keys: Sequence[PublicKey]
) -> tuple[list[Stored], list[Break]]:
    """Give the entries that follow their writers' heads, and where others do not.

    Entries of one writer come in the order of their numbers.
    """
    good: list[Stored] = []
    breaks: list[Break] = []
    for writer_id, of_writer in groupby(entries, key=lambda each: each.entry.writer_id):
        head = heads.get(writer_id, NO_HEAD)
        for stored in of_writer:
            problem = ""
            if stored.entry.seq != head.seq + 1:
                problem = "is missing"
            elif entry_hash(stored.entry, head.hash) != stored.hash:
                problem = "is not what was written"
            elif stored.entry.seq == 1 and start_of(stored.entry, keys) is None:
                problem = "is no signed start of a writer"
            if problem:
                breaks.append(Break(writer_id, head.seq + 1, problem))
                break
            good.append(stored)
            head = Head(stored.entry.seq, stored.hash)
    return good, breaks


def seal(tree: Tree, entries: Sequence[Stored], origin: str, signer: Signer) -> Sealed:
    """Extend a tree by entries that follow their writers' heads, and sign it."""
    placed = sorted(
        entries,
        key=lambda each: (segment_of(each.entry.accessed_at), each.entry.writer_id, each.entry.seq),
    )
    runs = list(_runs(placed, tree.size))
    leaves = [each.hash for each in placed]
    tiles = extended(tree.tiles, tree.size, leaves)
    size = tree.size + len(leaves)
    root = range_hash({**tree.tiles, **tiles}, 0, size)
    previous = digest(tree.note) if tree.note else NOTHING
    extensions = (f"previous {previous}", f"runs {runs_digest(runs)}")
    note = signer.sign(Checkpoint(origin, size, root, extensions).text())
    return Sealed(runs, tiles, note, size)


def grown(tree: Tree, sealed: Sealed) -> Tree:
    """Give the tree after a checkpoint."""
    known = {**tree.tiles, **sealed.tiles}
    return Tree(sealed.size, {tile: known[tile] for tile in edge(sealed.size)}, sealed.note)


def _runs(placed: Sequence[Stored], first_index: int) -> Iterator[Run]:
    def run(place: int) -> tuple[str, bytes, int]:
        entry = placed[place].entry
        # The difference is the same as long as numbers follow each other.
        return segment_of(entry.accessed_at), entry.writer_id, entry.seq - place

    for (segment, writer_id, _), places in groupby(range(len(placed)), key=run):
        first, *rest = places
        last = placed[rest[-1] if rest else first]
        yield Run(
            first_index + first,
            writer_id,
            segment,
            placed[first].entry.seq,
            last.entry.seq,
            last.hash,
        )
