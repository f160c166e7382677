"""Workbooks (ECMA-376 part 1, SpreadsheetML), drawn into blocks: a row each, a table each sheet.

A formula counts as the value that was saved with it; one without a value is noted. Merged cells
all hold the value of the first. Hidden sheets are noted and not read; hidden rows and columns are.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.inventory.compliance.documents.blocks import Block, DocumentRefused, Extract
from services.inventory.compliance.documents.office import Package, opened, title_of

MAX_COLUMNS = 1_000
MAX_MERGED = 100_000
"""Cells that merging may fill."""
_CELL = re.compile(r"^([A-Z]{1,3})([0-9]{1,7})$")
_COMMENTS = re.compile(r"^xl/(?:[a-z]+/)?(?:threaded)?comments?[0-9]*\.xml$", re.IGNORECASE)
_DATE_FORMATS = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
_LITERAL = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
_TIMES = "ymdhs"


@dataclass
class _Sheet:
    name: str
    relation: str
    hidden: bool


class _Book:
    """Reads `xl/workbook.xml`: sheets, and from when days are counted."""

    def __init__(self) -> None:
        self.sheets: list[_Sheet] = []
        self.from_1904 = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "sheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append(_Sheet(attributes.get("name", ""), attributes.get("id", ""), hidden))
        elif tag == "workbookPr":
            self.from_1904 = attributes.get("date1904", "0") in ("1", "true")

    def end(self, _tag: str) -> None: ...

    def text(self, _data: str) -> None: ...


class _Relations:
    """Reads `xl/_rels/workbook.xml.rels`: parts by their ids."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes.get("Target", "")
            whole = target[1:] if target.startswith("/") else f"xl/{target}"
            self.parts[attributes.get("Id", "")] = posixpath.normpath(whole)

    def end(self, _tag: str) -> None: ...

    def text(self, _data: str) -> None: ...


class _Strings:
    """Reads `xl/sharedStrings.xml`; phonetic hints are no words."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._inside = False
        self._phonetic = False

    def start(self, tag: str, _attributes: Mapping[str, str]) -> None:
        if tag == "si":
            self._parts = []
        elif tag == "rPh":
            self._phonetic = True
        self._inside = tag == "t" and not self._phonetic

    def end(self, tag: str) -> None:
        self._inside = False
        if tag == "si":
            self.found.append("".join(self._parts))
        elif tag == "rPh":
            self._phonetic = False

    def text(self, data: str) -> None:
        if self._inside:
            self._parts.append(data)


class _Styles:
    """Reads `xl/styles.xml`: which styles of cells show a date."""

    def __init__(self) -> None:
        self.dates: list[bool] = []
        self._codes: dict[str, str] = {}
        self._in_cells = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "numFmt":
            self._codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif tag == "cellXfs":
            self._in_cells = True
        elif tag == "xf" and self._in_cells:
            self.dates.append(self._is_date(attributes.get("numFmtId", "0")))

    def _is_date(self, number: str) -> bool:
        if number in self._codes:
            code = _LITERAL.sub("", self._codes[number]).lower()
            return any(letter in code for letter in _TIMES) and "general" not in code
        return number.isdigit() and int(number) in _DATE_FORMATS

    def end(self, tag: str) -> None:
        if tag == "cellXfs":
            self._in_cells = False

    def text(self, _data: str) -> None: ...


@dataclass
class _Cell:
    """The cell that is being read."""

    column: int = 0
    kind: str = "n"
    style: int = 0
    value: list[str] = field(default_factory=list)
    formula: bool = False


class _Rows:
    """Reads a sheet: its rows by number, each with its cells by column, and what is merged."""

    def __init__(self, strings: list[str], dates: list[bool], epoch: datetime) -> None:
        self.rows: dict[int, dict[int, str]] = {}
        self.merged: list[tuple[int, int, int, int]] = []
        self.notes: list[tuple[str, str]] = []

        self._strings, self._dates, self._epoch = strings, dates, epoch
        self._row = 0
        self._cell = _Cell()
        self._taking = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "row":
            number = attributes.get("r", "")
            self._row = int(number) if number.isdigit() and len(number) < 8 else self._row + 1
            self._cell = _Cell()
        elif tag == "c":
            self._begin(attributes)
        elif tag == "f":
            self._cell.formula = True
        elif tag in ("v", "t"):
            self._taking = True
        elif tag == "mergeCell":
            corners = [_position(each) for each in attributes.get("ref", "").split(":")]
            if len(corners) == 2 and corners[0] and corners[1]:
                self.merged.append((*corners[0], *corners[1]))

    def _begin(self, attributes: Mapping[str, str]) -> None:
        place = _position(attributes.get("r", ""))
        column = place[1] if place else self._cell.column + 1
        style = attributes.get("s", "0")
        self._cell = _Cell(column, attributes.get("t", "n"), int(style) if style.isdigit() else 0)

    def text(self, data: str) -> None:
        if self._taking:
            self._cell.value.append(data)

    def end(self, tag: str) -> None:
        if tag in ("v", "t"):
            self._taking = False
        elif tag == "c":
            self._end_cell()

    def _end_cell(self) -> None:
        cell = self._cell
        written = "".join(cell.value)
        place = f"cell {_letters(cell.column)}{self._row}"
        if cell.formula and not written:
            self.notes.append((place, "is a formula without a saved value"))
        if cell.kind == "e":
            self.notes.append((place, f"holds the error {written[:32]}"))
            return
        if not written:
            return
        if cell.column > MAX_COLUMNS:
            self.notes.append((place, f"stands right of column {_letters(MAX_COLUMNS)}"))
            return
        self.rows.setdefault(self._row, {})[cell.column] = self._shown(cell, written)

    def _shown(self, cell: _Cell, written: str) -> str:
        if cell.kind == "s":
            index = int(written) if written.isdigit() else len(self._strings)
            return self._strings[index] if index < len(self._strings) else ""
        if cell.kind == "b":
            return "yes" if written == "1" else "no"
        if cell.kind == "n" and cell.style < len(self._dates) and self._dates[cell.style]:
            return self._day(written)
        return written

    def _day(self, written: str) -> str:
        try:
            return (self._epoch + timedelta(days=float(written))).date().isoformat()
        except (ValueError, OverflowError):
            return written

    def fill_merged(self) -> None:
        """Give merged cells the value of the first; beyond a bound they stay empty."""
        filled = 0
        for top, left, bottom, right in self.merged:
            value = self.rows.get(top, {}).get(left, "")
            count = (bottom - top + 1) * (right - left + 1)
            # What is merged across columns alone is a heading over them, not a value of each.
            if not value or bottom == top or count <= 0 or filled + count > MAX_MERGED:
                continue
            filled += count
            for row in range(top + 1, bottom + 1):
                if row in self.rows:
                    self.rows[row].setdefault(left, value)


def _position(reference: str) -> tuple[int, int] | None:
    """Give row and column, from 1, of a reference such as `B5`."""
    match = _CELL.match(reference)
    if match is None:
        return None
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - 64
    return int(match[2]), column


def _letters(column: int) -> str:
    found = ""
    while column > 0:
        column, left = divmod(column - 1, 26)
        found = chr(65 + left) + found
    return found


def read_workbook(content: bytes) -> Extract:
    """Draw an XLSX into blocks; raises DocumentRefused if it is none that can be read."""
    extract = Extract()
    with opened(content) as package:
        book, relations, styles = _Book(), _Relations(), _Styles()
        package.read("xl/workbook.xml", book)
        if not book.sheets:
            raise DocumentRefused("it is no workbook: it has no sheet")
        package.read("xl/_rels/workbook.xml.rels", relations)
        strings = _Strings()
        package.read("xl/sharedStrings.xml", strings)
        package.read("xl/styles.xml", styles)
        extract.title = title_of(package)
        if any(_COMMENTS.match(name) for name in package.names):
            extract.notes.append(("comments", "cells have comments, which are not read"))
        epoch = datetime(1904, 1, 1) if book.from_1904 else datetime(1899, 12, 30)  # noqa: DTZ001  # days have no zone
        for number, sheet in enumerate(book.sheets, start=1):
            place = f"sheet {sheet.name!r}"
            part = relations.parts.get(sheet.relation, "")
            if sheet.hidden:
                extract.notes.append((place, "is hidden and is not read"))
            elif part not in package.names:
                extract.notes.append((place, "is not in the file, or is no sheet of cells"))
            else:
                rows = _Rows(strings.found, styles.dates, epoch)
                _read_sheet(package, part, rows)
                _add_rows(extract, rows, place, number)
    return extract


def _read_sheet(package: Package, part: str, rows: _Rows) -> None:
    package.read(part, rows)
    rows.fill_merged()


def _add_rows(extract: Extract, rows: _Rows, place: str, table: int) -> None:
    extract.notes += [(f"{place}, {where}", problem) for where, problem in rows.notes]
    for number in sorted(rows.rows):
        cells = rows.rows[number]
        texts = tuple(cells.get(column, "") for column in range(1, max(cells) + 1))
        extract.add(Block(f"{place}, row {number}", texts, table))
