"""``import-postgres`` as a person runs it, against the AWS endpoint of this machine."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cryptography.fernet import Fernet

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.server.program import CommandFailed
from services.tenancy.import_command import IMPORT_POSTGRES
from services.tenancy.import_run import place_of
from services.tenancy.migration.ledger import Ledger
from services.tenancy.migration.vault import OldVault
from services.tenancy.settings import TenancySettings
from services.tenancy.tables_command import CREATE_TABLES
from tests.databases import NEWEST, empty_database
from tests.service.old_tenancy_database import Made, create, fill, read
from tests.service.tenancy_stores import table_names

REGION = "eu-north-1"
KEY = Fernet.generate_key().decode()


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(NEWEST, tmp_path_factory) as found:
        create(found)
        yield found


@pytest.fixture
async def settings(aws: AwsEndpoint, faults: Faults, url: str, tmp_path: Path) -> TenancySettings:
    names = {f"{table.name.lower()}_table": name for table, name in table_names().items()}
    given: dict[str, Any] = {
        "aws_region": REGION,
        "aws_endpoint_url": aws.url,
        "tables_kms_key": "",
        "secrets_kms_key": "alias/aws/secretsmanager",
        "secrets_prefix": f"import-{uuid4().hex}",
        "old_database_url": url,
        **names,
    }
    made = TenancySettings(**given)
    await CREATE_TABLES.run(made, argparse.Namespace())
    return made


async def command(settings: TenancySettings, folder: Path, *options: str) -> None:
    parser = argparse.ArgumentParser()
    IMPORT_POSTGRES.add_arguments(parser)
    keys = folder / "fernet.keys"
    if not keys.exists():
        keys.touch(0o600)
        keys.write_text(f"{KEY}\n")
    given = ["--fernet-keys", str(keys), "--ledger", str(folder / "ledger"), *options]
    await IMPORT_POSTGRES.run(settings, parser.parse_args(given))


async def test_all_the_way_and_back(
    settings: TenancySettings, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(OldVault([KEY]), accounts=11, tenants=2)
    await fill(url, made)
    capsys.readouterr()
    await command(settings, tmp_path, "--dry-run")
    assert "account_credentials: 11 decrypted" in capsys.readouterr().out
    await command(settings, tmp_path)
    assert capsys.readouterr().out == (
        "account_credentials: 11 verified\naccounts: 11 verified\nproviders: 2 verified\n"
        "schedules: 3 verified\ntenants: 2 verified\n"
    )
    await command(settings, tmp_path, "--shadow")
    assert capsys.readouterr().out == "the systems say the same\n"
    before = await read(url)
    await command(settings, tmp_path, "--export")
    assert capsys.readouterr().out == f"exported: {made.number} rows\n"
    after = await read(url)
    sealed = "account_credentials"
    assert {name: after[name] for name in after if name != sealed} == {
        name: before[name] for name in before if name != sealed
    }
    await command(settings, tmp_path, "--activate")
    assert capsys.readouterr().out == "activated: 2 schedules\n"


async def test_refused_rows_are_named_and_fail_the_command(
    settings: TenancySettings, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(OldVault([Fernet.generate_key().decode()]), accounts=1, tenants=1)
    await fill(url, made)
    with pytest.raises(CommandFailed, match=r"^1 rows were refused"):
        await command(settings, tmp_path)
    told = capsys.readouterr()
    assert "none of the keys opens its credential" in told.err
    assert not any(secret in told.out + told.err for secret in made.secrets)
    with pytest.raises(CommandFailed, match="the systems differ in 1 values"):
        await command(settings, tmp_path, "--shadow")


async def test_what_is_wrong_before_it_begins(settings: TenancySettings, tmp_path: Path) -> None:
    keys = tmp_path / "fernet.keys"
    keys.write_text(KEY)
    keys.chmod(0o644)
    with pytest.raises(CommandFailed, match="can be read by others"):
        await command(settings, tmp_path)
    keys.chmod(0o600)
    keys.write_text("no key of Fernet")
    with pytest.raises(CommandFailed, match="no key of Fernet"):
        await command(settings, tmp_path)
    keys.write_text("\n")
    with pytest.raises(CommandFailed, match="holds no key"):
        await command(settings, tmp_path)
    keys.write_text(KEY)
    nowhere = settings.model_copy(update={"old_database_url": "postgresql://127.0.0.1:1/none"})
    with pytest.raises(CommandFailed, match="does not answer"):
        await command(nowhere, tmp_path)
    with pytest.raises(CommandFailed, match="OLD_DATABASE_URL is needed"):
        await command(settings.model_copy(update={"old_database_url": ""}), tmp_path)


async def test_a_ledger_is_of_one_process_and_of_one_place(
    settings: TenancySettings, url: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    await command(settings, tmp_path)
    held = Ledger(ledger, place_of(settings))
    with pytest.raises(CommandFailed, match="is in use by another process"):
        await command(settings, tmp_path)
    held.close()
    elsewhere = settings.model_copy(update={"secrets_prefix": "elsewhere"})
    with pytest.raises(CommandFailed, match=f"{ledger} is the ledger of another place: {REGION}"):
        await command(elsewhere, tmp_path)
    ledger.unlink()
    with pytest.raises(CommandFailed, match="there is no ledger"):
        await command(settings, tmp_path, "--activate")
    ledger.write_text("something else, and longer than the head of a database is")
    with pytest.raises(CommandFailed, match="is no ledger"):
        await command(settings, tmp_path)


async def test_an_old_database_of_another_shape_is_told(
    settings: TenancySettings, url: str, tmp_path: Path
) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE accounts RENAME COLUMN account_number TO number")
    with pytest.raises(CommandFailed, match='UndefinedColumn: column "account_number" does not'):
        await command(settings, tmp_path, "--shadow")


async def test_rows_of_other_types_and_without_values_are_read(
    settings: TenancySettings, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(OldVault([KEY]), accounts=1, tenants=2)
    await fill(url, made)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE tenants ALTER description DROP NOT NULL")
        connection.execute("UPDATE tenants SET description = NULL")
        connection.execute(
            """ALTER TABLE account_credentials
               ALTER credentials_encrypted TYPE bytea USING credentials_encrypted::bytea"""
        )
        connection.execute("ALTER TABLE schedules ALTER created_at TYPE timestamp")
    with pytest.raises(CommandFailed, match=r"^1 rows were refused"):
        await command(settings, tmp_path)
    told = capsys.readouterr()
    assert "tenants: 2 verified" in told.out
    assert "account_credentials: 1 verified" in told.out
    assert told.err.endswith("created_at is no moment with a time zone\n")
