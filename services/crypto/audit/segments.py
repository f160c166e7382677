"""What is signed of a segment that ended, made from its runs and the hashes of its entries."""

from collections.abc import Callable, Sequence

from services.crypto.audit.note import Checkpoint, NoteBroken, Signer, digest
from services.crypto.audit.statements import NOTHING, Run, SegmentAnchor, SegmentDrop, merged
from services.crypto.audit.tree import root_of


def checkpoint_of(note: str) -> Checkpoint:
    """Read the store's own note, whose signature others verify; NoteBroken."""
    text, found, _ = note.rpartition("\n\n")
    if not found:
        raise NoteBroken("a note has signatures")
    return Checkpoint.parsed(text + "\n")


def close_segment(
    segment: str,
    runs: Sequence[Run],
    leaf: Callable[[int], bytes],
    checkpoint: str,
    previous: str,
    signer: Signer,
) -> str:
    """Sign what a segment held, so that its entries can go.

    Args:
        segment: Month of its entries.
        runs: All of its runs, by their first index.
        leaf: Gives the hash at a place of the tree.
        checkpoint: Newest checkpoint; all runs are below it.
        previous: Anchor of the segment closed before; empty for the first.
        signer: Signs for the audit.
    """
    indexes = tuple(merged(run.indexes for run in runs))
    places = [place for start, end in indexes for place in range(start, end)]
    writers: dict[bytes, list[Run]] = {}
    for run in runs:
        writers.setdefault(run.writer_id, []).append(run)
    lines = []
    for writer_id, of_writer in sorted(writers.items()):
        by_number = sorted(of_writer, key=lambda run: run.first_seq)
        first, last = by_number[0], by_number[-1]
        lines.append(f"{writer_id.hex()} {first.first_seq} {last.last_seq} {last.head.hex()}")
    found = checkpoint_of(checkpoint)
    anchor = SegmentAnchor(
        origin=found.origin,
        segment=segment,
        entries=len(places),
        root=root_of([leaf(place) for place in places]),
        indexes=indexes,
        checkpoint=f"{found.size} {digest(checkpoint)}",
        previous=digest(previous) if previous else NOTHING,
        writers=tuple(lines),
    )
    return signer.sign(anchor.text())


def drop_segment(
    segment: str, anchor: str, thinned: int, dropped_at: int, origin: str, signer: Signer
) -> str:
    """Sign that a segment leaves by the policy; its anchor stands for it from then on."""
    drop = SegmentDrop(origin, segment, digest(anchor), thinned, dropped_at)
    return signer.sign(drop.text())
