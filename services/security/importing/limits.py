"""How much of a report is held or read at most: hostile input costs a refusal, not the process."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """`report_bytes` bounds the upload, `element_bytes` one result, `depth` its nesting,
    `memory_bytes` what is kept in memory before the report goes to a temporary file,
    `rules` the rules that are remembered while the results are read, `findings` those whose
    fingerprints are remembered to tell which known ones moved (8 bytes each, and the set).
    A report of at most `kept_bytes` and `kept_items` is read once, and its items kept until they
    are stored; a larger one is read twice."""

    report_bytes: int = 2048 * MIB
    element_bytes: int = 8 * MIB
    depth: int = 64
    memory_bytes: int = 8 * MIB
    rules: int = 100_000
    findings: int = 200_000
    kept_bytes: int = 16 * MIB
    kept_items: int = 20_000


class ReportTooLarge(Exception):
    """The upload is longer than allowed; `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a report has at most {limit} bytes")
        self.limit = limit
