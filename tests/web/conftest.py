"""A real browser, if one is installed, that can reach nothing but this machine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a browser let one test say so for all."""
    if CHROMIUM is not None and DRIVER is not None:
        return
    here = Path(__file__).parent
    concerned = [
        item
        for item in items
        if here in item.path.parents and "browser" in getattr(item, "fixturenames", ())
    ]
    speaker = min(concerned, key=lambda item: item.nodeid, default=None)
    silent = [item for item in concerned if item is not speaker]
    items[:] = [item for item in items if item not in silent]
    config.hook.pytest_deselected(items=silent)


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("NO PAGE WAS LOOKED AT: install chromium and chromium-driver")
    options = Options()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(DRIVER)) as started:
        started.set_page_load_timeout(30)
        yield started
