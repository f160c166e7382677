"""The report as it was uploaded, kept in a temporary file once it is no longer small.

It is received whole before it is read: its digest decides whether it was imported before, some
formats name a rule after the results that need it, and a slow client holds no parser open.
"""

import codecs
import hashlib
import io
from collections.abc import Iterable
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Self

from services.security.importing.limits import Limits, ReportTooLarge

CHUNK = 64 * 1024
# The longer marks first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Spool:
    """`write` chunks as they come, then open `reader` as often as needed, one after the other."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.size = 0
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = SpooledTemporaryFile(  # noqa: SIM115 - lives until close(): read again and again
            self.limits.memory_bytes
        )

    @classmethod
    def of(cls, chunks: Iterable[bytes], limits: Limits | None = None) -> Self:
        """Everything of an iterator; `ReportTooLarge` as soon as it is."""
        spool = cls(limits)
        try:
            for chunk in chunks:
                spool.write(chunk)
        except BaseException:
            spool.close()
            raise
        return spool

    def write(self, chunk: bytes) -> None:
        """Appends; raises ReportTooLarge before anything beyond the limit is kept."""
        self.size += len(chunk)
        if self.size > self.limits.report_bytes:
            raise ReportTooLarge(self.limits.report_bytes)
        self._digest.update(chunk)
        self._file.seek(0, io.SEEK_END)
        self._file.write(chunk)

    @property
    def sha256(self) -> str:
        """The digest of the bytes as uploaded, in hexadecimal."""
        return self._digest.hexdigest()

    @property
    def position(self) -> int:
        """How many of the bytes the reader has taken."""
        return self._file.tell()

    def head(self, size: int = 4) -> bytes:
        """The first bytes as uploaded."""
        self._file.seek(0)
        return self._file.read(size)

    def raw(self) -> IO[bytes]:
        """The bytes as uploaded, from the start; one reader at a time."""
        self._file.seek(0)
        return self._file

    def reader(self) -> "Utf8":
        """The text as UTF-8 without a byte order mark, from the start; one reader at a time."""
        head = self.head()
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return Utf8(self.raw(), encoding)
        raw = self.raw()
        if head.startswith(codecs.BOM_UTF8):
            raw.seek(len(codecs.BOM_UTF8))
        return Utf8(raw, _unmarked(head))

    def close(self) -> None:
        """Removes the temporary file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Utf8:
    """Reads bytes in some Unicode encoding as UTF-8; what cannot be decoded becomes U+FFFD."""

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        self._source = source
        # UTF-8 itself passes untouched: whether it is valid shows in each result on its own.
        wanted = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)
        self._decoder = wanted("replace") if wanted else None

    def read(self, size: int) -> bytes:
        """Some bytes, at most about `size`; none at the end."""
        chunk = self._source.read(size)
        while self._decoder and chunk:
            if text := self._decoder.decode(chunk):
                return text.encode(errors="replace")
            chunk = self._source.read(size)
        if self._decoder:
            return self._decoder.decode(b"", final=True).encode(errors="replace")
        return chunk


def _unmarked(head: bytes) -> str:
    """RFC 4627 section 3: where the zeros are among the first four bytes tells the encoding."""
    first, second, third, fourth = (byte == 0 for byte in head.ljust(4, b" ")[:4])
    return {
        (True, True, True, False): "utf-32-be",
        (False, True, True, True): "utf-32-le",
        (True, False, True, False): "utf-16-be",
        (False, True, False, True): "utf-16-le",
    }.get((first, second, third, fourth), "utf-8")
