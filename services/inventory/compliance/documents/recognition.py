"""Which format a document is in, by its content first and the name of its file then."""

import csv
import re
from typing import TypeAlias

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.documents.blocks import DocumentRefused, Extract
from services.inventory.compliance.documents.columns import columns_of, headless
from services.inventory.compliance.documents.office import opened
from services.inventory.compliance.documents.plain_text import DELIMITERS, decode

Format: TypeAlias = ssp_pb2.SspFormat.ValueType
_HEAD = 64 * 1024
_FIRST_LINES = 40
_ENDINGS: dict[str, Format] = {
    "json": ssp_pb2.SSP_FORMAT_OSCAL_JSON,
    "yaml": ssp_pb2.SSP_FORMAT_OSCAL_YAML,
    "yml": ssp_pb2.SSP_FORMAT_OSCAL_YAML,
    "csv": ssp_pb2.SSP_FORMAT_CSV,
    "tsv": ssp_pb2.SSP_FORMAT_CSV,
    "md": ssp_pb2.SSP_FORMAT_MARKDOWN,
    "markdown": ssp_pb2.SSP_FORMAT_MARKDOWN,
    "txt": ssp_pb2.SSP_FORMAT_TEXT,
    "text": ssp_pb2.SSP_FORMAT_TEXT,
}
_REFUSED = {
    b"\xd0\xcf\x11\xe0": "an old or encrypted Office file; save it as DOCX or XLSX",
    b"{\\rtf": "RTF; save it as DOCX",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"II*\x00": "an image",
}
_OSCAL = re.compile(
    r"^[\"']?(?:system-security-plan|catalog|profile|component-definition|mapping-collection"
    r"|assessment-plan|assessment-results|plan-of-action-and-milestones)[\"']?[ \t]*:",
    re.MULTILINE,
)
_XML = re.compile(r"^\s*<(?:\?xml|!doctype|html|[\w:]*system-security-plan)", re.IGNORECASE)
_MARKDOWN = re.compile(r"^ {0,3}#{1,6} \S|^\|.*\|[ \t]*$|^\s*[*-] \[[ xX]\] ", re.MULTILINE)


def recognise(content: bytes, file_name: str) -> Format:
    """Give the format; raises DocumentRefused, saying what it is, if it is none that is read."""
    head = content[:1024].lstrip()
    for magic, what in _REFUSED.items():
        if head.startswith(magic):
            raise DocumentRefused(f"it is {what}")
    if b"%PDF-" in content[:1024]:
        return ssp_pb2.SSP_FORMAT_PDF
    if content.startswith(b"PK\x03\x04"):
        return _archive(content)
    ending = file_name.lower().rpartition(".")[2] if "." in file_name else ""
    text = decode(content[:_HEAD] if len(content) <= _HEAD else _whole_lines(content), Extract())
    known = _ENDINGS.get(ending)
    if text.lstrip().startswith("{") and known != ssp_pb2.SSP_FORMAT_OSCAL_YAML:
        return ssp_pb2.SSP_FORMAT_OSCAL_JSON
    if known is not None:
        return known
    if _XML.match(text):
        raise DocumentRefused("it is XML or HTML; OSCAL is read in JSON and YAML")
    return _by_text(text)


def _whole_lines(content: bytes) -> bytes:
    """Give the beginning, without a character that the cut would part."""
    head = content[:_HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head:
        return head
    return head[: head.rfind(b"\n") + 1] or head


def _archive(content: bytes) -> Format:
    with opened(content) as package:
        names = package.names
    if "word/document.xml" in names:
        return ssp_pb2.SSP_FORMAT_DOCX
    if "xl/workbook.xml" in names:
        return ssp_pb2.SSP_FORMAT_XLSX
    raise DocumentRefused("it is a ZIP archive that is neither DOCX nor XLSX")


def _by_text(text: str) -> Format:
    if _OSCAL.search(text):
        return ssp_pb2.SSP_FORMAT_OSCAL_YAML
    if delimiter_of(text, guess=True):
        return ssp_pb2.SSP_FORMAT_CSV
    return ssp_pb2.SSP_FORMAT_MARKDOWN if _MARKDOWN.search(text) else ssp_pb2.SSP_FORMAT_TEXT


def delimiter_of(text: str, *, guess: bool = False) -> str:
    """Give what parts the values of a table; empty if the lines are none.

    Args:
        guess: Whether the text may be no table: then only a head that is known counts.
    """
    lines = [line for line in text.splitlines() if line.strip()][:_FIRST_LINES]
    if not lines:
        return "" if guess else ","
    best, most = "", 0
    for delimiter in DELIMITERS:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter))
        except csv.Error:
            continue
        if not lines[0].startswith("|") and any(len(row) > 1 and columns_of(row) for row in rows):
            return delimiter
        if guess and len(rows) > 1 and all(headless(row) for row in rows):
            return delimiter
        cells = sum(len(row) - 1 for row in rows)
        if cells > most:
            best, most = delimiter, cells
    return "" if guess else best or ","
