"""Settings of the crypto service: what is refused before anything is opened."""

from typing import Any

import pytest
from pydantic import ValidationError

from mesh.sql.settings import EngineUrlError
from services.crypto.settings import CryptoSettings


def settings(**values: Any) -> CryptoSettings:
    return CryptoSettings(**values)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hidden@db.example.com/crypto",
        "postgresql://user:hidden@db.example.com/crypto?sslmode=prefer",
        "postgresql://user:hidden@10.0.0.5/crypto?sslmode=disable",
        "sqlite:///people.db",
        "",
        "no url",
    ],
)
def test_a_database_that_a_network_would_see_in_clear_is_refused(url: str) -> None:
    with pytest.raises(EngineUrlError) as error:
        assert settings(database_url=url).database
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user@db.example.com/crypto?sslmode=verify-full",
        "postgresql+asyncpg://user@db.example.com/crypto?sslmode=require",
        "postgresql://user@127.0.0.1/crypto",
        "postgresql://user@/crypto?host=/var/run/postgresql",
    ],
)
def test_databases_that_are_near_or_encrypted_are_taken(url: str) -> None:
    assert settings(database_url=url).database.startswith("postgresql://user@")


def test_connections_are_one_to_ten_unless_said_otherwise() -> None:
    made = settings()
    assert (made.pool_min, made.pool.size, made.pool.overflow) == (1, 10, 0)


def test_the_name_of_an_environment_stands_in_every_sealed_value() -> None:
    assert settings(environment="production").in_production
    assert not settings().in_production
    with pytest.raises(ValidationError):
        settings(environment="Production!")


def test_help_lists_every_setting_with_its_meaning() -> None:
    shown = CryptoSettings.describe()
    for name in ("SECMESH_CRYPTO_ENVIRONMENT", "SECMESH_CRYPTO_KMS_KEY_ID", "DATABASE_URL"):
        assert name in shown
