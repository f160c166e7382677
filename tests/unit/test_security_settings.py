"""Settings of the security service: names that operators know, and databases it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from mesh.sql.settings import EngineUrlError
from services.security.settings import SecuritySettings

URL = "postgresql://u:p%40ss@/security?host=%2Frun%2Fpg"


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_any_driver_of_postgresql_names_the_same_database(driver: str) -> None:
    settings = SecuritySettings(database_url=URL.replace("postgresql", driver))
    assert settings.database == URL
    assert "p%40ss" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "DATABASE_URL is not set"),
        ("sqlite:///security.db", "in PostgreSQL, not in 'sqlite'"),
        ("mysql://u:secret@h/d", "in PostgreSQL, not in 'mysql'"),
        ("no url", "cannot be parsed"),
    ],
)
def test_another_database_is_refused(url: str, problem: str) -> None:
    with pytest.raises(EngineUrlError, match=problem) as error:
        _ = SecuritySettings(database_url=url).database
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_command_ends_with_what_is_wrong(command: str, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    done = subprocess.run(
        [sys.executable, "-m", "services.security", command],
        env={
            "DATABASE_URL": "sqlite:///security.db",
            "SECMESH_SECURITY_JWKS": str(tmp_path / "jwks.json"),
            "PYTHONPATH": ":".join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_the_pool_is_set_by_the_names_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = SecuritySettings().pool
    assert (pool.size, pool.overflow, pool.wait_seconds, pool.recycle_seconds) == (8, 8, 15, 300)
    assert not pool.shows_statements
    monkeypatch.setenv("DB_POOL_SIZE", "3")
    monkeypatch.setenv("DB_MAX_OVERFLOW", "4")
    monkeypatch.setenv("DB_POOL_TIMEOUT", "2.5")
    monkeypatch.setenv("SECMESH_SECURITY_POOL_RECYCLE_SECONDS", "60")
    pool = SecuritySettings().pool
    assert (pool.size, pool.overflow, pool.wait_seconds, pool.recycle_seconds) == (3, 4, 2.5, 60)
    monkeypatch.setenv("DB_POOL_SIZE", "0")
    with pytest.raises(ValidationError, match="DB_POOL_SIZE"):
        SecuritySettings()


def test_debug_shows_statements_and_logs_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SecuritySettings().log_level == "INFO"
    monkeypatch.setenv("DEBUG", "true")
    settings = SecuritySettings()
    assert settings.pool.shows_statements
    assert settings.log_level == "DEBUG"
    monkeypatch.setenv("SECMESH_SECURITY_LOG_LEVEL", "ERROR")
    assert SecuritySettings().log_level == "ERROR"


def test_help_lists_every_setting() -> None:
    text = SecuritySettings.describe()
    for name in ("DATABASE_URL", "DB_POOL_SIZE", "DB_MAX_OVERFLOW", "DB_POOL_TIMEOUT", "DEBUG"):
        assert f"  {name} " in text
    assert "  SECMESH_SECURITY_LISTEN " in text
