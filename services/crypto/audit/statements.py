"""What the audit signs beside checkpoints: that a writer began, a segment ended, and one left.

Each is a note (``note``) whose first line says what it is and whose other lines are ``word value``.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from services.crypto.audit.note import NoteBroken, PublicKey, opened
from services.crypto.audit.tree import Range

START, SEGMENT, DROP = "secmesh audit writer", "secmesh audit segment", "secmesh audit drop"
NOTHING = "-"
WRITER_KEY = "/writer"
"""End of the names of keys that sign the starts of writers, and nothing else."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
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
        return _text(START, self.origin, words.items())

    @classmethod
    def opened(cls, note: str, keys: Sequence[PublicKey]) -> "WriterStart":
        """Read a signed statement; NoteBroken."""
        origin, words = _words(START, note, keys)
        return cls(
            origin, _hex(_one(words, "writer")), _one(words, "after"), _one(words, "follows")
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
        return _text(SEGMENT, self.origin, words)

    @classmethod
    def opened(cls, note: str, keys: Sequence[PublicKey]) -> "SegmentAnchor":
        """Read a signed statement; NoteBroken."""
        origin, words = _words(SEGMENT, note, keys)
        return cls(
            origin,
            _one(words, "segment"),
            _number(_one(words, "entries")),
            base64.b64decode(_one(words, "root")),
            tuple(_range(value) for value in _all(words, "indexes")),
            _one(words, "checkpoint"),
            _one(words, "previous"),
            tuple(_all(words, "writer")),
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
        return _text(DROP, self.origin, words.items())

    @classmethod
    def opened(cls, note: str, keys: Sequence[PublicKey]) -> "SegmentDrop":
        """Read a signed statement; NoteBroken."""
        origin, words = _words(DROP, note, keys)
        return cls(
            origin,
            _one(words, "segment"),
            _one(words, "anchor"),
            _number(_one(words, "thinned")),
            _number(_one(words, "dropped_at")),
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


def _text(kind: str, origin: str, words: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{line}\n" for line in (kind, origin, *(f"{w} {v}" for w, v in words)))


def _words(
    kind: str, note: str, keys: Sequence[PublicKey]
) -> tuple[str, list[tuple[str, str, str]]]:
    found, origin, *lines = [*opened(note, keys).removesuffix("\n").split("\n"), ""]
    if found != kind:
        raise NoteBroken(f"this is no {kind!r}")
    return origin, [line.partition(" ") for line in lines]


def _all(words: list[tuple[str, str, str]], word: str) -> list[str]:
    return [value for name, _, value in words if name == word]


def _one(words: list[tuple[str, str, str]], word: str) -> str:
    found = _all(words, word)
    if len(found) != 1:
        raise NoteBroken(f"a statement has one line {word!r}")
    return found[0]


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise NoteBroken("a number is none")
    return int(text)


def _range(text: str) -> Range:
    found = _RUN.fullmatch(text)
    if not found:
        raise NoteBroken("a range is none")
    return int(found[1]), int(found[2])


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise NoteBroken("a writer is none") from error
