"""Documents of tables: every format, exactly, and foreign text that would like to be more."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from secmesh.security.v1.vocabulary_pb2 import DocumentFormat, TrendPeriod
from services.security.analytics.documents import Report, Table
from services.security.analytics.formats import FORMATS
from services.security.analytics.metrics import period_start

EVIL = '=cmd|"x"<script>alert(1)</script>\n| a | _b_ [c](d)'
ROWS = [["é", -3, 1.5, None, True, {"a": [1]}], [EVIL, 0, 0.0, "-1", False, []]]
COLUMNS = ["text", "whole", "real", "maybe", "truth", "object"]
REPORT = Report("A & B", "2026-01-01T00:00:00Z", "", [Table("First <1>", COLUMNS, ROWS)])


def document(name: str, report: Report = REPORT) -> str:
    form = FORMATS[DocumentFormat.Value(f"DOCUMENT_FORMAT_{name}")]
    assert form.write(report) == form.write(report)
    return form.write(report).decode()


def test_json_keeps_the_types() -> None:
    assert json.loads(document("JSON")) == {
        "title": "A & B",
        "period_start_time": "2026-01-01T00:00:00Z",
        "tables": [{"title": "First <1>", "columns": COLUMNS, "rows": ROWS}],
    }


def test_csv_is_one_table_that_no_spreadsheet_runs() -> None:
    heading, first, second = csv.reader(io.StringIO(document("CSV"), newline=""))
    assert heading == COLUMNS
    assert first == ["é", "-3", "1.5", "", "true", '{"a":[1]}']
    assert second == [f"'{EVIL}", "0", "0.0", "'-1", "false", "[]"]


def test_csv_of_several_tables_names_each() -> None:
    table = Table("\uff1dA", ["x"], [[1]])
    text = document("CSV", Report("", "", "", [table, Table("B", ["y"], [])]))
    assert text == '"\'\uff1dA"\r\n"x"\r\n"1"\r\n\r\n"B"\r\n"y"\r\n'


def test_markdown_has_no_foreign_markup() -> None:
    lines = document("MARKDOWN").splitlines()
    assert lines[0] == "# A &amp; B"
    assert lines[2] == "period_start_time: 2026-01-01T00:00:00Z"
    assert lines[4] == "## First &lt;1&gt;"
    assert lines[6] == "| text | whole | real | maybe | truth | object |"
    assert lines[8].startswith("| é | -3 | 1.5 |  | true |")
    assert "<script>" not in lines[9]
    assert lines[9].replace("\\|", "").count("|") == len(COLUMNS) + 1


def test_html_has_no_foreign_markup() -> None:
    class Seen(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()

        def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002  # its base's own names
            self.tags.add(tag)

    seen, text = Seen(), document("HTML")
    seen.feed(text)
    assert seen.tags == {"html", "meta", "title", "h1", "p", "table", "caption", "tr", "th", "td"}
    assert "&lt;script&gt;" in text
    assert text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("period", "start"),
    [
        ("HOUR", 1_795_341_600),
        ("DAY", 1_795_305_600),
        ("WEEK", 1_794_787_200),
        ("MONTH", 1_793_491_200),
        ("QUARTER", 1_790_812_800),
    ],
)
def test_spans_begin_in_utc(period: str, start: int) -> None:
    # 2026-11-22T10:30:00Z, a Sunday.
    moment = 1_795_343_400_000_000
    begun = period_start(TrendPeriod.Value(f"TREND_PERIOD_{period}"), moment)
    assert begun == start * 1_000_000
