"""The parts of ``encryption_audit``, one for each month (UTC): a part is a segment of the audit.

Entries are copied straight into parts, by a role that has no other right on them: PostgreSQL takes
no COPY into the table itself, which shows rows to their tenant alone.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

AHEAD = 2
"""Parts made beyond the present one."""
PREFIX = "encryption_audit_p"
_PART = re.compile(PREFIX + r"([0-9]{4})([0-9]{2})")
_LONGEST_MONTH = timedelta(days=31)


def months(moment: datetime, number: int = AHEAD + 1) -> Iterator[datetime]:
    """Give the first moments of months, from that of a moment."""
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(number):
        yield first
        first = (first + _LONGEST_MONTH).replace(day=1)


def part_of(segment: str) -> str:
    """Give the part that holds a segment, ``YYYY-MM``."""
    return PREFIX + segment.replace("-", "")


def segment_in(part: str) -> str | None:
    """Give the segment that a part holds; None if the table is no part."""
    found = _PART.fullmatch(part)
    return f"{found[1]}-{found[2]}" if found else None


def part_statements(month: datetime) -> list[str]:
    """Give what makes the part of a month."""
    start, end = months(month, 2)
    part = part_of(f"{start:%Y-%m}")
    bounds = f"FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
    return [
        f"CREATE TABLE {part} PARTITION OF encryption_audit FOR VALUES {bounds}",
        f"ALTER TABLE {part} ADD PRIMARY KEY (writer_id, seq)",
        f"CREATE TRIGGER refuse_audit_truncate BEFORE TRUNCATE ON {part} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
        f"GRANT INSERT ON {part} TO pii_audit_append",
    ]
