"""Reports show what a contradicted control demands, in the words that the tenant loaded."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from secmesh.inventory.v1 import ssp_pb2
from secmesh.inventory.v1.catalog_pb2 import CatalogControl
from services.inventory.catalogs.catalog_reading import read_catalog
from services.inventory.compliance.report import Report, markdown_report
from services.inventory.compliance.report_demands import HEADING, LONGEST, demands
from services.inventory.compliance.report_html import html_report
from tests.unit.oscal_catalog import catalog, written
from tests.unit.report_samples import HOSTILE, SSP, report_of, verdict_of


def texts() -> dict[str, CatalogControl]:
    name = "tenants/acme/catalogs/nist-sp-800-53-rev5"
    found = read_catalog(name, written(catalog())).controls
    return {each.name.rpartition("/")[2]: each for each in found}


def report(word: str = "CONTRADICTED", part: str = "") -> Report:
    verdict = verdict_of(word, "ac-2")
    verdict.statement_id = part
    values = {"ac-02_odp.01": "the managers"}
    claim = ssp_pb2.Claim(name=f"{SSP}/claims/ac-2", parameters=values)
    return replace(report_of([verdict], claims=[claim]), texts=texts())


def shown(given: Report) -> list[tuple[int, str]]:
    found = demands(given.texts, given.claims, given.verdicts[0])
    return [(each.depth, each.text) for each in found]


def test_a_claim_about_a_part_shows_that_part_with_the_values_of_the_plan() -> None:
    assert shown(report(part="ac-2_smt.b")) == [
        (
            0,
            "b. Tell the managers [Selection (one or more): at once; "
            "within [Assignment: organization-defined days]]:",
        ),
        (1, "1. Look monthly;"),
        (1, "2. Ask [Assignment: organization-defined ac-02_odp.05]."),
    ]
    assert shown(report(part="ac-2_smt.b.1")) == [(0, "1. Look monthly;")]


@pytest.mark.parametrize("part", ["", "ac-2_smt.z"])
def test_a_claim_about_all_of_it_shows_the_whole_statement(part: str) -> None:
    found = shown(report(part=part))
    assert [depth for depth, _ in found] == [0, 0, 1, 1]
    assert found[0] == (0, "a. Say which accounts there may be;")


def test_nothing_is_shown_of_what_holds_or_is_not_loaded() -> None:
    assert not shown(report("WEAKENED"))
    assert not shown(replace(report(), texts={}))
    for write in (markdown_report, html_report):
        assert HEADING not in write(replace(report(), texts={})).decode()
        assert HEADING not in write(report("WEAKENED")).decode()


def test_long_demands_are_cut() -> None:
    given = report()
    for part in given.texts["ac-2"].parts:
        part.prose = "x" * 3000
    found = shown(given)
    assert sum(len(text) for _, text in found) <= LONGEST + 10
    assert found[-1][1].endswith("…")


def test_markdown_and_html_show_it() -> None:
    given = report(part="ac-2_smt.b")
    text = markdown_report(given).decode()
    assert f"- {HEADING}:\n  - b. Tell the managers" in text
    assert "\n    - 1. Look monthly;\n" in text
    page = html_report(given).decode()
    assert f"<summary>{HEADING}</summary>" in page
    assert '<p class="depth1">1. Look monthly;</p>' in page


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_foreign_words_are_no_markup() -> None:
    given = report()
    plain = Tags(html_report(given).decode()).seen
    for part in given.texts["ac-2"].parts:
        part.prose, part.title, part.label = HOSTILE, HOSTILE, HOSTILE
    given.claims[0].parameters["ac-02_odp.01"] = HOSTILE
    assert {*Tags(html_report(given).decode()).seen} == {*plain}
    text = markdown_report(given).decode()
    assert "<script" not in text
    assert "\n# Heading" not in text
