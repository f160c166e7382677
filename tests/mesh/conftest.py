"""One gateway for each worker, in front of a service that notes what it gets."""

from collections.abc import Iterator

import pytest

from tests.mesh.gateway_fixtures import Gateway, running_gateway
from tests.mesh.upstream import Journal, Upstream, running_upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as started:
        yield started


@pytest.fixture(scope="session")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    services = {"inventory": upstream.address}
    with running_gateway(services, tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest.fixture
def journal(upstream: Upstream) -> Journal:
    """The calls of this test."""
    upstream.journal.calls.clear()
    return upstream.journal
