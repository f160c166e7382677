"""Documents as PDF (ISO 32000), with the fonts in them: nothing is fetched, nothing runs."""

import io
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from services.security.analytics.documents import Report, Table, period_of, text_of

_PLAIN, _BOLD = "Vera", "VeraBd"
"""Bitstream Vera, which reportlab brings; its licence lets documents hold it."""
_WIDTH, _HEIGHT = landscape(A4)
_MARGIN = 36.0
_SIZE, _LEADING, _GAP = 8.0, 10.0, 6.0
_TITLE = 16.0
_MOST_COLUMNS = 12
"""More would be too narrow: each row is a list of its values then."""
_SAMPLE = 200
"""Rows that tell how wide columns are."""
_LEAST = 30.0


def pdf_document(report: Report) -> bytes:
    """Write pages; characters that the font lacks stand as their number, such as [U+4E2D]."""
    content = io.BytesIO()
    for name in (_PLAIN, _BOLD):
        registerFont(TTFont(name, f"{name}.ttf"))
    canvas = Canvas(content, (_WIDTH, _HEIGHT), invariant=1, pageCompression=1)
    canvas.setTitle(_shown(report.title))
    _Pages(canvas).write(report)
    canvas.save()
    return content.getvalue()


class _Pages:
    """Fills pages from the top."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._number = 1
        self._place = _HEIGHT - _MARGIN

    def write(self, report: Report) -> None:
        self._paragraph(report.title, _BOLD, _TITLE)
        for name, value in period_of(report).items():
            self._paragraph(f"{name}: {value}", _PLAIN, _SIZE)
        for table in report.tables:
            self._space(2 * _GAP)
            self._paragraph(table.title, _BOLD, _SIZE + 2)
            if len(table.columns) > _MOST_COLUMNS:
                self._listed(table)
            else:
                self._table(table)
        self._foot()

    def _listed(self, table: Table) -> None:
        for row in table.rows:
            self._space(_GAP)
            for name, value in zip(table.columns, row, strict=True):
                self._paragraph(f"{name}: {text_of(value)}", _PLAIN, _SIZE)

    def _table(self, table: Table) -> None:
        widths = _widths(table)
        head = _Line(table.columns, widths, _BOLD)
        self._line(head)
        for row in table.rows:
            line = _Line([text_of(value) for value in row], widths, _PLAIN)
            if self._place - line.height < _MARGIN and line.height < _HEIGHT - 4 * _MARGIN:
                self._next()
                self._line(head)
            self._line(line)

    def _line(self, line: "_Line") -> None:
        """Write cells beside each other; what is longer than a page goes on on the next."""
        for place in range(line.depth):
            self._space(_LEADING)
            for left, cell in zip(line.lefts, line.cells, strict=True):
                if place < len(cell):
                    self._text(left, cell[place], line.font, _SIZE)
        self._space(_GAP / 2)
        self._canvas.setLineWidth(0.25)
        self._canvas.line(_MARGIN, self._place, _WIDTH - _MARGIN, self._place)

    def _paragraph(self, text: str, font: str, size: float) -> None:
        for part in _wrapped(_shown(text), font, size, _WIDTH - 2 * _MARGIN):
            self._space(size + 2)
            self._text(_MARGIN, part, font, size)

    def _text(self, left: float, text: str, font: str, size: float) -> None:
        self._canvas.setFont(font, size)
        self._canvas.drawString(left, self._place, text)

    def _space(self, height: float) -> None:
        self._place -= height
        if self._place < _MARGIN:
            self._next()
            self._place -= height

    def _next(self) -> None:
        self._foot()
        self._canvas.showPage()
        self._number += 1
        self._place = _HEIGHT - _MARGIN

    def _foot(self) -> None:
        self._canvas.setFont(_PLAIN, _SIZE)
        self._canvas.drawRightString(_WIDTH - _MARGIN, _MARGIN / 2, str(self._number))


class _Line:
    """The cells of a row, each as its lines."""

    def __init__(self, texts: Sequence[str], widths: Sequence[float], font: str) -> None:
        self.font = font
        self.cells = [
            list(_wrapped(_shown(text), font, _SIZE, width - _GAP))
            for text, width in zip(texts, widths, strict=True)
        ]
        self.lefts = [_MARGIN + sum(widths[:place]) for place in range(len(widths))]
        self.depth = max(1, *(len(cell) for cell in self.cells))
        self.height = self.depth * _LEADING + _GAP / 2


def _widths(table: Table) -> Sequence[float]:
    """Share the page among columns by what they hold."""
    whole = _WIDTH - 2 * _MARGIN
    most = whole / 2
    wanted = []
    for place, name in enumerate(table.columns):
        texts = (_shown(text_of(row[place])) for row in table.rows[:_SAMPLE])
        widest = max((_measure(text, _PLAIN, _SIZE) for text in texts), default=0.0)
        wanted.append(min(most, max(_LEAST, widest, _measure(name, _BOLD, _SIZE)) + _GAP))
    return [each * whole / sum(wanted) for each in wanted]


def _wrapped(text: str, font: str, size: float, width: float) -> Iterator[str]:
    """Break a text into lines at spaces, and within words that are too long."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if _measure(longer, font, size) <= width:
            line = longer
            continue
        if line:
            yield line
        line = ""
        for each in word:
            if line and _measure(line + each, font, size) > width:
                yield line
                line = ""
            line += each
    if line:
        yield line


def _measure(text: str, font: str, size: float) -> float:
    widths = _glyphs(font)
    return sum(widths[ord(each)] for each in text) * size / 1000


@cache
def _glyphs(font: str) -> dict[int, float]:
    """Give the widths of a font's characters, in thousandths of its size."""
    face: Any = TTFont(font, f"{font}.ttf").face
    widths: dict[int, float] = face.charWidths
    return widths


@cache
def _known() -> frozenset[int]:
    """Give the characters that both fonts have."""
    return frozenset(_glyphs(_PLAIN).keys() & _glyphs(_BOLD).keys())


def _shown(text: str) -> str:
    """Write what the fonts lack as its number; other spaces are spaces."""
    known = _known()
    composed = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(each if ord(each) in known else f"[U+{ord(each):04X}]" for each in composed)
