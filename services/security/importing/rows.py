"""What an item of a report becomes: rows of the security kinds, by the names of their fields.

Values are plain: enums by their short name, times as in the report, records that are referred to
by collection and natural key. Whoever stores them knows identifiers, bounds and what exists.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from services.security.importing.fingerprint import Fingerprint
from services.security.importing.model import Severity, State

# SARIF's three levels are CRITICAL, MAJOR and MINOR; the steps around them BLOCKER and INFO.
SONAR_SEVERITIES = {
    Severity.CRITICAL: "BLOCKER",
    Severity.HIGH: "CRITICAL",
    Severity.MEDIUM: "MAJOR",
    Severity.LOW: "MINOR",
    Severity.INFO: "INFO",
}
# What a new finding's state is by what the report says. A known finding keeps its own.
STATUSES = {
    State.OPEN: "OPEN",
    State.MANUAL: "IN_TRIAGE",
    State.SUPPRESSED: "SUPPRESSED",
    State.FALSE_POSITIVE: "FALSE_POSITIVE",
    State.RESOLVED: "RESOLVED",
    State.PASSED: "RESOLVED",
}
# A check that passed and a result that is gone are no finding: importing without them closes it.
GONE = frozenset({State.PASSED, State.RESOLVED})
SHARED = (
    "sast_rules",
    "cloud_accounts",
    "cloud_assets",
    "compliance_frameworks",
    "compliance_assessments",
)
"""What other records refer to, in the order in which it is written."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the report itself does not say: the tool that wrote it, and when it was imported.

    `security_tool` is true for a format that reports weaknesses only.
    """

    tool: str
    seen_time: str
    security_tool: bool = False


class Row(Struct, gc=False):
    """One record. `key` is its natural key in the collection; `refers` names other rows' keys.

    `record_id` is the record's own, where the report gives it one that lasts.
    """

    collection: str
    key: str
    values: dict[str, object]
    refers: dict[str, tuple[str, str]] = {}
    record_id: str = ""


def present(values: Mapping[str, object]) -> dict[str, object]:
    """Without what is absent: nothing, an empty text or an empty list."""
    return {key: value for key, value in values.items() if value or value == 0}


def time(said: str) -> str | None:
    """RFC 3339 in UTC of a time as reports have it: ISO 8601, or RFC 5322 (ZAP); none otherwise."""
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        try:
            found = parsedate_to_datetime(said)
        except ValueError:
            return None
    # What has no zone is taken for UTC: a scan is dated by it, nothing is decided.
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None


def seen(context: Context) -> dict[str, object]:
    """When a finding was seen; of a known one only the last is taken."""
    return {"first_seen_time": context.seen_time, "last_seen_time": context.seen_time}


def ours(fingerprints: tuple[Fingerprint, ...]) -> str:
    """The fingerprint that identifies the record."""
    return fingerprints[0].value


def in_order(collections: Iterable[str]) -> list[str]:
    """Put what is referred to before what refers to it."""
    waiting = set(collections)
    return [*(each for each in SHARED if each in waiting), *sorted(waiting - set(SHARED))]
