"""What the audit signs beside checkpoints: that a writer began, a segment ended, and one left.

Each is a note (``note``) whose first line says what it is and whose other lines are ``word value``.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from services.crypto.audit.note import NoteBroken, PublicKey
from services.crypto.audit.tree import Range
from services.crypto.audit.words import (
    bytes_of,
    number_of,
    statement_text,
    statement_words,
    value_of,
    values_of,
)

START, SEGMENT, DROP = "secmesh audit writer", "secmesh audit segment", "secmesh audit drop"
NOTHING = "-"
WRITER_KEY = "/writer"
"""End of the names of keys that sign the starts of writers, and nothing else."""
_RUN = re.compile(r"(0|[1-9][0-9]*)-(0|[1-9][0-9]*)")
_RUNS_FORM = b"secmesh/audit/runs/1\n"


def sealing_keys(keys: Iterable[PublicKey]) -> list[PublicKey]:
    """Give the keys that vouch for the whole audit: those of writers do so for starts alone."""
    return [key for key in keys if not key.name.endswith(WRITER_KEY)]


class Run(NamedTuple):
    """Entries of one writer and one segment that follow each other, in chain and tree alike."""

    first_index: int
    """Place of the first in the tree."""
    writer_id: bytes
    segment: str
    first_seq: int
    last_seq: int
    head: bytes
    """Hash of the last entry."""

    @property
    def indexes(self) -> Range:
        """From the place of the first until before the place after the last."""
        return self.first_index, self.first_index + self.last_seq - self.first_seq + 1


def runs_digest(runs: Iterable[Run]) -> str:
    """Give the hash of a checkpoint's runs, which its note holds, in hexadecimal."""
    told = sha256(_RUNS_FORM)
    for run in runs:
        segment = run.segment.encode()
        numbers = (run.first_index, run.first_seq, run.last_seq, len(segment))
        packed = b"".join(number.to_bytes(8, "big") for number in numbers)
        told.update(b"".join((run.writer_id, packed, segment, run.head)))
    return told.hexdigest()


@dataclass(frozen=True)
class WriterStart:
    """A writer began: signed, so that nobody else begins one."""

    origin: str
    writer_id: bytes
    after: str
    """Size and digest of the last checkpoint that there was, ``-`` if there was none."""
    follows: str = NOTHING
    """Writer of the same process whose last entries are in doubt."""

    def text(self) -> str:
        """Write what is signed."""
        words = {"writer": self.writer_id.hex(), "after": self.after, "follows": self.follows}
        return statement_text(START, self.origin, words.items())

    @classmethod
    def opened(cls, note: str, keys: Sequence[PublicKey]) -> "WriterStart":
        """Read a signed statement; NoteBroken."""
        origin, words = statement_words(START, note, keys)
        return cls(
            origin,
            bytes_of(value_of(words, "writer")),
            value_of(words, "after"),
            value_of(words, "follows"),
        )


@dataclass(frozen=True)
class SegmentAnchor:
    """A segment ended: which entries it held. It stands for them when they are gone."""

    origin: str
    segment: str
    entries: int
    root: bytes
    """RFC 6962 root over the hashes of its entries, in their order in the tree."""
    indexes: tuple[Range, ...]
    """Their places in the tree."""
    checkpoint: str
    """Size and digest of the checkpoint at which it was closed."""
    previous: str
    """Digest of the anchor before, ``-`` for the first."""
    writers: tuple[str, ...]
    """``writer first_seq last_seq head`` of each."""

    def text(self) -> str:
        """Write what is signed."""
        words = [
            ("segment", self.segment),
            ("entries", str(self.entries)),
            ("root", base64.b64encode(self.root).decode()),
            ("checkpoint", self.checkpoint),
            ("previous", self.previous),
            *(("indexes", f"{start}-{end}") for start, end in self.indexes),
            *(("writer", line) for line in self.writers),
        ]
        return statement_text(SEGMENT, self.origin, words)

    @classmethod
    def opened(cls, note: str, keys: Sequence[PublicKey]) -> "SegmentAnchor":
        """Read a signed statement; NoteBroken."""
        origin, words = statement_words(SEGMENT, note, keys)
        return cls(
            origin,
            value_of(words, "segment"),
            number_of(value_of(words, "entries")),
            base64.b64decode(value_of(words, "root")),
            tuple(_range(value) for value in values_of(words, "indexes")),
            value_of(words, "checkpoint"),
            value_of(words, "previous"),
            tuple(values_of(words, "writer")),
        )


@dataclass(frozen=True)
class SegmentDrop:
    """A segment left by the policy of retention."""

    origin: str
    segment: str
    anchor: str
    """Digest of its anchor."""
    thinned: int
    """Checkpoints of trees smaller than this left with it."""
    dropped_at: int
    """Microseconds since 1970."""

    def text(self) -> str:
        """Write what is signed."""
        words = {
            "segment": self.segment,
            "anchor": self.anchor,
            "thinned": str(self.thinned),
            "dropped_at": str(self.dropped_at),
        }
        return statement_text(DROP, self.origin, words.items())

    @classmethod
    def opened(cls, note: str, keys: Sequence[PublicKey]) -> "SegmentDrop":
        """Read a signed statement; NoteBroken."""
        origin, words = statement_words(DROP, note, keys)
        return cls(
            origin,
            value_of(words, "segment"),
            value_of(words, "anchor"),
            number_of(value_of(words, "thinned")),
            number_of(value_of(words, "dropped_at")),
        )


def merged(ranges: Iterable[Range]) -> Iterator[Range]:
    """Give sorted ranges with those that touch as one."""
    start = end = -1
    for first, last in ranges:
        if first != end:
            if start >= 0:
                yield start, end
            start = first
        end = last
    if start >= 0:
        yield start, end


def _range(text: str) -> Range:
    found = _RUN.fullmatch(text)
    if not found:
        raise NoteBroken("a range is none")
    return int(found[1]), int(found[2])
