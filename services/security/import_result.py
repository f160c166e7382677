"""What a caller says of a report, and what became of it."""

from dataclasses import dataclass, field

from services.security.import_store import ReportStore
from services.security.importing.model import Rejected

MAX_REJECTIONS = 100
"""Results that are named, of those that could not be stored."""


@dataclass(frozen=True)
class Wanted:
    """What a caller says of a report."""

    tenant: str
    project: str = ""
    branch: str = ""
    format_name: str = ""
    close_absent: bool = True
    keep: bool = True


@dataclass
class Result:
    """What became of a report; `unchanged` if it was imported before."""

    format_name: str
    sha256: str
    problem: str
    unchanged: bool = False
    scans: list[str] = field(default_factory=list)
    records: ReportStore | None = None
    rejections: list[Rejected] = field(default_factory=list)
    rejected: int = 0
    absent_closed: bool = False

    def reject(self, rejected: Rejected) -> None:
        """Count what could not be stored; the first are named."""
        self.rejected += 1
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(rejected)
