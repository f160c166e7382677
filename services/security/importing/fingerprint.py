"""What makes two results of two scans the same finding.

Version 1: SHA-256 over the rule's key, the normalised path, what tells the place (the tool's own
fingerprint if it has one, otherwise the hash of the trimmed snippet or of the message's template)
and the ordinal among those equal in all three. Lines are left out: they move.
The version stands beside the value, and the tool's fingerprints are kept, so a later version
matches what is stored instead of duplicating it.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from msgspec import Struct

from services.security.importing.model import Finding

VERSION = 1
_FILE = re.compile(r"^file:(?://[^/]*)?", re.IGNORECASE)
# Any text is taken, also what is no URL by RFC 3986: scheme and authority, path, and the rest.
_URL = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*))?([^?#]*)")
_SHORT = 512
"""Characters of a path that is remembered."""
_LENGTHS = tuple(size.to_bytes(8, "big").decode() for size in range(128))
"""Lengths before parts that are short, as most are: ASCII themselves."""
_DRIVE = re.compile(r"^/?[A-Za-z]:(?=/)")


class Fingerprint(Struct, gc=False):
    """`algorithm` is `secmesh/v1` for ours, or the tool's own name for it."""

    algorithm: str
    value: str


def normal_path(path: str, root: str = "") -> str:
    """A path as a repository has it: slashes, no scheme, drive, `.` or leading `/`; `..` resolved.

    `root` is where the scanner had the sources; below it, the path is relative to it.
    """
    plain = _plain(path)
    base = _plain(root) if root else ""
    if base and plain.startswith(f"{base}/"):
        return plain[len(base) + 1 :]
    return plain


def _plain(path: str) -> str:
    # A report names the same files again and again.
    return _remembered(path) if len(path) <= _SHORT else _simplified(path)


@lru_cache(maxsize=4096)
def _remembered(path: str) -> str:
    return _simplified(path)


def _simplified(path: str) -> str:
    slashed = path.strip().replace("\\", "/")
    if slashed[:5].lower() == "file:":
        # RFC 8089: the authority, if any, is a host and no part of the path.
        slashed = unquote(_FILE.sub("", slashed))
    slashed = _DRIVE.sub("", slashed)
    parts: list[str] = []
    for part in slashed.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".", ".." if slashed.startswith("/") else "."):
            parts.append(part)
    return "/".join(parts)


def _digest(*parts: str) -> str:
    """Lengths stand before the parts: no two lists of parts share their text."""
    try:
        told = "".join([_LENGTHS[len(part)] + part for part in parts])
    except IndexError:
        return _digest_of_any(parts)
    if not told.isascii():
        return _digest_of_any(parts)
    return hashlib.sha256(told.encode()).hexdigest()


def _digest_of_any(parts: Iterable[str]) -> str:
    encoded = [part.encode(errors="surrogatepass") for part in parts]
    return hashlib.sha256(
        b"".join([len(part).to_bytes(8, "big") + part for part in encoded])
    ).hexdigest()


def snippet_hash(snippet: str) -> str:
    """Of the lines without the space around each: a new indent is no new finding."""
    lines = [line.strip() for line in snippet.strip().splitlines()]
    return _digest("\n".join([line for line in lines if line]) if len(lines) != 1 else lines[0])


def place(finding: Finding) -> str:
    """Where the finding is, in what is left unchanged when other code changes."""
    if finding.web:
        split = _URL.match(finding.web.url)
        authority, path = (split[1] or "", split[2]) if split else ("", finding.web.url)
        return _digest(finding.web.method, authority, path, finding.web.parameter)
    if finding.component:
        component = finding.component
        return _digest(component.purl or component.name, component.version)
    first = finding.locations[0] if finding.locations else None
    return normal_path(first.path) or first.logical_name if first else ""


def _told_by(finding: Finding) -> str:
    if finding.fingerprints:
        name, value = min(finding.fingerprints)
        return _digest("tool", name, value)
    if finding.assets:
        return _digest("asset", finding.assets[0].uid)
    if finding.locations and finding.locations[0].snippet:
        return snippet_hash(finding.locations[0].snippet)
    return _digest("message", finding.message_template or finding.message or finding.title)


def base(finding: Finding) -> str:
    """The fingerprint without its ordinal: equal for results that only their order tells apart."""
    return _digest(finding.rule_key, place(finding), _told_by(finding))


def short(value: str) -> int:
    """The first 64 bits of a fingerprint of ours; of any other text, some number."""
    try:
        return int(value[:16], 16)
    except ValueError:
        return -1


class Fingerprints:
    """Fingerprints of one report's findings, in the order of the report.

    Remembers 8 bytes for every distinct base, about 100 MB for a million of them.
    """

    def __init__(self) -> None:
        self._seen: defaultdict[int, int] = defaultdict(int)

    def of(self, finding: Finding) -> tuple[Fingerprint, ...]:
        """Ours first, then the tool's own."""
        key = base(finding)
        seen = short(key)
        ordinal = self._seen[seen]
        self._seen[seen] = ordinal + 1
        finding.occurrence = seen, ordinal
        ours = Fingerprint(f"secmesh/v{VERSION}", _digest(key, str(ordinal)))
        return (ours, *[Fingerprint(name, value) for name, value in finding.fingerprints])

    def count_again(self, base: int, ordinal: int) -> bool:
        """Count a finding that was fingerprinted before; not if its number would be another."""
        if self._seen.get(base, 0) != ordinal:
            return False
        self._seen[base] = ordinal + 1
        return True


def values(findings: Iterable[Finding]) -> list[str]:
    """Our fingerprint of each finding of one report."""
    known = Fingerprints()
    return [known.of(finding)[0].value for finding in findings]
