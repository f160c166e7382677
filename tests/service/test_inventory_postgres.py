"""The inventory service on PostgreSQL: its settings, and its refusal of what it cannot use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from services.inventory.settings import InventorySettings
from tests.databases import DATABASES, SQLITE, empty_database


@pytest.fixture(params=[each for each in DATABASES if each != SQLITE])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(request.param, tmp_path_factory) as made:
        yield made


def migrate(url: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": url, "SECMESH_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "services.inventory", "migrate"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_service_makes_its_tables(url: str, tmp_path: Path) -> None:
    done = migrate(url, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT data_type, collation_name FROM information_schema.columns "
            "WHERE table_name = 'iam_users' AND column_name IN ('id', 'valid_from', 'labels') "
            "ORDER BY column_name"
        ).fetchall()
    assert found == [("text", "C"), ("jsonb", None), ("timestamp with time zone", None)]


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    done = migrate(f"postgresql://u:hunter2@/inventory?host={tmp_path}", tmp_path)
    assert (done.returncode, done.stderr) == (1, "store does not answer\n")


def test_the_pool_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECMESH_INVENTORY_POOL_SIZE", "3")
    monkeypatch.setenv("SECMESH_INVENTORY_POOL_CONNECT_SECONDS", "2")
    pool = InventorySettings().pool
    assert (pool.size, pool.overflow, pool.connect_seconds) == (3, 8, 2)
    monkeypatch.setenv("SECMESH_INVENTORY_POOL_SIZE", "0")
    with pytest.raises(ValidationError, match=r"(?i)pool_size"):
        InventorySettings()
