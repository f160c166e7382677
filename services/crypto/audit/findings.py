"""What a verification can find, in words that name exactly what happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Tampering(StrEnum):
    """What was done to the audit."""

    ENTRY_CHANGED = "entry_changed"
    HASH_CHANGED = "hash_changed"
    ENTRIES_MISSING = "entries_missing"
    TAIL_MISSING = "tail_missing"
    ENTRIES_SWAPPED = "entries_swapped"
    ENTRY_DUPLICATED = "entry_duplicated"
    ENTRY_MOVED = "entry_moved"
    ENTRY_INSERTED = "entry_inserted"
    WRITER_UNKNOWN = "writer_unknown"
    SEGMENT_MISSING = "segment_missing"
    SEGMENT_FORGED = "segment_forged"
    CHECKPOINT_FORGED = "checkpoint_forged"
    CHECKPOINT_MISSING = "checkpoint_missing"
    RUNS_CHANGED = "runs_changed"
    TILES_CHANGED = "tiles_changed"
    TREE_DISAGREES = "tree_disagrees"
    STORE_ROLLED_BACK = "store_rolled_back"
    HISTORY_REWRITTEN = "history_rewritten"
    ANCHOR_FORGED = "anchor_forged"


@dataclass(frozen=True)
class Finding:
    """One thing that was done."""

    tampering: Tampering
    place: str
    """What it was done to, such as ``0199.../17`` for an entry: its writer and number."""
    words: str

    def __str__(self) -> str:
        return f"{self.tampering}: {self.place}: {self.words}"


@dataclass(frozen=True)
class Report:
    """What a verification found."""

    findings: tuple[Finding, ...]
    verified: int
    """Entries that are what was sealed."""
    pending: int
    """Entries that follow their chains and wait for the next checkpoint."""
    size: int
    """Entries under the newest checkpoint, those that left included."""
    root: bytes
    checkpoints: int
    anchors: int
    """Checkpoints kept elsewhere that were held against the store."""
    removed: Mapping[str, int] = field(default_factory=dict)
    """Entries that left by the policy of retention, by segment."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was tampered with."""
        return not self.findings
