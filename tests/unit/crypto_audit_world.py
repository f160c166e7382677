"""An audit in memory, made by the parts that make the real one, to be tampered with."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from services.crypto.audit.entry import BEFORE_FIRST, Entry, Operation, entry_hash
from services.crypto.audit.evidence import Leaves, SegmentNotes, Snapshot
from services.crypto.audit.findings import Finding, Report, Tampering
from services.crypto.audit.note import Signer, digest
from services.crypto.audit.sealing import Head, Stored, Tree, followed, grown, seal, segment_of
from services.crypto.audit.segments import close_segment, drop_segment
from services.crypto.audit.statements import NOTHING, Run, WriterStart
from services.crypto.audit.tiles import Tile
from services.crypto.audit.verifier import verify

ORIGIN = "audit.test/acme"
SIGNER = Signer("audit.test/sealer", b"s" * 32)
WRITERS_SIGNER = Signer("audit.test/writer", b"w" * 32)
KEYS = [SIGNER.public, WRITERS_SIGNER.public]
_MONTH = 31 * 86_400 * 1_000_000
BEGAN = 1_767_225_600_000_000
"""2026-01-01 UTC."""


@dataclass
class Writer:
    """One process that writes."""

    writer_id: bytes
    seq: int = 0
    head: bytes = BEFORE_FIRST


@dataclass
class AuditWorld:
    """Rows, checkpoints and all else that the store holds, and what was kept elsewhere."""

    random: random.Random
    rows: dict[tuple[bytes, int], Stored] = field(default_factory=dict)
    extra: list[Stored] = field(default_factory=list)
    """Rows that tampering put in beside those."""
    writers: list[Writer] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    tiles: dict[Tile, bytes] = field(default_factory=dict)
    segments: list[SegmentNotes] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)
    heads: dict[bytes, Head] = field(default_factory=dict)
    moment: int = BEGAN
    partitions: set[str] = field(default_factory=set)

    def start(self, follows: str = NOTHING) -> Writer:
        """Begin a writer."""
        writer = Writer(self.random.randbytes(16))
        after = f"{self.tree.size} {digest(self.tree.note)}" if self.tree.note else NOTHING
        start = WriterStart(ORIGIN, writer.writer_id, after, follows)
        self.writers.append(writer)
        note = WRITERS_SIGNER.sign(start.text())
        self.write(writer, operation=Operation.START_WRITER, details=note, tenant_id="-")
        return writer

    def write(self, writer: Writer, **changed: Any) -> Entry:
        """Write one entry."""
        self.moment += self.random.randrange(1, 1_000_000)
        entry = Entry(
            writer_id=writer.writer_id,
            seq=writer.seq + 1,
            entry_id=self.random.randbytes(16),
            accessed_at=self.moment,
            tenant_id=self.random.choice(("acme", "beta")),
            subject=self.random.randbytes(32),
            operation=self.random.choice((Operation.DECRYPT, Operation.ENCRYPT)),
            fields=("address", "ssn"),
            tiers=(2, 3),
            principal="ann",
            purpose="support",
            request_id=self.random.randbytes(8).hex(),
            success=self.random.random() < 0.9,
            error_code="",
            duration_us=self.random.randrange(10_000),
            retention_class="standard",
            details="",
        )._replace(**changed)
        writer.seq += 1
        writer.head = entry_hash(entry, writer.head)
        self.rows[writer.writer_id, writer.seq] = Stored(entry, writer.head)
        self.partitions.add(segment_of(entry.accessed_at))
        return entry

    def seal(self) -> None:
        """Make a checkpoint over what is new."""
        new = [
            stored
            for (writer, seq), stored in sorted(self.rows.items())
            if seq > self.heads.get(writer, Head(0, b"")).seq
        ]
        good, breaks = followed(new, self.heads, KEYS)
        assert not breaks
        if not good:
            return
        for stored in good:
            self.heads[stored.entry.writer_id] = Head(stored.entry.seq, stored.hash)
        sealed = seal(self.tree, good, ORIGIN, SIGNER)
        self.runs += sealed.runs
        self.tiles |= sealed.tiles
        self.checkpoints.append(sealed.note)
        self.tree = grown(self.tree, sealed)

    def anchor(self) -> None:
        """Keep the newest checkpoint elsewhere."""
        self.anchors.append(self.checkpoints[-1])

    def next_month(self) -> None:
        self.moment += _MONTH

    def close(self, segment: str) -> None:
        """Sign what a segment held."""
        runs = [run for run in self.runs if run.segment == segment]
        leaves = Leaves(self.tree.size, self.tiles)
        previous = self.segments[-1].anchor if self.segments else ""
        note = close_segment(
            segment, runs, leaves.__getitem__, self.checkpoints[-1], previous, SIGNER
        )
        self.segments.append(SegmentNotes(segment, note))

    def drop(self, segment: str, *, signed: bool = True) -> int:
        """Take a segment away; give how many entries it had."""
        gone = [
            place
            for place, stored in self.rows.items()
            if segment_of(stored.entry.accessed_at) == segment
        ]
        for place in gone:
            del self.rows[place]
        self.partitions.discard(segment)
        if signed:
            at = next(i for i, each in enumerate(self.segments) if each.segment == segment)
            closed = self.segments[at]
            note = drop_segment(segment, closed.anchor, 0, self.moment, ORIGIN, SIGNER)
            self.segments[at] = closed._replace(drop=note)
        return len(gone)

    def snapshot(self) -> Snapshot:
        """Give all that is stored now."""
        rows = sorted(
            [*self.rows.values(), *self.extra],
            key=lambda each: (each.entry.writer_id, each.entry.seq, each.entry.accessed_at),
        )

        def entries() -> Iterator[Stored]:
            return iter(rows)

        tiles = {tile: content for tile, content in self.tiles.items() if tile.level == 0}
        return Snapshot(
            entries,
            list(self.checkpoints),
            list(self.runs),
            tiles,
            list(self.segments),
            frozenset(self.partitions),
        )

    def report(self) -> Report:
        """Verify it."""
        return verify(self.snapshot(), KEYS, self.anchors)

    def put(self, place: tuple[bytes, int], stored: Stored) -> None:
        """Put what a row says at a place, as an UPDATE of its key would."""
        entry = stored.entry._replace(writer_id=place[0], seq=place[1])
        self.rows[place] = stored._replace(entry=entry)


def busy_world(seed: int = 7, writers: int = 3, rounds: int = 6) -> AuditWorld:
    """Make an audit with some writers, checkpoints and anchors, all of one month."""
    world = AuditWorld(random.Random(seed))
    for _ in range(writers):
        world.start()
    for number in range(rounds):
        for _ in range(world.random.randrange(5, 25)):
            world.write(world.random.choice(world.writers))
        world.seal()
        if number % 2:
            world.anchor()
    return world


def copied(world: AuditWorld) -> AuditWorld:
    """Give what a restore of this moment would bring back; what is kept elsewhere stays."""
    return replace(
        world,
        rows=dict(world.rows),
        writers=[replace(each) for each in world.writers],
        checkpoints=list(world.checkpoints),
        runs=list(world.runs),
        tiles=dict(world.tiles),
        segments=list(world.segments),
        heads=dict(world.heads),
        partitions=set(world.partitions),
    )


def only_finding(world: AuditWorld, tampering: Tampering) -> Finding:
    """Verify and give the one thing that was found."""
    findings = world.report().findings
    assert [each.tampering for each in findings] == [tampering], list(map(str, findings))
    return findings[0]


def name_of(world: AuditWorld, writer: int, seq: int) -> str:
    return f"{world.writers[writer].writer_id.hex()}/{seq}"


def place_of(world: AuditWorld, writer: int, seq: int) -> tuple[bytes, int]:
    return world.writers[writer].writer_id, seq
