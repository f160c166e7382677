"""From bytes to blocks: one function for each format, libraries loaded when they are needed."""

from collections.abc import Callable, Mapping

from services.inventory.compliance.documents.blocks import Extract
from services.inventory.compliance.documents.layout import tabulate
from services.inventory.compliance.documents.plain_text import (
    decode,
    read_markdown,
    read_separated,
    read_text,
)


def _csv(content: bytes) -> Extract:
    from services.inventory.compliance.documents.recognition import delimiter_of

    extract = Extract()
    text = decode(content, extract)
    read_separated(text, delimiter_of(text), extract)
    return extract


def _markdown(content: bytes) -> Extract:
    extract = Extract()
    read_markdown(decode(content, extract), extract)
    return extract


def _text(content: bytes) -> Extract:
    extract = Extract()
    read_text(decode(content, extract), extract)
    extract.blocks = tabulate(extract.blocks)
    return extract


def _word(content: bytes) -> Extract:
    from services.inventory.compliance.documents.word import read_word

    return read_word(content)


def _workbook(content: bytes) -> Extract:
    from services.inventory.compliance.documents.workbook import read_workbook

    return read_workbook(content)


def _pdf(content: bytes) -> Extract:
    from services.inventory.compliance.documents.pdf import read_pdf

    extract = read_pdf(content)
    extract.blocks = tabulate(extract.blocks)
    return extract


EXTRACTORS: Mapping[str, Callable[[bytes], Extract]] = {
    "SSP_FORMAT_CSV": _csv,
    "SSP_FORMAT_MARKDOWN": _markdown,
    "SSP_FORMAT_TEXT": _text,
    "SSP_FORMAT_DOCX": _word,
    "SSP_FORMAT_XLSX": _workbook,
    "SSP_FORMAT_PDF": _pdf,
}
