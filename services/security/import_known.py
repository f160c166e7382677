"""Results of a report that are as an earlier one had them, told before they are read.

Of each result that became a finding a group keeps an entry: by what digest it is told, how it was
counted among equal ones, and which finding it is. A result with the digest of an entry, and the
same place among its equals, would be read, mapped and compared to no other end.
"""

import re
import struct
from collections.abc import Sequence

from mesh.sql.sighting_store import Group
from services.security.importing.fingerprint import Fingerprints, short
from services.security.importing.model import Finding, Same, Severity

MOST = 50_000
"""Findings of one scope that are told so: about 250 bytes of memory each."""
_TRACE = struct.Struct(">16sQIQB")
_ENTRY = struct.Struct(">16sQIQB16s")
_SEVERITIES = tuple(Severity)
_NUMBERS = {severity: number for number, severity in enumerate(_SEVERITIES)}
_PRINTED = 0x80
"""Mark of results with fingerprints of their tool, beside the number of the severity."""
_KEY = slice(0, 16)
_UUID = re.compile("[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def trace(finding: Finding, ours: str) -> bytes:
    """Give of a result, and its fingerprint of ours, what is kept of it; empty if nothing is."""
    if not finding.digest:
        return b""
    mark = _NUMBERS[finding.severity] | (_PRINTED if finding.fingerprints else 0)
    return _TRACE.pack(finding.digest, *finding.occurrence, short(ours) & (2**64 - 1), mark)


def entry(traced: bytes, finding: str) -> bytes:
    """Give the entry of a result and the record of its finding; empty if it can have none."""
    if not traced or _UUID.fullmatch(finding) is None:
        return b""
    return traced + bytes.fromhex(finding.replace("-", ""))


def _uuid(named: bytes) -> str:
    text = named.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Known:
    """The entries of the groups of one scope, and which of them a report showed."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self._entries = b"".join(part for group in groups for part in group.parts)
        self._shown = bytearray(len(self._entries) // _ENTRY.size)
        size = _ENTRY.size
        self._places = {
            self._entries[at : at + _KEY.stop]: at // size
            for at in range(0, len(self._shown) * size, size)
        }

    def recall(self, run: int, digest: bytes, counted: Fingerprints) -> Same | None:
        """Give what is known of a result by its digest, and count it; None if it must be read."""
        place = self._places.get(digest)
        if place is None:
            return None
        _, base, ordinal, fingerprint, mark = _TRACE.unpack_from(self._entries, place * _ENTRY.size)
        if not counted.count_again(base, ordinal):
            return None
        self._shown[place] = 1
        return Same(run, _SEVERITIES[mark & ~_PRINTED], fingerprint, bool(mark & _PRINTED))

    def shown(self) -> list[str]:
        """Give the ids of the findings that were recalled."""
        size = _ENTRY.size
        return [
            _uuid(self._entries[place * size + _TRACE.size : (place + 1) * size])
            for place, is_shown in enumerate(self._shown)
            if is_shown
        ]

    def live(self, group: int) -> bytes:
        """Give the entries of a group that the report showed."""
        size = _ENTRY.size
        first = sum(len(part) for each in self.groups[:group] for part in each.parts) // size
        count = sum(len(part) for part in self.groups[group].parts) // size
        return b"".join(
            self._entries[place * size : (place + 1) * size]
            for place in range(first, first + count)
            if self._shown[place]
        )


def parts(entries: bytes) -> list[bytes]:
    """Split entries into pieces of some hundred kilobytes."""
    size = 4096 * _ENTRY.size
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def count(entries: bytes) -> int:
    """Give how many entries there are."""
    return len(entries) // _ENTRY.size
