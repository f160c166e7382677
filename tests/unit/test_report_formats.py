"""Documents for other programs, read back by programs that others wrote."""

import io
import json
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import openpyxl
import pypdf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mesh.errors import FieldInvalid
from secmesh.security.v1.vocabulary_pb2 import DocumentFormat
from services.security.analytics.documents import Report, Table
from services.security.analytics.formats import FORMATS
from services.security.errors import ReportTooLarge
from services.security.importing.model import Finding, Severity
from tests.reports import only, read
from tests.unit.test_importing_samples import SHARED

EVIL = '=cmd|"x"<script>alert(1)</script>\n| a | _b_ [c](d)'
LARGE = 2**60 + 1
ROWS = [
    ["é", -3, 1.5, None, True, {"a": [1]}],
    [EVIL, LARGE, 0.0, "-1", False, []],
    ["http://evil.example", 0, 0.0, "\x00\x1b\ufffe", None, None],
]
COLUMNS = ["text", "whole", "real", "maybe", "truth", "object"]
REPORT = Report(
    "A & B",
    "2026-01-01T00:00:00Z",
    "",
    [Table("First <1>", COLUMNS, ROWS, "teams"), Table("first <1>", ["n"], [[1]], "users")],
)


def document(name: str, report: Report = REPORT) -> bytes:
    form = FORMATS[DocumentFormat.Value(f"DOCUMENT_FORMAT_{name}")]
    made = form.write(report)
    assert made == form.write(report)
    return made


def of(*tables: Table) -> Report:
    return Report("", "", "", list(tables))


def test_every_format_of_the_contract_is_made() -> None:
    assert FORMATS.keys() == set(DocumentFormat.values()) - {0}


def test_a_workbook_has_a_sheet_for_each_table_and_no_formula() -> None:
    book = openpyxl.load_workbook(io.BytesIO(document("XLSX")))
    assert book.sheetnames == ["First <1>", "first <1> 2"]
    sheet = book["First <1>"]
    heading, first, second, third = sheet.iter_rows()
    assert [each.value for each in heading] == COLUMNS
    assert [each.value for each in first] == ["é", -3, 1.5, None, True, '{"a":[1]}']
    assert [each.value for each in second] == [EVIL, str(LARGE), 0, "-1", False, "[]"]
    assert {each.data_type for row in sheet.iter_rows() for each in row} == {"s", "n", "b"}
    assert (second[0].data_type, second[0].quotePrefix, first[0].quotePrefix) == ("s", True, False)
    assert second[3].quotePrefix
    assert third[0].hyperlink is None
    assert book.properties.title == "A & B"


def test_names_of_sheets_are_legal_and_different() -> None:
    titles = ["a/b:c*?[x]\\", "'", "", "History", "x" * 40, "X" * 40]
    content = document("XLSX", of(*(Table(each, ["n"], []) for each in titles)))
    names = openpyxl.load_workbook(io.BytesIO(content)).sheetnames
    assert names[:4] == ["a b c   x", "Table", "Table 2", "History 2"]
    assert len({each.lower() for each in names}) == len(titles)
    assert max(map(len, names)) <= 31


def test_a_text_that_no_cell_holds_refuses_the_workbook() -> None:
    table = Table("t", ["x"], [["y" * 32_767]])
    assert openpyxl.load_workbook(io.BytesIO(document("XLSX", of(table))))["t"]["A2"].value
    with pytest.raises(ReportTooLarge, match="32767 characters"):
        document("XLSX", of(Table("t", ["x"], [["y" * 32_768]])))


def test_xml_tells_the_type_of_each_value() -> None:
    root = ElementTree.fromstring(document("XML"))  # noqa: S314  # our own document
    assert root.attrib == {"title": "A & B", "period_start_time": "2026-01-01T00:00:00Z"}
    first, second = root
    assert first.attrib == {"title": "First <1>", "collection": "teams"}
    assert second.attrib["collection"] == "users"
    assert [each.attrib["name"] for each in first.iter("column")] == COLUMNS
    rows = [[(each.attrib["type"], each.text) for each in row] for row in first.iter("row")]
    assert rows[0] == [
        ("string", "é"),
        ("number", "-3"),
        ("number", "1.5"),
        ("null", None),
        ("boolean", "true"),
        ("json", '{"a":[1]}'),
    ]
    assert rows[1][0] == ("string", EVIL)
    assert rows[2][3] == ("string", "\ufffd" * 3)


@settings(max_examples=12, deadline=None)
@example("0" * 16 + "\U00010000" * 8, [])
@example("\ufffe", ["\uffff"])
@given(
    st.text(max_size=30),
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=30))),
)
def test_any_text_is_legal_in_each_format(title: str, cells: list[Any]) -> None:
    columns = ["message", *(f"c{place}" for place in range(len(cells)))]
    report = Report(title, "", "", [Table(title, columns, [[title, *cells]])])
    ElementTree.fromstring(document("XML", report))  # noqa: S314  # our own document
    assert json.loads(document("SARIF", report))["runs"][0]["results"]
    openpyxl.load_workbook(io.BytesIO(document("XLSX", report)))
    assert len(pypdf.PdfReader(io.BytesIO(document("PDF", report))).pages) == 1


FOUND = Table(
    "Open",
    ["title", "severity", "rule_id", "file_path", "start_line", "end_line", "cwe_ids", "purl",
     "fingerprint"],
    [
        ["Bad $_GET", "SEVERITY_CRITICAL", "tenants/acme/sast_rules/1", "src/a b.php", 3, 4,
         ["CWE-79"], None, "f1"],
        ["Old", "SONAR_SEVERITY_MINOR", None, None, None, None, [], "pkg:npm/x@1", None],
        [None, None, "r", "a\\b.c", None, 7, None, None, None],
    ],
    "app_security_issues",
)  # fmt: skip


def test_sarif_has_a_result_for_each_row() -> None:
    [run] = json.loads(document("SARIF", of(FOUND)))["runs"]
    first, second, third = run["results"]
    assert first == {
        "ruleId": "tenants/acme/sast_rules/1",
        "message": {"text": "Bad $_GET"},
        "level": "error",
        "fingerprints": {"secmesh/v1": "f1"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "src/a%20b.php"},
                    "region": {"startLine": 3, "endLine": 4},
                }
            }
        ],
        "properties": {"cwe_ids": ["CWE-79"], "severity": "SEVERITY_CRITICAL"},
    }
    assert (second["ruleId"], second["level"]) == ("app_security_issues", "note")
    assert "locations" not in second
    assert third["message"] == {"text": "(no text)"}
    assert "level" not in third
    [place] = third["locations"]
    assert place == {"physicalLocation": {"artifactLocation": {"uri": "a/b.c"}}}


def test_sarif_is_read_by_our_own_import() -> None:
    items = read(document("SARIF", of(FOUND)))
    first, second, _ = only(Finding, items)
    assert first.rule_key == "tenants/acme/sast_rules/1"
    assert unquote(first.locations[0].path) == "src/a b.php"
    assert (first.locations[0].start_line, first.severity) == (3, Severity.HIGH)
    assert second.severity == Severity.LOW


def test_sarif_fits_its_schema() -> None:
    schema = SHARED / "schema_sarif_2.1.0.json"
    if not schema.exists():
        pytest.skip("the schema is not here")
    jsonschema.validate(json.loads(document("SARIF", of(FOUND))), json.loads(schema.read_text()))


def test_sarif_of_what_has_no_message_is_refused() -> None:
    with pytest.raises(FieldInvalid, match="message"):
        document("SARIF", of(Table("t", ["severity", "count"], [])))


def test_pdf_has_every_word_and_its_fonts() -> None:
    pages = pypdf.PdfReader(io.BytesIO(document("PDF"))).pages
    text = " ".join(" ".join(each.extract_text() for each in pages).split())
    for part in ("A & B", "period_start_time: 2026-01-01T00:00:00Z", "First <1>", *COLUMNS):
        assert part in text, part
    for part in ("é", "-3", '{"a":[1]}', str(LARGE), "[c](d)", "[U+0000][U+001B][U+FFFE]"):
        assert part in text, part
    first: Any = pages[0]
    fonts = first["/Resources"]["/Font"]
    descriptors = [
        each.get_object()["/FontDescriptor"]
        for each in fonts.values()
        if "/FontDescriptor" in each.get_object()
    ]
    assert descriptors
    assert all("/FontFile2" in each.get_object() for each in descriptors)


def test_pdf_goes_on_on_the_next_page_with_its_heading() -> None:
    long = Table("Long", ["number", "text"], [[n, f"word{n} " * 30] for n in range(60)])
    wide = Table("Wide", [f"c{n}" for n in range(20)], [[f"v{n}" for n in range(20)]])
    endless = Table("Endless", ["text"], [["x" * 30_000]])
    pages = pypdf.PdfReader(io.BytesIO(document("PDF", of(long, wide, endless)))).pages
    texts = [each.extract_text() for each in pages]
    assert len(texts) > 3
    assert all("number" in each for each in texts[:3])
    whole = " ".join(texts)
    assert all(whole.count(f"word{n} ") + whole.count(f"word{n}\n") >= 1 for n in range(60))
    assert "c19: v19" in whole
    assert whole.count("x") >= 30_000


def test_nothing_in_a_pdf_runs_or_leads_elsewhere() -> None:
    reader = pypdf.PdfReader(io.BytesIO(document("PDF")))
    root: Any = reader.trailer["/Root"]
    assert not {"/OpenAction", "/AA", "/AcroForm", "/Names"} & set(root)
    assert all("/Annots" not in each for each in reader.pages)
