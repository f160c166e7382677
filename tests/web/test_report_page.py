"""The report of an assessment in a real browser, from a file, with no network at all."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import ssp_pb2, trend_pb2
from services.inventory.compliance.recommendation import finding_id
from services.inventory.compliance.report import Mend, Report
from services.inventory.compliance.report_html import html_report
from tests.unit.report_samples import HOSTILE, NOW, every_verdict, report_of, verdict_of

PHONE, DESK = (390, 844), (1280, 800)
RULES = '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms"}}]}'
COMMAND = (
    "aws s3api put-bucket-encryption --bucket payroll-exports-eu "
    f"--server-side-encryption-configuration '{RULES}'"
)
WORDS = "All exports of the payroll are encrypted at rest with keys of our own, rotated each year. "


def trend() -> trend_pb2.Trend:
    made = trend_pb2.Trend(assessments=3)
    for days, count in ((30, 3), (12, 2), (0, 2)):
        point = made.points.add(evaluate_time=NOW - timedelta(days=days))
        point.claim_counts.add(verdict=pb.VERDICT_CONTRADICTED, count=count)
        point.claim_counts.add(verdict=pb.VERDICT_SUPPORTED, count=9)
    return made


def report(text: str = "") -> Report:
    """Make a report whose words are as long as they come."""
    false = verdict_of("CONTRADICTED", "sc-28.1", text, 12)
    false.component_title = "Object storage of the payroll, of all regions " * 3
    false.since.FromDatetime(NOW - timedelta(days=12))
    evidence = false.check_results[0].evidence[0]
    evidence.subject = f"arn:aws:s3:::{'payroll-exports-eu-' * 12}"
    evidence.values["policy"] = json.dumps({"Statement": ["x" * 900]})
    made = report_of([false, *every_verdict(text)], text=text)
    claim = ssp_pb2.Claim(name=false.claim, description=WORDS * 20)
    finding = finding_id(false.check_results[0].check_id, evidence.subject)
    mending = {finding: Mend([COMMAND], [])}
    for verdict in made.verdicts:
        if verdict.verdict == pb.VERDICT_CONTRADICTED and verdict is not false:
            verdict.since.FromDatetime(NOW)
    return Report(made.assessment, made.plan, made.verdicts, [claim], trend(), mending)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report")
    (made / "report.html").write_bytes(html_report(report()))
    (made / "hostile.html").write_bytes(html_report(report(HOSTILE)))
    return made


def logged(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """Give what was logged since it was asked for last."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call] # so the library has it
    return entries


def sized(browser: webdriver.Chrome, size: tuple[int, int]) -> None:
    measures = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", measures)


@pytest.fixture(params=["report.html", "hostile.html"])
def page(
    request: pytest.FixtureRequest, browser: webdriver.Chrome, folder: Path
) -> Iterator[webdriver.Chrome]:
    """The page; afterwards it has logged nothing and asked nobody."""
    logged(browser, "browser")
    logged(browser, "performance")
    sized(browser, DESK)
    browser.get((folder / request.param).as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert [entry for entry in logged(browser, "browser") if entry["level"] != "DEBUG"] == []
    asked = [
        message["params"]["request"]["url"]
        for entry in logged(browser, "performance")
        if (message := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(folder.as_uri())] == []


def seen(page: webdriver.Chrome, element: WebElement) -> bool:
    """Tell whether an element stands whole within the first view, uncovered."""
    found: bool = page.execute_script(
        """
        const box = arguments[0].getBoundingClientRect();
        const inside = box.top >= 0 && box.left >= 0 && box.width > 0 && box.height > 0
          && box.bottom <= innerHeight && box.right <= document.documentElement.clientWidth;
        const top = document.elementFromPoint(box.left + 2, box.top + box.height / 2);
        return inside && (arguments[0].contains(top) || top.contains(arguments[0]));
        """,
        element,
    )
    return found


def shown(page: webdriver.Chrome, selector: str) -> list[WebElement]:
    return [each for each in page.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()]


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_first_view_says_what_is_false_and_what_mends_it(
    page: webdriver.Chrome, size: tuple[int, int]
) -> None:
    sized(page, size)
    first = page.find_element(By.ID, "first")
    for selector, wanted in (
        ("p b", "2"),
        ("h2", "SC-28(1)"),
        (".says dd", "implemented"),
        (".observed .value", '"NONE'),
        (".mend .command", COMMAND),
    ):
        element = first.find_element(By.CSS_SELECTOR, selector)
        assert wanted in element.text
        assert seen(page, element), selector
    assert WORDS.strip() in first.text
    assert first.text.startswith("2\nof 14 claims are false") or (
        first.text.startswith("2 of 14 claims are false")
    )


@pytest.mark.parametrize("size", [PHONE, (320, 600), DESK], ids=["phone", "small", "desk"])
def test_nothing_is_wider_than_the_screen(page: webdriver.Chrome, size: tuple[int, int]) -> None:
    sized(page, size)
    wide: int = page.execute_script("return document.documentElement.scrollWidth")
    assert wide <= size[0]


def test_search_and_choices_leave_what_fits(page: webdriver.Chrome) -> None:
    cards, rows = len(shown(page, ".card")), len(shown(page, ".claims tbody tr"))
    assert (cards, rows) == (8, 16)
    field = page.find_element(By.CSS_SELECTOR, "#filter input")
    field.send_keys("sc-28 ENCRYPTION")
    told = page.find_element(By.ID, "told")
    assert len(shown(page, ".card")) == 1
    assert len(shown(page, ".findings")) == 1, "a section without cards goes, too"
    field.clear()
    field.send_keys("SC-28")
    assert len(shown(page, ".claims tbody tr")) == 1
    assert told.text == "Filtered: 1 of 16 shown"
    field.clear()
    field.send_keys(" ")
    assert (len(shown(page, ".card")), told.text) == (cards, "")
    verdict, severity = map(Select, page.find_elements(By.CSS_SELECTOR, "#filter select"))
    verdict.select_by_visible_text("contradicted")
    assert len(shown(page, ".card")) == len(shown(page, ".claims tbody tr")) == 2
    severity.select_by_visible_text("low")
    assert shown(page, "[data-verdict]") == []
    assert told.text == "Filtered: 0 of 16 shown"


def test_without_script_everything_is_shown(page: webdriver.Chrome) -> None:
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.refresh()
    assert shown(page, "#filter") == []
    assert len(shown(page, ".card")) == 8
    assert len(shown(page, ".claims tbody tr")) == 16


def test_charts_are_drawn(page: webdriver.Chrome) -> None:
    assert len(shown(page, "#trend .piles rect")) == 6
    label = page.find_element(By.CSS_SELECTOR, "#trend .piles").get_attribute("aria-label")
    assert label == (
        "Claims over time: 2029-12-02: 3 Evidence fails, 9 Evidence agrees; "
        "2030-01-01: 2 Evidence fails, 9 Evidence agrees"
    )
    colours = {each.value_of_css_property("fill") for each in shown(page, "#trend .piles rect")}
    assert len(colours) == 2


def test_print_shows_the_filter_by_its_words_alone(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "#filter input").send_keys("SC-28")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert shown(page, "#filter input, #filter select") == []
    assert [each.text for each in shown(page, "#told")] == ["Filtered: 1 of 16 shown"]
    assert page.find_element(By.CSS_SELECTOR, "#first .command").is_displayed()
    assert page.find_element(By.TAG_NAME, "body").value_of_css_property("background-color") in (
        "rgb(255, 255, 255)",
        "rgba(255, 255, 255, 1)",
    )
