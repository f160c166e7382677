"""The old system's database of a thousand accounts brought over, with processes that are killed."""

from pathlib import Path
from random import Random

import pytest

from mesh.embedded.aws import AwsEndpoint
from tests.databases import NEWEST, empty_database
from tests.service.migration_process import migration_of
from tests.service.migration_story import migrated_and_back
from tests.service.old_tenancy_database import create

ACCOUNTS = 1_000
TENANTS = 8
KILLS = 8


async def test_a_thousand_accounts_come_over_and_go_back(
    aws: AwsEndpoint, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        empty_database(NEWEST, tmp_path_factory) as url,
        empty_database(NEWEST, tmp_path_factory) as other,
    ):
        create(other)
        migration = await migration_of(url, aws.url, tmp_path, accounts=ACCOUNTS, tenants=TENANTS)
        await migrated_and_back(migration, other, kills=KILLS, chance=Random())
