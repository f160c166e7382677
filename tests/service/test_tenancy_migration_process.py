"""``import-postgres`` as a process that ends at any moment and is run again."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from tests.databases import NEWEST, empty_database
from tests.service.migration_process import Migration, migration_of
from tests.service.migration_story import migrated_and_back
from tests.service.old_tenancy_database import create

INTERRUPTED = 130


@pytest.fixture
async def migration(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Migration]:
    with empty_database(NEWEST, tmp_path_factory) as url:
        yield await migration_of(url, aws.url, tmp_path, accounts=30, tenants=3)


async def test_killed_three_times_and_brought_back(
    migration: Migration, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with empty_database(NEWEST, tmp_path_factory) as other:
        create(other)
        await migrated_and_back(migration, other, kills=3, chance=Random())


async def test_an_interruption_by_hand_ends_it_without_a_traceback(migration: Migration) -> None:
    assert migration.interrupted(5, signal.SIGINT) == INTERRUPTED
    assert migration.run().returncode == 0
    assert migration.done() == migration.made.number
