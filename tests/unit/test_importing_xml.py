"""The pull reader of XML: dangers are refused, what was whole before a cut is kept."""

import io

import pytest

from services.security.importing.json_cursor import Unreadable
from services.security.importing.limits import Limits
from services.security.importing.model import Finding, Problem, Rejected
from services.security.importing.xml_elements import XmlElement, elements
from tests.reports import only, read

BOMB = """<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<OWASPZAPReport><site><alerts><alertitem><name>&b;</name></alertitem></alerts></site></OWASPZAPReport>"""
OUTSIDE = """<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<OWASPZAPReport><site><alerts><alertitem><name>&x;</name></alertitem></alerts></site></OWASPZAPReport>"""


@pytest.mark.parametrize("report", [BOMB, OUTSIDE])
def test_a_document_type_is_refused_before_any_entity_is_read(report: str) -> None:
    (problem,) = read(report)
    assert isinstance(problem, Problem)
    assert "document type" in problem.reason


def found(text: str | bytes, limits: Limits | None = None) -> list[XmlElement]:
    content = text.encode() if isinstance(text, str) else text
    wanted = frozenset({"item"})
    return [each.element for each in elements(io.BytesIO(content), wanted, limits or Limits())]


def test_elements_have_their_text_attributes_and_parts() -> None:
    text = '<r xmlns:v="urn:v"><v:item a="1"> x <v:b>y</v:b><item>inner</item></v:item><item/></r>'
    first, second = found(text)
    assert (first.tag, first.attributes, first.text) == ("item", {"a": "1"}, "x")
    assert first.said("b") == "y"
    assert [part.text for part in first.all("item")] == ["inner"]
    assert (second.text, second.parts) == ("", [])


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "utf-8-sig"])
def test_encodings_are_read(encoding: str) -> None:
    named = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{named}"?><r><item>café</item></r>'
    assert [each.text for each in found(text.encode(encoding))] == ["café"]


def test_nesting_is_bounded() -> None:
    with pytest.raises(Unreadable, match="deeper than 10"):
        found("<a>" * 11 + "</a>" * 11, Limits(depth=10))


def test_a_large_element_grows_no_further_and_is_marked() -> None:
    content = f"<r><item><b>{'x' * 5000}</b><c>{'y' * 5000}</c></item><item>z</item></r>"
    large, small = found(content, Limits(element_bytes=3000))
    assert large.too_large
    assert sum(len(part.text) for part in large.parts) < 5000
    assert (small.too_large, small.text) == (False, "z")


OPENVAS = """<report><results>{}<result><name>cut"""
RESULT = """<result id="{0}"><name>Weak cipher</name><host>10.0.0.{0}<hostname>h</hostname></host>
<port>443/tcp</port><nvt oid="1.3.6.1.4.1.25623.1.0.1"><family>SSL</family>
<tags>summary=S|solution=D</tags><refs><ref type="cve" id="CVE-2016-2183"/><ref type="url" id="https://example.test/a"/></refs>
</nvt><threat>{1}</threat><severity>{2}</severity><qod><value>98</value></qod></result>"""


def test_a_cut_openvas_report_yields_what_was_whole() -> None:
    body = (
        RESULT.format(1, "High", "9.8")
        + RESULT.format(2, "Purple", "")
        + RESULT.format(3, "Log", "0.0")
    )
    items = read(OPENVAS.format(body))
    first, third = only(Finding, items)
    assert (first.severity, first.severity_said, first.score) == ("CRITICAL", "High", 9.8)
    assert first.cve_id == "CVE-2016-2183"
    assert first.references == ("https://example.test/a",)
    assert (first.message, first.remediation) == ("S", "D")
    assert first.assets[0].uid == "10.0.0.1:443/tcp"
    assert (third.severity, third.index) == ("INFO", 2)
    assert only(Rejected, items) == [
        Rejected(1, "/results/1/threat", "is no severity of this format: 'Purple'")
    ]
    (problem,) = only(Problem, items)
    assert problem.reason.startswith("the report is cut")
    assert items[-1] is problem
