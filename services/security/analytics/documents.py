"""Documents of tables as text; the same tables give the same bytes."""

import csv
import html
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

_FORMULA = ("=", "+", "-", "@", "|", "%")
"""What a spreadsheet would run a cell for (OWASP, CSV injection)."""
_MARKDOWN = str.maketrans(
    {each: f"\\{each}" for each in "\\`*_{}[]()#|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


@dataclass(frozen=True)
class Table:
    """Rows of plain values: texts, numbers, truths, None, and lists and objects of them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    collection: str = ""
    """Whose records it is made of."""


@dataclass(frozen=True)
class Report:
    """What a document says; times as RFC 3339, empty where there is none."""

    title: str
    start: str
    end: str
    tables: Sequence[Table]


def json_document(report: Report) -> bytes:
    """Write values by their types."""
    tables = [
        {"title": each.title, "columns": list(each.columns), "rows": [list(r) for r in each.rows]}
        for each in report.tables
    ]
    whole = {"title": report.title, **period_of(report), "tables": tables}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n"


def csv_document(report: Report) -> bytes:
    """Write rows as RFC 4180 has them; several tables under their titles, a line between."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    for number, table in enumerate(report.tables):
        if number:
            text.write("\r\n")
        if len(report.tables) > 1:
            writer.writerow([_cell(table.title)])
        writer.writerow([_cell(each) for each in table.columns])
        writer.writerows([_safe(value) for value in row] for row in table.rows)
    return text.getvalue().encode()


def markdown_document(report: Report) -> bytes:
    """Write tables of GitHub Flavored Markdown."""
    return "\n".join(_markdown(report)).encode() + b"\n"


def _markdown(report: Report) -> Iterator[str]:
    yield f"# {_plain(report.title)}"
    for name, value in period_of(report).items():
        yield f"\n{name}: {value}"
    for table in report.tables:
        yield f"\n## {_plain(table.title)}\n"
        yield _line([_plain(each) for each in table.columns])
        yield _line(["---"] * len(table.columns))
        for row in table.rows:
            yield _line([_plain(text_of(value)) for value in row])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Make text that is no markup, on one line."""
    return " ".join(text.split()).translate(_MARKDOWN)


def html_document(report: Report) -> bytes:
    """Write a page without scripts, styles from elsewhere, or markup out of records."""
    return "\n".join(_html(report)).encode() + b"\n"


def _html(report: Report) -> Iterator[str]:
    title = html.escape(report.title)
    yield '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">'
    yield f"<title>{title}</title>\n<h1>{title}</h1>"
    for name, value in period_of(report).items():
        yield f"<p>{name}: {html.escape(value)}</p>"
    for table in report.tables:
        yield f"<table>\n<caption>{html.escape(table.title)}</caption>"
        yield _row("th", table.columns)
        for row in table.rows:
            yield _row("td", row)
        yield "</table>"
    yield "</html>"


def _row(tag: str, values: Sequence[Any]) -> str:
    cells = "".join(f"<{tag}>{html.escape(text_of(value))}</{tag}>" for value in values)
    return f"<tr>{cells}</tr>"


def period_of(report: Report) -> Mapping[str, str]:
    """Give the times that a report is about, as far as there are any."""
    times = {"period_start_time": report.start, "period_end_time": report.end}
    return {name: value for name, value in times.items() if value}


def text_of(value: Any) -> str:
    """Write a value as a person reads it; empty if it is absent."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)


def _safe(value: Any) -> str:
    # A negative number is no formula.
    number = isinstance(value, int | float)
    return text_of(value) if number else _cell(text_of(value))


def _cell(text: str) -> str:
    return f"'{text}" if is_formula(text) else text


def is_formula(text: str) -> bool:
    """Tell whether a spreadsheet would run a text."""
    # Full-width signs begin a formula too.
    return unicodedata.normalize("NFKC", text).lstrip().startswith(_FORMULA)
