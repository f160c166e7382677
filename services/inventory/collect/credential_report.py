"""IAM's credential report: one line for each user and for the root user.

Source: AWS IAM User Guide, "Getting credential reports". A report is made at
most every four hours, so it may be older than the other reads of a run.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Reader, Unread

ROOT = "<root_account>"
GENERATE = "iam:GenerateCredentialReport"
GET = "iam:GetCredentialReport"
KEY_SLOTS = (1, 2)
# What stands in place of a value: never, none, or not told.
_NOTHING = frozenset({"", "N/A", "no_information", "not_supported"})
REPORT_PATIENCE = 60.0
"""Seconds that a report may take to be made."""
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class KeyLine:
    """An access key as the report shows it; the report names no key ids."""

    slot: int
    active: bool
    last_rotated: datetime | None
    last_used: datetime | None
    last_used_service: str


@dataclass(frozen=True)
class UserLine:
    """One user as the report shows it; None where the report tells nothing."""

    user: str
    arn: str
    created: datetime | None
    password_enabled: bool | None
    password_last_used: datetime | None
    password_last_changed: datetime | None
    mfa_active: bool
    keys: tuple[KeyLine, ...]

    @property
    def is_root(self) -> bool:
        return self.user == ROOT


def parse(content: bytes) -> dict[str, UserLine]:
    """Parse a report, by ARN.

    Raises ValueError if a column is missing or a value is of no known form.
    """
    rows = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
    try:
        return {line.arn: line for line in map(_line, rows)}
    except csv.Error as error:
        raise ValueError(f"credential report is no CSV: {error}") from error


def _line(row: Mapping[str, str]) -> UserLine:
    try:
        return UserLine(
            user=row["user"],
            arn=row["arn"],
            created=_time(row["user_creation_time"]),
            password_enabled=_flag(row["password_enabled"]),
            password_last_used=_time(row["password_last_used"]),
            password_last_changed=_time(row["password_last_changed"]),
            mfa_active=bool(_flag(row["mfa_active"])),
            keys=tuple(key for slot in KEY_SLOTS if (key := _key(row, slot))),
        )
    except (KeyError, AttributeError) as error:
        raise ValueError(f"credential report lacks {error}") from error


def _key(row: Mapping[str, str], slot: int) -> KeyLine | None:
    prefix = f"access_key_{slot}"
    active = bool(_flag(row[f"{prefix}_active"]))
    rotated = _time(row[f"{prefix}_last_rotated"])
    if not active and rotated is None:
        return None
    service = row[f"{prefix}_last_used_service"]
    return KeyLine(
        slot=slot,
        active=active,
        last_rotated=rotated,
        last_used=_time(row[f"{prefix}_last_used_date"]),
        last_used_service="" if service in _NOTHING else service,
    )


def _flag(text: str) -> bool | None:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if text in _NOTHING:
        return None
    raise ValueError(f"credential report has {text!r} for a flag")


def _time(text: str) -> datetime | None:
    if text in _NOTHING:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_report(reader: Reader, patience: float) -> dict[str, UserLine] | Unread:
    """Have the report made if need be, and read it; ``patience`` in seconds."""
    pending = _generate(reader, patience)
    answer = reader.call(GET)
    if isinstance(answer, Unread):
        return answer
    if isinstance(answer, Absent):
        return pending or Unread.of(GET, Outcome.FAILED, answer.code)
    try:
        return parse(bytes(answer["Content"]))
    except ValueError:
        return Unread.of(GET, Outcome.FAILED, "ReportMalformed")


def _generate(reader: Reader, patience: float) -> Unread | None:
    """Ask until the report is complete; a gap still leaves an earlier report readable."""
    waited = 0.0
    while True:
        answer = reader.call(GENERATE)
        if isinstance(answer, Unread):
            return answer
        if isinstance(answer, Absent) or answer.get("State") == "COMPLETE":
            return None
        if waited >= patience:
            return Unread.of(GENERATE, Outcome.FAILED, "ReportInProgress")
        reader.pause(0.0 if answer.get("State") == "STARTED" and not waited else _POLL_SECONDS)
        waited += _POLL_SECONDS
