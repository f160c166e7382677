"""The words of plans: ids, parts, statuses, origins, dates, and the forms they stand in."""

from datetime import UTC, datetime

import pytest

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.documents.drafts import read_date
from services.inventory.compliance.documents.vocabulary import (
    part_of,
    read_origin,
    read_status,
    reference,
)
from services.inventory.errors import SspInvalid
from tests.unit.ssp_tables import paragraph, read_as, table, word

PLANNED = ssp_pb2.CLAIM_STATE_PLANNED
PARTIAL = ssp_pb2.CLAIM_STATE_PARTIAL
IMPLEMENTED = ssp_pb2.CLAIM_STATE_IMPLEMENTED
NOT_APPLICABLE = ssp_pb2.CLAIM_STATE_NOT_APPLICABLE
ALTERNATIVE = ssp_pb2.CLAIM_STATE_ALTERNATIVE
NOT_UNDERSTOOD = ssp_pb2.Passage.OUTCOME_NOT_UNDERSTOOD
NO_CLAIM = ssp_pb2.Passage.OUTCOME_NO_CLAIM


@pytest.mark.parametrize(
    ("written", "control", "part", "rest"),
    [
        ("AC-2", "ac-2", "", ""),
        ("ac-2.1", "ac-2.1", "", ""),
        ("AC-02 (01)", "ac-2.1", "", ""),
        ("AC-2(1)", "ac-2.1", "", ""),
        ("AC-2 (1)(a)", "ac-2.1", "a", ""),
        ("AC-2 Enhancement (1)", "ac-2.1", "", ""),
        ("AC\N{NON-BREAKING HYPHEN}2\N{NO-BREAK SPACE}(1)", "ac-2.1", "", ""),
        ("AC-2 a.1", "ac-2", "a.1", ""),
        ("AC-2a.", "ac-2", "a", ""),
        ("AC-2(h)(1)", "ac-2", "h.1", ""),
        ("AC-2 Part a", "ac-2", "a", ""),
        ("ac-2_smt.a", "ac-2", "a", ""),
        ("ac-2_stmt.a.1", "ac-2", "a.1", ""),
        ("AC-2 Account Management", "ac-2", "", "Account Management"),
        ("AC-2 a plan of days", "ac-2", "a", "plan of days"),
        ("AC-17: Remote Access", "ac-17", "", ": Remote Access"),
    ],
)
def test_controls_in_any_spelling(written: str, control: str, part: str, rest: str) -> None:
    found = reference(written)
    assert found is not None
    assert (found.control, found.part, found.rest) == (control, part, rest)


@pytest.mark.parametrize("written", ["A-2", "AC2", "ISO-27001", "AC-200", "2.1", "", "the AC-2"])
def test_what_is_no_control(written: str) -> None:
    assert reference(written) is None


@pytest.mark.parametrize(
    ("written", "part"),
    [("a", "a"), ("Part b", "b"), ("(c)", "c"), ("a.1", "a.1"), ("a(1)", "a.1"), ("whole", None)],
)
def test_parts(written: str, part: str | None) -> None:
    assert part_of(written) == part


@pytest.mark.parametrize(
    ("written", "state"),
    [
        ("Implemented", IMPLEMENTED),
        ("FULLY IMPLEMENTED", IMPLEMENTED),
        ("Partially Implemented", PARTIAL),
        ("partial", PARTIAL),
        ("Planned", PLANNED),
        ("Alternative Implementation", ALTERNATIVE),
        ("N/A", NOT_APPLICABLE),
        ("Not Applicable", NOT_APPLICABLE),
        ("Implemented, Planned", PLANNED),
        ("☒ Implemented ☐ Planned", IMPLEMENTED),
        ("☐ Implemented\n☒ Partially Implemented\n☒ Planned", PARTIAL),
        ("[x] Implemented [ ] Planned", IMPLEMENTED),
        ("Inherited", IMPLEMENTED),
    ],
)
def test_statuses(written: str, state: int) -> None:
    found = read_status(written)
    assert (found.state, found.problems) == (state, ())
    assert found.inherited == (written == "Inherited")


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("Perhaps", "'Perhaps' is no implementation status"),
        ("☐ Implemented ☐ Planned", "no status is ticked"),
        ("Not Implemented", "'Not Implemented' is read as planned"),
    ],
)
def test_statuses_that_are_told_of(written: str, problem: str) -> None:
    assert read_status(written).problems == (problem,)


@pytest.mark.parametrize(
    ("written", "inherited"),
    [
        ("Inherited from pre-existing FedRAMP Authorization for AWS, 2020-01-01", True),
        ("Service Provider Corporate", False),
        ("Shared (Service Provider and Customer Responsibility)", False),
        ("☐ Service Provider Corporate ☒ Inherited from pre-existing FedRAMP Authorization", True),
        ("☒ Service Provider Corporate ☒ Inherited", False),
        ("The moon", None),
    ],
)
def test_origins(written: str, inherited: bool | None) -> None:
    assert read_origin(written) is inherited


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2031-02-03", (2031, 2, 3)),
        ("02/03/2031", (2031, 2, 3)),
        ("13/02/2031", (2031, 2, 13)),
        ("February 3, 2031", (2031, 2, 3)),
        ("3 Feb 2031", (2031, 2, 3)),
    ],
)
def test_dates(written: str, day: tuple[int, int, int]) -> None:
    assert read_date(written) == datetime(*day, 23, 59, 59, tzinfo=UTC)


def test_what_is_no_date() -> None:
    assert read_date("soon") is None
    assert read_date("02/31/2031") is None


FEDRAMP = word(
    paragraph("System Security Plan", "Kop2")
    + paragraph("FedRAMP Rev 5 Moderate Baseline")
    + paragraph("AC-2 Account Management (L)(M)(H) ........ 12")
    + paragraph("AC-2 Account Management (L)(M)(H)", "Kop2")
    + paragraph("The organization: a. Defines and documents the types of accounts.")
    + table(
        ["AC-2", "Control Summary Information"],
        ["Responsible Role: Administrator"],
        ["Parameter AC-2(h)(1): 24 hours"],
        [
            "Implementation Status (check all that apply):\n☐ Implemented\n"
            "☒ Partially Implemented\n☒ Planned\n☐ Alternative implementation\n☐ Not applicable"
        ],
        [
            "Control Origination (check all that apply):\n☐ Service Provider Corporate\n"
            "☒ Service Provider System Specific\n☐ Inherited from pre-existing FedRAMP "
            "Authorization"
        ],
    )
    + table(
        ["AC-2 What is the solution and how is it implemented?"],
        ["Part a", "Accounts are kept\nin IAM."],
        ["Part b", "Managers are named."],
    )
    + paragraph("AC-3 Access Enforcement (L)(M)(H)", "Kop2")
    + table(
        ["AC-3", "Control Summary Information"],
        ["Implementation Status (check all that apply):\n☐ Implemented\n☐ Planned"],
        ["Control Origination:\n☒ Inherited from pre-existing FedRAMP Authorization"],
    )
    + table(["AC-3 What is the solution and how is it implemented?"], ["By the cloud."])
    + paragraph("Appendix A", "Kop2")
    + paragraph("Words of no control.")
)


def test_the_form_of_fedramps_word_template() -> None:
    plan = read_as("DOCX", FEDRAMP)
    assert plan.ssp.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert plan.ssp.title == "System Security Plan"
    told = [
        (each.statement_id or each.control_id, each.state, each.inherited) for each in plan.claims
    ]
    assert told == [
        ("ac-2_smt.a", PARTIAL, False),
        ("ac-2_smt.b", PARTIAL, False),
        ("ac-3", ssp_pb2.CLAIM_STATE_UNSPECIFIED, True),
    ]
    assert [each.description for each in plan.claims] == [
        "Accounts are kept in IAM.",
        "Managers are named.",
        "By the cloud.",
    ]
    assert plan.claims[0].source == "table 2, row 2"
    issues = {issue.problem: issue.pointer for issue in plan.ssp.issues}
    assert issues == {
        "which parameter '24 hours' sets is not known": "table 1, row 3",
        "no status is ticked": "table 3, row 2",
    }
    aside = {each.text: each.reason for each in plan.passages if each.outcome == NO_CLAIM}
    assert aside["The organization: a. Defines and documents the types of accounts."] == (
        "stands before the statement: the control's own words"
    )
    assert "Appendix A" in aside


def test_check_boxes_of_old_forms_and_content_controls() -> None:
    old = (
        "<w:p><w:r><w:fldChar><w:ffData><w:checkBox><w:sizeAuto/><w:default w:val='0'/>{}"
        "</w:checkBox></w:ffData></w:fldChar></w:r><w:r><w:instrText>FORMCHECKBOX</w:instrText>"
        "</w:r><w:r><w:t>{}</w:t></w:r></w:p>"
    )
    new = "<w:sdt><w:sdtContent><w:p><w:r><w:t>{} {}</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    body = (
        paragraph("AC-2 Account Management")
        + old.format("<w:checked w:val='0'/>", "Implemented")
        + old.format("<w:checked/>", "Planned")
        + paragraph("AC-3")
        + new.format("☒", "Implemented")
        + new.format("☐", "Planned")
    )
    claims = read_as("DOCX", word(body)).claims
    assert [(each.control_id, each.state) for each in claims] == [
        ("ac-2", PLANNED),
        ("ac-3", IMPLEMENTED),
    ]


def test_deleted_words_are_no_words_and_merged_cells_go_on() -> None:
    merged = (
        "<w:tr><w:tc><w:tcPr><w:vMerge w:val='restart'/></w:tcPr><w:p><w:r><w:t>AC-2</w:t></w:r>"
        "</w:p></w:tc><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc>"
        "<w:tc><w:p><w:r><w:t>Planned</w:t></w:r><w:del><w:r><w:delText>Implemented</w:delText>"
        "</w:r></w:del></w:p></w:tc></w:tr>"
        "<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r>"
        "</w:p></w:tc><w:tc><w:p><w:r><w:t>Partial</w:t></w:r></w:p></w:tc></w:tr>"
    )
    rows = table(["Control", "Part", "Status"]).replace("</w:tbl>", merged + "</w:tbl>")
    claims = read_as("DOCX", word(rows)).claims
    assert [(each.statement_id, each.state) for each in claims] == [
        ("ac-2_smt.a", PLANNED),
        ("ac-2_smt.b", PARTIAL),
    ]


def test_lines_of_text_with_id_status_and_statement() -> None:
    text = (
        b"AC-2: Implemented - Accounts are in IAM\nand are reviewed.\n\n"
        b"AC-3 | Planned | Later.\n"
        b"AC-6 Least Privilege, N/A\n"
        b"AC-7 says what to do.\n"
    )
    plan = read_as("TEXT", text)
    assert [(each.control_id, each.state, each.description) for each in plan.claims] == [
        ("ac-2", IMPLEMENTED, "Accounts are in IAM and are reviewed."),
        ("ac-3", PLANNED, "Later."),
        ("ac-6", NOT_APPLICABLE, "AC-7 says what to do."),
    ]
    assert [each.source for each in plan.claims] == ["line 1", "line 4", "line 5"]


def test_a_column_for_each_status() -> None:
    head = b"Control;Implemented;Planned;Not Applicable;Description\n"
    text = head + b"AC-2;;X;;We will.\nAC-3;x;;;Done.\n"
    claims = read_as("CSV", text).claims
    assert [(each.control_id, each.state) for each in claims] == [
        ("ac-2", PLANNED),
        ("ac-3", IMPLEMENTED),
    ]


def test_rows_without_a_head_and_several_controls_in_a_cell() -> None:
    assert [
        each.control_id for each in read_as("CSV", b"AC-2,Planned,x\nAC-3,Planned,y\n").claims
    ] == [
        "ac-2",
        "ac-3",
    ]
    plan = read_as("CSV", b'Control,Status\n"AC-2, AC-3",Planned\n"AC-4\nAC-6",Perhaps\n')
    assert [each.control_id for each in plan.claims] == ["ac-2", "ac-3"]


def test_a_control_that_stands_there_twice_is_told_of_and_both_count() -> None:
    plan = read_as("CSV", b"Control,Status\nAC-2,Planned\nac-02,Implemented\n")
    assert len({claim.name for claim in plan.claims}) == 2
    assert ("line 3", "AC-2 stands there 2 times; each counts") in [
        (issue.pointer, issue.problem) for issue in plan.ssp.issues
    ]


def test_a_claim_keeps_its_name_when_it_moves() -> None:
    first = read_as("CSV", b"Control,Status\nAC-2,Planned\nAC-3,Planned\n").claims
    second = read_as("CSV", b"Control,Status\nAC-3,Planned\n\nAC-2,Implemented\n").claims
    assert {each.name for each in first} == {each.name for each in second}


@pytest.mark.parametrize(
    "encoded",
    [
        "AC-2: Planned - Überprüft".encode("utf-8-sig"),
        "AC-2: Planned - Überprüft".encode("utf-16"),
        "AC-2: Planned - Überprüft".encode("utf-16-le"),
        "AC-2: Planned - Überprüft".encode("utf-16-be"),
        "AC-2: Planned - Überprüft".encode("cp1252"),
    ],
)
def test_encodings(encoded: bytes) -> None:
    plan = read_as("TEXT", encoded)
    assert plan.claims[0].description == "Überprüft"
    guessed = [each.problem for each in plan.ssp.issues if "Windows-1252" in each.problem]
    assert bool(guessed) == (encoded[16:17] == b"\xdc")


@pytest.mark.parametrize(
    "text",
    [b"", b"\n\n", b"AC-2 Account Management\n", b"Control,Status\n", b"Some words.\n" * 50],
)
def test_a_document_without_a_claim_is_refused(text: bytes) -> None:
    with pytest.raises(SspInvalid, match="no claim was found"):
        read_as("TEXT", text)
