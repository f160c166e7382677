"""The alert rules speak of metrics that there are, and those about the database say the truth."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from mesh.sql.backup.backups import Backups
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.backup.schedule import BackupSchedule
from mesh.sql.growth import Growth
from mesh.telemetry.prometheus import enable_metrics, exposition
from tests.databases import NEWEST, empty_database
from tests.service.metric_samples import samples, total
from tests.unit.record_world import ITEMS, records_on

RULES = Path(__file__).parents[2] / "deploy" / "alerts.yaml"
FUNCTIONS = {"sum", "max", "by", "and", "time", "predict_linear", "increase"}
LABELS = {"instance", "pool", "table", "state", "reason", "key_type"}


@pytest.fixture(autouse=True)
def measuring() -> None:
    enable_metrics()


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(NEWEST, tmp_path_factory) as url:
        yield url


def rules(group: str) -> list[dict[str, str]]:
    groups = {each["name"]: each for each in yaml.safe_load(RULES.read_text())["groups"]}
    found: list[dict[str, str]] = groups[group]["rules"]
    return found


def assert_told(group: str, told: str) -> None:
    """Assert that all metrics that the rules of a group read are told."""
    assert rules(group)
    for rule in rules(group):
        words = set(re.findall(r"[a-z_]{2,}", re.sub(r'"[^"]*"|\[[^]]*\]', "", rule["expr"])))
        names = words - FUNCTIONS - LABELS
        assert names, rule
        for name in names:
            assert samples(told, name), f"{rule['alert']}: nothing tells {name}"


async def test_rules_name_metrics_that_are_told(postgres: str, tmp_path: Path) -> None:
    async with records_on(postgres) as records:
        await Growth(records.store).look()
        digest = "of no other store"
        backups = Backups(records.store, BackupFolder(tmp_path / "backups"), digest)
        assert await BackupSchedule(backups, timedelta(hours=1), 3).look()
        told = exposition().decode()
    assert_told("secmesh", told)


async def test_tables_are_measured_as_they_grow(postgres: str) -> None:
    async with records_on(postgres) as records:
        growth = Growth(records.store)
        await growth.look()
        before = total(exposition().decode(), "db_table_size_bytes", table="items")
        for number in range(40):
            await records.create(ITEMS, f"i{number}", title="x" * 20)
        await growth.look()
        told = exposition().decode()
    assert total(told, "db_table_size_bytes", table="items") > before > 0
    used, most = total(told, "db_server_connection_count"), total(told, "db_server_connection_max")
    assert 0 < used < most
