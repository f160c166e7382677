"""What all tests share: examples of properties, and databases for tests of the store."""

import os
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from mesh.server.garbage import kept_for_good
from tests import inventory_store
from tests.databases import DATABASES, NEWEST, SQLITE, empty_database
from tests.examples import examples

# How long an example takes says nothing of it on a machine that does other work as well.
settings.register_profile(
    "suite",
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


# In front of what tests start stands no balancer that must notice first that it is to stop.
for _service in ("CRYPTO", "INVENTORY", "SECURITY", "TENANCY"):
    os.environ.setdefault(f"SECMESH_{_service}_DRAIN_SECONDS", "0")

# Every process that tests start would otherwise compile all sources anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell lets what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the store of the inventory service be chosen."""
    parser.addoption(
        inventory_store.OPTION,
        choices=inventory_store.KINDS,
        default=SQLITE,
        help="where tests of the inventory service have its store; with postgresql none but those",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose that store, once for each process of the tests."""
    inventory_store.choose(config.getoption(inventory_store.OPTION))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected for good: the search for garbage in it took a tenth of the time."""
    with kept_for_good():
        return (yield)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the store's own tests on every database, and what stands on it on the newest ones."""
    of_store = metafunc.module.__name__.rpartition(".")[2].startswith("test_sql_")
    kinds = DATABASES if of_store else [SQLITE, NEWEST]
    if inventory_store.on_postgresql():
        # What a file is asked is the same whichever store was chosen.
        kinds = [kind for kind in kinds if kind != SQLITE]
    if "database" in metafunc.fixturenames:
        metafunc.parametrize("database", kinds, indirect=True)
    if "module_database" in metafunc.fixturenames:
        metafunc.parametrize("module_database", kinds, indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what may take long, so that no worker still has it when the others are done."""
    if inventory_store.on_postgresql():
        inventory_store.keep_those_with_a_store(config, items)
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    with empty_database(request.param, tmp_path_factory) as url:
        yield url


@pytest.fixture(scope="module")
def module_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a database that the tests of a module share, one of each kind."""
    with empty_database(request.param, tmp_path_factory) as url:
        yield url


@pytest.fixture(scope="module", autouse=True)
def _stores_of_module() -> Iterator[None]:
    with inventory_store.stores_dropped():
        yield


@pytest.fixture(autouse=True)
def _stores_of_test() -> Iterator[None]:
    with inventory_store.stores_dropped():
        yield
