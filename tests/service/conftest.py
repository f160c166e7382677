"""What tests of real servers share: one sample AWS account a process."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from cli.sample.account import ANSWERS, populate
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_canned_files import put_files
from mesh.embedded.aws_faults import Faults
from mesh.embedded.postgres import Access
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from tests.databases import inventory_database, security_database
from tests.derived import derived_once, tables_of
from tests.service.collect_world import collecting
from tests.service.compliance_served import served
from tests.service.import_world import imports, project
from tests.service.mfa_world import factors
from tests.service.security_world import CATALOGUE
from tests.service.security_world import World as SecurityWorld
from tests.service.security_world import served as served_security
from tests.service.tenancy_stores import (
    embedded_tenancy_store,
    other_tenancy_store,
    tenancy_store,
)

__all__ = [
    "analysis",
    "aws",
    "collecting",
    "database",
    "embedded_tenancy_store",
    "factors",
    "faults",
    "imports",
    "other_tenancy_store",
    "project",
    "served",
    "tenancy_store",
]


@pytest.fixture(scope="session", autouse=True)
def _derived_once() -> Iterator[None]:
    with derived_once():
        yield


@pytest.fixture
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a database of each kind, with the empty tables of the inventory service."""
    with inventory_database(request.param, tmp_path_factory) as url:
        yield url


@pytest.fixture(scope="session")
def audited_database() -> Iterator[Access]:
    """A database with the tables of the security service: each test has a tenant of its own."""
    with security_database() as access:
        yield access


@pytest.fixture(scope="session")
def aws() -> Iterator[AwsEndpoint]:
    """The endpoint with the sample account, and credentials that lead to it."""
    saved = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in saved:
        del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true"
    )
    # Without them the other way to a bucket's region is gone; test_sync_buckets.py takes both.
    endpoint = AwsEndpoint(Faults(bucket_regions=False))
    put_files(endpoint.canned, ANSWERS)
    populate(endpoint.start(), "us-east-1")
    yield endpoint
    endpoint.stop()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(saved)


@pytest.fixture(scope="session")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecurityWorld]:
    """A served security database that tests share, each file in a tenant of its own."""
    with (
        security_database() as access,
        served_security(access, tmp_path_factory.mktemp("home")) as made,
    ):
        yield made


@pytest.fixture
async def analysis_store(analysis: SecurityWorld) -> AsyncIterator[Store]:
    """The served database, as a process that looks after it has it."""
    engine, owner = open_engine(analysis.access.application), open_engine(analysis.access.owner)
    yield Store(engine, tables_of(CATALOGUE, isolated=True), page_key=b"k" * 32, owner=owner)
    await engine.dispose()
    await owner.dispose()


@pytest.fixture
def faults(aws: AwsEndpoint) -> Iterator[Faults]:
    """The endpoint's faults: none at first, none afterwards."""
    aws.faults.clear()
    yield aws.faults
    aws.faults.clear()
