"""The file of an export: JSON lines, of which the last signs all others; docs: CRYPTO_EXPORT.md.

Each line is an object with ``type``; keys are sorted, nothing stands between tokens, and the text
is UTF-8, so that the same content has the same bytes. The signature is a note (``audit.note``) of

    secmesh export                      what it is
    secmesh.crypto/production           which service, in which environment
    user tenants/acme/users/0199...
    lines 17                            before the signature
    sha256 ab34...                      of their bytes, line breaks included
    exported_at 1763800000000000        microseconds since 1970
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import orjson

from services.crypto.audit.note import NoteBroken, PublicKey, Signer
from services.crypto.audit.words import number_of, statement_text, statement_words, value_of

FORM = "secmesh/export/1"
KIND = "secmesh export"
SIGNATURE = "signature"
_TYPES = frozenset({"export", "person", "value", "key", "change", "access", "checkpoint"})


class BundleBroken(ValueError):
    """A file that is no export, or not the one that was signed; the message says why."""


def line_of(content: Mapping[str, object]) -> bytes:
    """Write one line."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


class BundleWriter:
    """Writes lines and signs them in the end."""

    def __init__(self, origin: str, user: str, exported_at: int) -> None:
        """``user`` is a resource name, ``exported_at`` microseconds since 1970."""
        self._origin = origin
        self._user = user
        self._exported_at = exported_at
        self._count = 0
        self._hash = sha256()

    def line(self, content: Mapping[str, object]) -> bytes:
        """Give the next line."""
        written = line_of(content)
        self._count += 1
        self._hash.update(written)
        return written

    def signature(self, signer: Signer) -> bytes:
        """Give the last line."""
        words = [
            ("user", self._user),
            ("lines", str(self._count)),
            ("sha256", self._hash.hexdigest()),
            ("exported_at", str(self._exported_at)),
        ]
        note = signer.sign(statement_text(KIND, self._origin, words))
        return line_of({"type": SIGNATURE, "note": note})


@dataclass(frozen=True)
class Export:
    """What a file is, once its signature was found good."""

    origin: str
    user: str
    exported_at: int
    """Microseconds since 1970."""
    counts: Mapping[str, int]
    """Lines, by their types."""


def verify_bundle(lines: Iterable[bytes], keys: Sequence[PublicKey]) -> Export:
    """Hold a file, line by line, against its signature. Raises BundleBroken."""
    told, counts, last = sha256(), dict[str, int](), b""
    for line in _before_last(lines):
        if isinstance(line, _Last):
            last = line.content
            continue
        told.update(line)
        kind = _object(line).get("type")
        if kind not in _TYPES:
            raise BundleBroken("a line is of no known type")
        counts[str(kind)] = counts.get(str(kind), 0) + 1
    content = _object(last)
    note = content.get("note")
    if content.get("type") != SIGNATURE or not isinstance(note, str):
        raise BundleBroken("the file does not end with its signature: it was cut")
    try:
        origin, words = statement_words(KIND, note, keys)
        signed = (number_of(value_of(words, "lines")), value_of(words, "sha256"))
        user, exported_at = value_of(words, "user"), number_of(value_of(words, "exported_at"))
    except NoteBroken as error:
        raise BundleBroken(f"the signature: {error}") from error
    if signed != (sum(counts.values()), told.hexdigest()):
        raise BundleBroken("the lines are not those that were signed")
    return Export(origin, user, exported_at, counts)


@dataclass(frozen=True)
class _Last:
    content: bytes


def _before_last(lines: Iterable[bytes]) -> "Iterator[bytes | _Last]":
    """Give all lines, the last one marked."""
    held: bytes | None = None
    for line in lines:
        if held is not None:
            yield held
        held = line
    yield _Last(held or b"")


def _object(line: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BundleBroken("a line is no JSON") from error
    if not isinstance(found, dict) or line_of(found) != line:
        raise BundleBroken("a line is not written as lines of exports are")
    return found
