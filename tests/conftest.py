"""Databases for tests of the store; property tests that bear a machine under load."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.databases import DATABASES, empty_database

# How long an example takes says more of the machine than of the code.
settings.register_profile("any-load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-load")


@pytest.fixture(params=DATABASES)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    with empty_database(request.param, tmp_path_factory) as url:
        yield url


@pytest.fixture(scope="module", params=DATABASES)
def module_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a database that the tests of a module share, one of each kind."""
    with empty_database(request.param, tmp_path_factory) as url:
        yield url
