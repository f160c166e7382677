"""PDF files that hold text, drawn into blocks: the lines of each page as they are laid out.

Images of text are not read. Lines that repeat at the edge of most pages are no part of the text.
"""

import io
import logging
import re
from collections import Counter

import pypdf
from pypdf.errors import PyPdfError

from services.inventory.compliance.documents.blocks import Block, DocumentRefused, Extract
from services.inventory.compliance.documents.columns import columns_of
from services.inventory.compliance.documents.plain_text import CONTROLS, cells_of_line
from services.inventory.compliance.documents.vocabulary import boxes, is_status, label_of, reference

MAX_PAGES = 5_000
_EDGE = 2
"""Lines at the top and at the bottom of a page that may be its header and footer."""
_FEWEST_PAGES = 3
_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(r"\bpage\b|^\W*\d+\W*$|\b\d+ (?:of|/) \d+\b", re.IGNORECASE)


def read_pdf(content: bytes) -> Extract:
    """Draw a PDF into blocks; raises DocumentRefused if it holds no text that can be read."""
    # Its warnings are of the file's make and would say nothing to who sent it.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    extract = Extract()
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentRefused("it is encrypted")
        if len(reader.pages) > MAX_PAGES:
            raise DocumentRefused(f"it has more than {MAX_PAGES:,} pages")
        title = reader.metadata.title if reader.metadata else None
        extract.title = " ".join(str(title or "").split()).translate(CONTROLS)
        pages = [_lines(page, number, extract) for number, page in enumerate(reader.pages, 1)]
    except PyPdfError as error:
        raise DocumentRefused(f"it is no PDF that can be read: {error}") from None
    if not any(pages):
        raise DocumentRefused("it holds no text: images of pages are not read")
    repeated = _repeated(pages)
    for line in repeated.values():
        problem = f"{line[:64]!r} repeats at the edge of pages: a header or footer, not read"
        extract.notes.append(("every page", problem))
    for number, lines in enumerate(pages, start=1):
        for index, line in enumerate(lines, start=1):
            at_edge = index <= _EDGE or index > len(lines) - _EDGE
            if not (at_edge and _shape(line) in repeated):
                extract.add(Block(f"page {number}, line {index}", (line,)))
    return extract


def _lines(page: pypdf.PageObject, number: int, extract: Extract) -> list[str]:
    try:
        text = page.extract_text(extraction_mode="layout", layout_mode_space_vertically=False)
    except PyPdfError:
        raise
    except Exception as error:  # noqa: BLE001  # the library raises anything on a broken page
        extract.notes.append((f"page {number}", f"cannot be read: {type(error).__name__}"))
        return []
    lines = text.translate(CONTROLS).split("\n")
    found = [line.rstrip() for line in lines if line.strip()]
    if not found:
        extract.notes.append((f"page {number}", "holds no text"))
    return found


def _shape(line: str) -> str:
    """Give a line, of a page's number without its digits: `Page 3 of 9` is on every page."""
    words = " ".join(line.split())
    return _DIGITS.sub("#", words) if _PAGE_NUMBER.search(words) else words


def _tells_of_controls(line: str) -> bool:
    """Tell whether a line is a control's, a label's or the head of a table: these repeat, too."""
    if reference(line) or columns_of(cells_of_line(line)) or boxes(line) or is_status(line):
        return True
    return label_of(line.partition(":")[0]) is not None


def _repeated(pages: list[list[str]]) -> dict[str, str]:
    """Find the headers and footers, lines at the edges of most pages, by their shapes."""
    full = [lines for lines in pages if lines]
    if len(full) < _FEWEST_PAGES:
        return {}
    seen: Counter[str] = Counter()
    first: dict[str, str] = {}
    for lines in full:
        edges = {_shape(each): each for each in lines[:_EDGE] + lines[-_EDGE:]}
        seen.update(edges.keys())
        first = edges | first
    return {
        shape: first[shape].strip()
        for shape, count in seen.items()
        if count * 2 > len(full) and not _tells_of_controls(first[shape])
    }
