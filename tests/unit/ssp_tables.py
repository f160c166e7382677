"""Plans as documents that are no OSCAL: the same claims in every format."""

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from xml.sax.saxutils import escape

import openpyxl
from reportlab.pdfgen import canvas

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.documents.document_plan import Origin, plan_of
from services.inventory.compliance.documents.extraction import EXTRACTORS
from services.inventory.compliance.ssp import Plan

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAME = "tenants/acme/ssps/main"
STATES = {
    ssp_pb2.CLAIM_STATE_IMPLEMENTED: "Implemented",
    ssp_pb2.CLAIM_STATE_PARTIAL: "Partially Implemented",
    ssp_pb2.CLAIM_STATE_PLANNED: "Planned",
    ssp_pb2.CLAIM_STATE_ALTERNATIVE: "Alternative Implementation",
    ssp_pb2.CLAIM_STATE_NOT_APPLICABLE: "N/A",
}
OWN = "Service Provider System Specific"
INHERITED = "Inherited from pre-existing FedRAMP Authorization"
HEAD = (
    "Control ID",
    "Part",
    "Component",
    "Implementation Status",
    "Control Origination",
    "Planned Completion Date",
    "Parameters",
    "Implementation Statement",
)


@dataclass(frozen=True)
class Told:
    """What a document is to say."""

    control: str
    state: ssp_pb2.ClaimState.ValueType
    words: str
    part: str = ""
    component: str = ""
    inherited: bool = False
    due: date | None = None
    parameter: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            load_controls()[self.control].label,
            self.part,
            self.component,
            STATES[self.state],
            INHERITED if self.inherited else OWN,
            self.due.isoformat() if self.due else "",
            self.parameter,
            self.words,
        )

    @property
    def lines(self) -> list[str]:
        control = load_controls()[self.control]
        said = dict(zip(HEAD, self.cells, strict=True))
        head = [f"{control.label} {control.title}"]
        if self.part:
            head.append(f"Part {self.part}:")
        labels = [each for each in HEAD[2:] if said[each]]
        return [*head, *(f"{label}: {said[label]}" for label in labels), ""]


def seen(plan: Plan) -> list[tuple[object, ...]]:
    """Give what was drawn from a document, to be compared."""
    return sorted(
        (
            claim.control_id,
            claim.statement_id,
            claim.component_title,
            claim.state,
            claim.inherited,
            claim.planned_completion_time.ToJsonString()
            if claim.HasField("planned_completion_time")
            else "",
            tuple(claim.parameters.items()),
            claim.description,
        )
        for claim in plan.claims
    )


def expected(told: Sequence[Told]) -> list[tuple[object, ...]]:
    return sorted(
        (
            each.control,
            f"{each.control}_smt.{each.part}" if each.part else "",
            each.component,
            each.state,
            each.inherited,
            f"{each.due.isoformat()}T23:59:59Z" if each.due else "",
            tuple([tuple(each.parameter.split(": "))] if each.parameter else ()),
            each.words,
        )
        for each in told
    )


def read_as(kind: str, content: bytes) -> Plan:
    """Read a document as a format, in this process."""
    extract = EXTRACTORS[f"SSP_FORMAT_{kind}"](content)
    number = ssp_pb2.SspFormat.Value(f"SSP_FORMAT_{kind}")
    return plan_of(extract, Origin(NAME, number, "", "file", 0, NOW))  # type: ignore[arg-type]  # unspecified


def as_csv(told: Sequence[Told], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([HEAD, *(each.cells for each in told)])
    return out.getvalue().encode()


def as_xlsx(told: Sequence[Told]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [HEAD, *(each.cells for each in told)]:
        sheet.append([cell or None for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def as_markdown_table(told: Sequence[Told]) -> bytes:
    rows = [HEAD, ("---",) * len(HEAD), *(each.cells for each in told)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).encode()


def as_markdown(told: Sequence[Told]) -> bytes:
    lines = ["# Plan", ""]
    for each in told:
        first, *more = each.lines
        lines += [
            f"## {first}",
            "",
            *(f"**{line}**" if line.endswith(":") else line for line in more),
        ]
    return "\n".join(lines).encode()


def as_text(told: Sequence[Told]) -> bytes:
    return "\n".join(line for each in told for line in each.lines).encode()


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_HEADINGS = (
    f'<w:styles {W}><w:style w:type="paragraph" w:styleId="Kop2">'
    '<w:name w:val="heading 2"/></w:style></w:styles>'
)


def word(body: str, **parts: str) -> bytes:
    """Make a Word document of the XML of its body."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/styles.xml", _HEADINGS)
        archive.writestr(
            "word/document.xml", f"<w:document {W}><w:body>{body}</w:body></w:document>"
        )
        for name, text in parts.items():
            archive.writestr(f"word/{name}.xml", text)
    return out.getvalue()


def paragraph(text: str, style: str = "") -> str:
    kind = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{kind}<w:r><w:t xml:space='preserve'>{escape(text)}</w:t></w:r></w:p>"


def table(*rows: Sequence[str]) -> str:
    def cell(text: str) -> str:
        return f"<w:tc>{''.join(paragraph(line) for line in text.split(chr(10)))}</w:tc>"

    made = "".join(f"<w:tr>{''.join(map(cell, row))}</w:tr>" for row in rows)
    return f"<w:tbl>{made}</w:tbl>"


def as_word_table(told: Sequence[Told]) -> bytes:
    return word(table(HEAD, *(each.cells for each in told)))


def as_word(told: Sequence[Told]) -> bytes:
    body = ""
    for each in told:
        first, *more = each.lines
        body += paragraph(first, "Kop2") + "".join(map(paragraph, more))
    return word(body)


def pdf(pages: Sequence[Sequence[tuple[float, float, str]]]) -> bytes:
    """Make a PDF of texts at places, in points from the top left."""
    out = io.BytesIO()
    made = canvas.Canvas(out, pagesize=(1400, 800))
    for page in pages:
        made.setFont("Courier", 8)
        for left, top, text in page:
            made.drawString(left, 800 - top, text)
        made.showPage()
    made.save()
    return out.getvalue()


_LEFTS = (20, 110, 150, 270, 410, 680, 810, 990)


def as_pdf_table(told: Sequence[Told]) -> bytes:
    rows = [HEAD, *(each.cells for each in told)]
    return pdf(
        [
            [
                (left, 40 + 14 * index, cell)
                for index, row in enumerate(rows)
                for left, cell in zip(_LEFTS, row, strict=True)
                if cell
            ]
        ]
    )


def as_pdf(told: Sequence[Told]) -> bytes:
    lines = [line for each in told for line in each.lines]
    pages = [lines[start : start + 50] for start in range(0, len(lines), 50)]
    return pdf(
        [[(40, 40 + 14 * at, line) for at, line in enumerate(page) if line] for page in pages]
    )


WRITERS: dict[str, tuple[str, Callable[[Sequence[Told]], bytes]]] = {
    "csv": ("CSV", as_csv),
    "xlsx": ("XLSX", as_xlsx),
    "markdown-table": ("MARKDOWN", as_markdown_table),
    "markdown": ("MARKDOWN", as_markdown),
    "text": ("TEXT", as_text),
    "word-table": ("DOCX", as_word_table),
    "word": ("DOCX", as_word),
    "pdf-table": ("PDF", as_pdf_table),
    "pdf": ("PDF", as_pdf),
}
