"""The page of the API's documents in a real browser, with no network but the gateway."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from gateway.contracts import select
from gateway.openapi.document import document_bytes
from tests.mesh.gateway_fixtures import Gateway, running_gateway
from tests.mesh.upstream import Upstream, running_upstream

WAIT_SECONDS = 60


@cache
def document() -> Any:
    """The document as it is asked for; not at once, for writing it takes a moment."""
    return json.loads(document_bytes(select(["inventory"])))


def operation_count() -> int:
    return sum(len(verbs) for verbs in document()["paths"].values())


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as started:
        yield started


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("web")
    with running_gateway({"inventory": upstream.address}, folder) as started:
        yield started


def logged(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """Give what was logged since it was asked for last."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call] # so the library has it
    return entries


@pytest.fixture
def page(browser: webdriver.Chrome, gateway: Gateway) -> Iterator[webdriver.Chrome]:
    """The page when it has loaded; afterwards it has logged nothing and asked nobody else."""
    logged(browser, "browser")
    logged(browser, "performance")
    browser.get(f"http://{gateway.address}/docs")
    WebDriverWait(browser, WAIT_SECONDS).until(lambda _: operations(browser))
    yield browser
    assert [entry for entry in logged(browser, "browser") if entry["level"] != "DEBUG"] == []
    asked = [
        message["params"]["request"]["url"]
        for entry in logged(browser, "performance")
        if (message := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    ]
    assert asked
    strange = [url for url in asked if not url.startswith((f"http://{gateway.address}/", "data:,"))]
    assert strange == []


def operations(page: webdriver.Chrome) -> list[WebElement]:
    """Give those that are shown, by one question to the browser."""
    shown = "[...document.querySelectorAll('.operation')].filter(each => each.checkVisibility())"
    found: list[WebElement] = page.execute_script(f"return {shown}")
    return found


def opened(page: webdriver.Chrome, verb: str, path: str) -> WebElement:
    """Open the details of an operation."""
    shown = operations(page)
    told = "return arguments[0].map(each => each.querySelector('summary').innerText)"
    heads: list[str] = page.execute_script(told, shown)
    found = {tuple(head.split()[:2]): each for head, each in zip(heads, shown, strict=True)}
    return unfolded(page, found[verb, path])


def unfold(page: webdriver.Chrome, holder: WebElement, title: str) -> WebElement:
    inside = {head(each): each for each in holder.find_elements(By.TAG_NAME, "details")}
    return unfolded(page, inside[title])


def head(details: WebElement) -> str:
    return details.find_element(By.TAG_NAME, "summary").text


def unfolded(page: webdriver.Chrome, details: WebElement) -> WebElement:
    details.find_element(By.TAG_NAME, "summary").click()
    WebDriverWait(page, WAIT_SECONDS).until(lambda _: details.get_attribute("data-filled"))
    return details


def test_every_service_and_operation_is_listed(page: webdriver.Chrome) -> None:
    assert len(operations(page)) == operation_count()
    heads = [each.text for each in page.find_elements(By.TAG_NAME, "h2")]
    assert heads == [tag["name"] for tag in document()["tags"]]


def test_search_leaves_what_holds_every_word(page: webdriver.Chrome) -> None:
    field = page.find_element(By.ID, "search")
    field.send_keys("EVALUATE ssp")
    assert {each.find_element(By.CLASS_NAME, "path").text for each in operations(page)} == {
        "/inventory/v1/tenants/{tenant}/ssps/{ssp}:evaluate"
    }
    heads = [each for each in page.find_elements(By.TAG_NAME, "h2") if each.is_displayed()]
    assert [each.text for each in heads] == ["secmesh.inventory.v1.ComplianceService"]
    field.clear()
    field.send_keys("nothing-has-this")
    assert operations(page) == []
    field.clear()
    field.send_keys(" ")
    assert len(operations(page)) == operation_count()


def test_operation_shows_what_its_contract_says(page: webdriver.Chrome) -> None:
    holder = opened(page, "POST", "/inventory/v1/tenants/{tenant}/ssps/{ssp}:evaluate")
    text = holder.text
    assert "permission inventory.assessments.create" in text
    assert "at most 3600 s" in text
    assert "must not be repeated" in text
    assert "^[a-z][a-z0-9-]{2,62}$" in text  # the bound of a path parameter
    assert "maxItems 1000" in text  # a bound of the body
    assert "Oldest evidence that counts" in text  # a comment of the contract
    errors = unfold(page, holder, "Errors")
    assert "RATE_LIMITED (429, RESOURCE_EXHAUSTED)" in errors.text
    assert "google.rpc.Status" in errors.text
    answer = unfold(page, holder, "200")
    event = unfold(page, answer, "secmesh.inventory.v1.EvaluateResponse")
    assert "ended" in event.text


def test_call_from_the_page(page: webdriver.Chrome, gateway: Gateway) -> None:
    holder = opened(page, "GET", "/inventory/v1/kinds")
    trial = unfold(page, holder, "Try it")
    answer = trial.find_element(By.CLASS_NAME, "answer")
    page.find_element(By.ID, "token").send_keys(gateway.token())
    trial.find_element(By.TAG_NAME, "button").click()
    WebDriverWait(page, WAIT_SECONDS).until(lambda _: answer.text.startswith("200"))
    assert answer.text == "200\n{}"
    kept = "return [localStorage.length, sessionStorage.length, document.cookie]"
    assert page.execute_script(kept) == [0, 0, ""]


def test_file_sent_from_the_page(
    page: webdriver.Chrome, gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(b'{"plan": true}')
    holder = opened(page, "POST", "/inventory/v1/tenants/{tenant}/ssps/{ssp}:upload")
    assert "a file of at most 33554432 bytes" in holder.text
    trial = unfold(page, holder, "Try it")
    for name, text in (("tenant", "acme"), ("ssp", "plan"), ("file", str(file))):
        trial.find_element(By.CSS_SELECTOR, f"[aria-label={name}]").send_keys(text)
    page.find_element(By.ID, "token").send_keys(gateway.token())
    trial.find_element(By.TAG_NAME, "button").click()
    answer = trial.find_element(By.CLASS_NAME, "answer")
    WebDriverWait(page, WAIT_SECONDS).until(lambda _: answer.text.startswith("200"))
    request = upstream.journal.last.request
    assert (request.parent, request.ssp_id) == ("tenants/acme", "plan")
    assert request.file.data == file.read_bytes()


def test_page_forbids_what_it_does_not_need(gateway: Gateway) -> None:
    for path, media_type in (
        ("/docs", "text/html"),
        ("/docs.css", "text/css"),
        ("/docs.js", "text/javascript"),
    ):
        response = gateway.client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == media_type
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "http:" not in response.text
        assert "https:" not in response.text
