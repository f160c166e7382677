"""How long soak tests last, and the account they share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conftest import aws, faults

__all__ = ["aws", "faults"]


@pytest.fixture(scope="session")
def minutes() -> float:
    """How long each test goes on, by SECMESH_SOAK_MINUTES."""
    return float(os.environ.get("SECMESH_SOAK_MINUTES", "10"))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of its own: at its start, any pytest closes its folders to PostgreSQL's user."""
    with tempfile.TemporaryDirectory(prefix="secmesh-soak-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and give them the time they need."""
    for item in items:
        if "/soak/" in item.path.as_posix():
            item.add_marker(pytest.mark.soak)
            item.add_marker(pytest.mark.timeout(0))
