"""Documents that are damaged or made to harm are refused with what is wrong, within bounds."""

import io
import json
import zipfile
from datetime import UTC, date, datetime
from typing import Any

import openpyxl
import pypdf
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.comments import Comment
from openpyxl.styles import Font

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.document import MAX_VALUES, read_document
from services.inventory.compliance.documents import bounded
from services.inventory.compliance.documents.blocks import DocumentRefused
from services.inventory.compliance.documents.bounded import extract_bounded, yaml_bounded
from services.inventory.compliance.documents.extraction import EXTRACTORS
from services.inventory.compliance.documents.import_document import Import, read_ssp
from services.inventory.compliance.documents.office import MAX_PARTS
from services.inventory.compliance.documents.oscal_yaml import read_yaml
from services.inventory.compliance.documents.recognition import recognise
from services.inventory.compliance.documents.take_apart import take_apart
from services.inventory.errors import SspInvalid
from tests.unit.ssp_tables import NAME, NOW, WRITERS, Told, paragraph, pdf, read_as, table, word

PLANNED = ssp_pb2.CLAIM_STATE_PLANNED
TOLD = [Told("ac-2", PLANNED, "The accounts are reviewed.", part="a", component="IAM")]


def workbook(*rows: list[Any], name: str = "Controls") -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = name
    for row in rows:
        sheet.append(row)
    return book


def saved(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_merged_dated_hidden_and_computed_cells() -> None:
    head = ["Control", "Part", "Status", "Planned completion date", "Statement"]
    book = workbook(
        ["Plan of the system"],
        head,
        ["AC-2", "a", "Planned", date(2031, 2, 3), "One"],
        [None, "b", "Planned", date(2031, 2, 4), '=CONCATENATE("T", "wo")'],
        ["AC-3", None, "Implemented", None, "Three"],
    )
    sheet = book["Controls"]
    sheet.merge_cells("A3:A4")
    sheet["E5"].font = Font(bold=True)
    sheet.row_dimensions[5].hidden = True
    hidden = book.create_sheet("Lists")
    hidden.append(["Control", "Status"])
    hidden.append(["AC-6", "Implemented"])
    hidden.sheet_state = "hidden"
    plan = read_as("XLSX", saved(book))
    told = [
        (each.statement_id or each.control_id, each.planned_completion_time.ToJsonString()[:10])
        for each in plan.claims
    ]
    assert told == [
        ("ac-2_smt.a", "2031-02-03"),
        ("ac-2_smt.b", "2031-02-04"),
        ("ac-3", "1970-01-01"),
    ]
    assert plan.claims[0].source == "sheet 'Controls', row 3"
    issues = {issue.pointer: issue.problem for issue in plan.ssp.issues}
    assert issues["sheet 'Lists'"] == "is hidden and is not read"
    assert issues["sheet 'Controls', cell E4"] == "is a formula without a saved value"


def test_a_formula_counts_as_the_value_saved_with_it() -> None:
    content = saved(workbook(["Control", "Status"], ["AC-2", "=1+1"]))
    cached = rewritten(content, "xl/worksheets/sheet1.xml", b"<v></v>", b"<v>Planned</v>")
    assert [each.state for each in read_as("XLSX", cached).claims] == [PLANNED]


def rewritten(content: bytes, part: str, old: bytes, new: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == part:
                assert old in data or b"<v />" in data
                data = data.replace(old, new).replace(b"<v />", new)
            after.writestr(name, data)
    return out.getvalue()


def test_a_cell_far_away_costs_nothing() -> None:
    book = workbook(["Control", "Status"], ["AC-2", "Planned"])
    book["Controls"]["XFD1048576"] = "far"
    plan = read_as("XLSX", saved(book))
    assert len(plan.claims) == 1
    assert any("XFD1048576" in issue.pointer for issue in plan.ssp.issues)


BOMB = (
    '<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;">]><w:document xmlns:w="x"><w:t>&c;</w:t></w:document>'
)


def archive(**parts: bytes | str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(f"word/{name}.xml", data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("DOCX", archive(document=BOMB), "declares a document type"),
        ("DOCX", archive(document=b"\xff\xfe" + BOMB.encode("utf-16-le")), "document type"),
        ("DOCX", archive(document=b" " * (129 << 20)), "128 MiB when unpacked|no XML"),
        ("DOCX", archive(document="<a><b></a>"), "is no XML: mismatched tag"),
        ("DOCX", archive(styles="<a/>"), "document.xml is missing"),
        ("XLSX", archive(styles="<a/>"), "has no sheet"),
        ("DOCX", word(table() * 0 + "<w:tbl><w:tr><w:tc>" * 40), "is no XML|nested too deeply"),
        ("PDF", b"%PDF-1.7", "no PDF that can be read"),
        ("PDF", pdf([[]]), "holds no text"),
        ("CSV", b'Control,Status\n"AC-2' + b"x" * (2 << 20), "more than 1,048,576 characters"),
        ("TEXT", b"AC-2\x00Planned and more", "holds NUL"),
    ],
)
def test_harmful_and_damaged_files(kind: str, content: bytes, problem: str) -> None:
    with pytest.raises(DocumentRefused, match=problem):
        EXTRACTORS[f"SSP_FORMAT_{kind}"](content)


def test_an_encrypted_pdf_is_refused_unless_everybody_may_read_it() -> None:
    for password, readable in (("secret", False), ("", True)):
        writer = pypdf.PdfWriter(io.BytesIO(pdf([[(40, 40, "AC-2: Planned - Words.")]])))
        writer.encrypt(password, "owner", algorithm="AES-256")
        out = io.BytesIO()
        writer.write(out)
        if readable:
            assert len(read_as("PDF", out.getvalue()).claims) == 1
        else:
            with pytest.raises(DocumentRefused, match="encrypted"):
                read_as("PDF", out.getvalue())


def test_headers_and_footers_of_pages_are_no_text_and_rows_go_on() -> None:
    head = [(20.0, 60.0, "Control"), (120.0, 60.0, "Status"), (260.0, 60.0, "Statement")]
    pages = []
    for number, control in enumerate(("AC-2", "AC-3", "AC-6"), start=1):
        rows = [
            (20.0, 80.0, control),
            (120.0, 80.0, "Planned"),
            (260.0, 80.0, "First words"),
            (260.0, 92.0, f"and more of {control.lower()}."),
        ]
        edges = [(300.0, 20.0, "Plan of Acme"), (300.0, 780.0, f"Page {number} of 3")]
        pages.append([edges[0], *head, *rows, edges[1]])
    plan = read_as("PDF", pdf(pages))
    assert [(each.control_id, each.description) for each in plan.claims] == [
        ("ac-2", "First words and more of ac-2."),
        ("ac-3", "First words and more of ac-3."),
        ("ac-6", "First words and more of ac-6."),
    ]
    assert [each.source[:6] for each in plan.claims] == ["page 1", "page 2", "page 3"]
    aside = [each.problem for each in plan.ssp.issues if each.pointer == "every page"]
    assert any("'Plan of Acme'" in each for each in aside)
    assert any("'Page 1 of 3'" in each for each in aside)


def test_labels_that_end_most_pages_are_text() -> None:
    pages = [
        [
            (20.0, 40.0, f"{control} {title}"),
            (20.0, 60.0, "Implementation Status: Planned"),
            (20.0, 80.0, "Control Origination: Inherited"),
        ]
        for control, title in (
            ("AC-2", "Account Management"),
            ("AC-3", "Access Enforcement"),
            ("AC-6", "Least Privilege"),
        )
    ]
    claims = read_as("PDF", pdf(pages)).claims
    assert [(each.state, each.inherited) for each in claims] == [(PLANNED, True)] * 3


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a: &a [x]\nb: *a\n", "line 2", "alias"),
        ("a: 1\na: 2\n", "line 2", "twice"),
        ("a: 1\n---\nb: 2\n", "line 2", "several YAML documents"),
        ("[a]: 1\n", "line 1", "key must be text"),
        ("a: " + "[" * 500 + "]" * 500, "line 1", "nested too deeply"),
        ("a: [1\nb: 2", "", "is no YAML"),
        ("a: !!python/object/apply:os.system [x]\nb: *c", "", "alias|YAML"),
    ],
)
def test_yaml_that_is_refused(text: str, place: str, problem: str) -> None:
    with pytest.raises(DocumentRefused, match=problem) as caught:
        read_yaml(text.encode())
    assert caught.value.place.startswith(place)


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
_TREE = st.recursive(
    _TEXTS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_TEXTS, _TREE, max_size=4))
def test_yaml_is_what_the_same_json_is(tree: dict[str, Any]) -> None:
    written = yaml.dump(tree, Dumper=_NoAliases, allow_unicode=True).encode()
    assert read_yaml(written) == tree
    assert read_yaml(json.dumps(tree, ensure_ascii=False).encode()) == tree


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the library's name
        return True


def test_scalars_of_yaml_are_the_text_they_are_written_as() -> None:
    assert read_yaml(b"a: 1.10\nb: 2024-01-31\nc: yes\nd: ~\ne: '~'\n") == {
        "a": "1.10",
        "b": "2024-01-31",
        "c": "yes",
        "d": None,
        "e": "~",
    }


@pytest.mark.parametrize("form", WRITERS)
def test_the_process_of_its_own_gives_the_same(form: str) -> None:
    kind, write = WRITERS[form]
    content = write(TOLD)
    direct = EXTRACTORS[f"SSP_FORMAT_{kind}"](content)
    assert extract_bounded(f"SSP_FORMAT_{kind}", content).blocks == direct.blocks


def test_what_takes_too_long_or_too_much_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "_PROGRAM", "http.server")
    monkeypatch.setattr(bounded, "WALL_SECONDS", 0.5)
    with pytest.raises(DocumentRefused, match=r"within 0\.5 seconds"):
        extract_bounded("0", b"")
    monkeypatch.undo()
    monkeypatch.setattr(bounded, "_PROGRAM", "no_such_program")
    with pytest.raises(DocumentRefused, match="MiB of memory"):
        extract_bounded("SSP_FORMAT_TEXT", b"")
    monkeypatch.undo()
    with pytest.raises(DocumentRefused, match="is no YAML"):
        yaml_bounded(b"a: [")


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=15)
@given(data=st.data())
def test_any_damage_is_read_or_refused(form: str, data: st.DataObject) -> None:
    kind, write = WRITERS[form]
    content = bytearray(write(TOLD))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    told = take_apart(f"SSP_FORMAT_{kind}", bytes(content))
    assert set(told) in ({"problem", "place"}, {"title", "notes", "blocks"})


def test_a_file_that_is_too_large_is_refused_before_it_is_read() -> None:
    wanted = Import(NAME, ssp_pb2.SSP_FORMAT_TEXT, "", ssp_pb2.BASELINE_UNSPECIFIED, NOW)
    with pytest.raises(SspInvalid, match="33,554,432"):
        read_ssp(b" " * ((32 << 20) + 1), wanted)


def test_comments_of_a_word_document_are_told_of() -> None:
    body = paragraph("AC-2: Planned")
    plan = read_as("DOCX", word(body, comments="<c>Is this so?</c>", footnotes="<f/>"))
    assert [each.pointer for each in plan.ssp.issues][-1] == "comments"


def test_the_time_of_the_import_is_kept() -> None:
    assert read_as("CSV", b"Control,Status\nAC-2,Planned\n").ssp.create_time.ToDatetime(
        UTC
    ) == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_quote_that_is_not_closed_swallows_no_row(ending: str) -> None:
    text = 'Control,Status,Statement\nAC-2,Planned,"One"\nAC-3,Planned,"Two\nAC-6,Planned,Three'
    with pytest.raises(DocumentRefused) as refused:
        read_as("CSV", f"{text}{ending}".encode())
    assert refused.value.place == "line 3"
    assert refused.value.problem == "a quote that opens in this row is not closed"
    closed = read_as("CSV", f'{text}"{ending}'.encode())
    assert [each.control_id for each in closed.claims] == ["ac-2", "ac-3"]
    with pytest.raises(DocumentRefused, match="is a quote not closed") as long:
        read_as("CSV", f"{text}{'x' * (1 << 20)}".encode())
    assert long.value.place == "line 3"


def test_what_would_fill_the_memory_is_refused_before_it_is_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for number in range(MAX_PARTS + 1):
            made.writestr(zipfile.ZipInfo(f"{number:x}"), b"")
    with pytest.raises(DocumentRefused, match="more than 10,000 parts"):
        recognise(out.getvalue(), "plan.docx")
    crowded = b'{"system-security-plan": [' + b"{}," * (MAX_VALUES // 2) + b"{}]}"
    with pytest.raises(SspInvalid, match="more than 3,000,000 values"):
        read_document(crowded)


def test_comments_of_a_workbook_are_told_of() -> None:
    book = workbook(["Control", "Status"], ["AC-2", "Planned"])
    assert "comments" not in {each.pointer for each in read_as("XLSX", saved(book)).ssp.issues}
    book["Controls"]["B2"].comment = Comment("AC-3: Implemented", "somebody")
    issues = {each.pointer: each.problem for each in read_as("XLSX", saved(book)).ssp.issues}
    assert issues["comments"] == "cells have comments, which are not read"
