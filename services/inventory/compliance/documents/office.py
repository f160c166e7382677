"""The parts of Office files (ECMA-376): ZIP archives of XML, read within bounds."""

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol
from xml.parsers import expat

from services.inventory.compliance.documents.blocks import DocumentRefused

MAX_PART_BYTES = 128 << 20
MAX_PARTS = 10_000
_LISTED = b"PK\x01\x02"
"""Begins what the central directory says of a part (APPNOTE 6.3.10, 4.3.12)."""
_CHUNK = 1 << 16
_BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError)


class Handler(Protocol):
    """Takes the elements of a part, their names without namespaces."""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None: ...

    def end(self, tag: str) -> None: ...

    def text(self, data: str) -> None: ...


class Package:
    """The parts of one file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = frozenset(archive.namelist())
        self._left = MAX_PART_BYTES

    def read(self, name: str, handler: Handler) -> None:
        """Send a part's elements to a handler; a missing part has none.

        Raises DocumentRefused if it is no XML, declares entities, or if the parts together are
        larger than 128 MiB.
        """
        if name not in self.names:
            return
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = lambda tag, given: handler.start(
            _local(tag), {_local(key): value for key, value in given.items()}
        )
        parser.EndElementHandler = lambda tag: handler.end(_local(tag))
        parser.CharacterDataHandler = handler.text
        # Office files have no document type: it is how entities are made to expand.
        parser.StartDoctypeDeclHandler = _refuse_doctype
        try:
            with self._archive.open(name) as part:
                while chunk := part.read(_CHUNK):
                    self._left -= len(chunk)
                    if self._left < 0:
                        size = f"{MAX_PART_BYTES >> 20} MiB"
                        raise DocumentRefused(f"it holds more than {size} when unpacked")
                    parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            problem = f"its part {name} is no XML: {expat.ErrorString(error.code)}"
            raise DocumentRefused(problem) from None
        except (*_BROKEN, OSError, EOFError, RuntimeError) as error:
            raise DocumentRefused(f"its part {name} cannot be unpacked: {error}") from None


def _refuse_doctype(*_: object) -> None:
    raise DocumentRefused("it declares a document type, which no Office file does")


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


@contextmanager
def opened(content: bytes) -> Iterator[Package]:
    """Open an Office file; raises DocumentRefused if it is no archive or an encrypted one."""
    # Asked before its list is read: a million names would fill the memory.
    if content.count(_LISTED) > MAX_PARTS:
        raise DocumentRefused(f"it holds more than {MAX_PARTS:,} parts")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield Package(archive)
    except (*_BROKEN, ValueError, OSError) as error:
        raise DocumentRefused(f"it is a broken ZIP archive: {error}") from None


class Title:
    """Reads a file's title from its core properties (ECMA-376 part 2)."""

    def __init__(self) -> None:
        self.value = ""
        self._inside = False

    def start(self, tag: str, _attributes: Mapping[str, str]) -> None:
        self._inside = tag == "title"

    def end(self, _tag: str) -> None:
        self._inside = False

    def text(self, data: str) -> None:
        if self._inside:
            self.value += data


def title_of(package: Package) -> str:
    title = Title()
    package.read("docProps/core.xml", title)
    return " ".join(title.value.split())
