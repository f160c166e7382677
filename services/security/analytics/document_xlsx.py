"""Documents as workbooks (Office Open XML, ISO/IEC 29500): a sheet for each table.

Texts are written as texts, whatever they begin with: nothing in them is a formula or a link. Those
that would become one if somebody edited the cell are marked as quoted.
"""

import io
import math
import re
from datetime import UTC, datetime
from typing import Any

import xlsxwriter

from services.security.analytics.documents import Report, is_formula, text_of
from services.security.errors import ReportTooLarge

LONGEST_CELL = 32_767
"""Characters of a cell, as UTF-16 counts them."""
_EXACT = 2**53
"""Beyond it a spreadsheet's numbers are not exact."""
_SHEET_NAME = 31
"""Characters of a sheet's name, as UTF-16 counts them."""
_NOT_IN_NAMES = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_NO_CHARACTERS = re.compile("[\ufffe\uffff]")
"""What XML cannot hold and the format has no escape for; it has one for controls."""
_MADE = datetime(2000, 1, 1, tzinfo=UTC)
"""Told of every workbook, so that the same tables give the same bytes."""


def xlsx_document(report: Report) -> bytes:
    """Write a workbook; ReportTooLarge for a text that no cell holds."""
    content = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(content, options) as book:
        # The format has no zones.
        book.set_properties({"title": _clean(report.title), "created": _MADE.replace(tzinfo=None)})
        bold = book.add_format({"bold": True})
        quoted = book.add_format({"quote_prefix": True})
        taken: set[str] = set()
        for table in report.tables:
            sheet = book.add_worksheet(_name(table.title, taken))
            sheet.freeze_panes(1, 0)
            for place, name in enumerate(table.columns):
                _write(sheet, 0, place, name, bold)
            for number, row in enumerate(table.rows, start=1):
                for place, value in enumerate(row):
                    formula = isinstance(value, str) and is_formula(value)
                    _write(sheet, number, place, value, quoted if formula else None)
    return content.getvalue()


def _write(sheet: Any, row: int, column: int, value: Any, form: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _EXACT:
        sheet.write_number(row, column, value)
    else:
        text = _clean(text_of(value))
        if len(text.encode("utf-16-le")) > 2 * LONGEST_CELL:
            raise ReportTooLarge(f"{LONGEST_CELL} characters in a cell")
        sheet.write_string(row, column, text, form)


def _name(title: str, taken: set[str]) -> str:
    """Give a sheet a name that no other sheet has, in any case."""
    clean = _NOT_IN_NAMES.sub(" ", _clean(title)).strip(" '") or "Table"
    name, number = _cut(clean, _SHEET_NAME).rstrip(" '"), 1
    while name.lower() in taken or name.lower() == "history":
        number += 1
        name = f"{_cut(clean, _SHEET_NAME - 5).rstrip()} {number}"
    taken.add(name.lower())
    return name


def _cut(text: str, longest: int) -> str:
    """Keep so many characters as UTF-16 counts them, none of them half."""
    return text.encode("utf-16-le")[: 2 * longest].decode("utf-16-le", errors="ignore")


def _clean(text: str) -> str:
    return _NO_CHARACTERS.sub("\ufffd", text)
