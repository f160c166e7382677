"""``import-postgres`` as processes that are killed and run again, and what must come of it."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import boto3
import psycopg
from cryptography.fernet import Fernet

from services.tenancy.migration.old_rows import (
    OldAccount,
    OldCredential,
    OldProvider,
    OldSchedule,
    OldTenant,
)
from services.tenancy.migration.vault import OldVault
from tests.service.old_tenancy_database import BEGIN, Made, create, fill
from tests.service.tenancy_stores import REGION, made_tables

WAIT = 120
"""Seconds in which a process must bring at least one row."""
_DONE = "SELECT count(*) FROM ledger WHERE state = 'verified'"
REFUSED = {
    "tenants": "tenant_id fits no id of a tenant",
    "providers": "provider_type is none that there is",
    "accounts": "FIELD_INVALID: account.cloud_account_id: must be 12 digits",
    "account_credentials": "none of the keys opens its credential",
    "schedules": "FIELD_INVALID: schedule.expression: ",
}
"""How it begins what a row that ``Migration.spoil`` made is refused for."""


@dataclass
class Migration:
    """An old database, an empty new system, and the processes between them."""

    url: str
    made: Made
    keys: list[str]
    folder: Path
    environment: dict[str, str]
    names: list[str]
    """Tables of the new system."""

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def prefix(self) -> str:
        return self.environment["SECRETS_MANAGER_PREFIX"]

    def command(self, *options: str) -> list[str]:
        files = ["--fernet-keys", str(self.folder / "keys"), "--ledger", str(self.ledger)]
        return [sys.executable, "-m", "services.tenancy", "import-postgres", *files, *options]

    def run(self, *options: str, url: str = "") -> "subprocess.CompletedProcess[str]":
        """Run to the end; whatever is said holds no secret and no traceback."""
        ended = subprocess.run(
            self.command(*options),
            env=self.environment | ({"OLD_DATABASE_URL": url} if url else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        self.hold(ended.stdout + ended.stderr)
        return ended

    def interrupted(self, rows: int, by: signal.Signals = signal.SIGKILL) -> int:
        """Run until so many more rows are done, then end it; give its exit status."""
        with tempfile.TemporaryFile("w+") as said:
            wanted = min(self.done() + rows, self.made.number - 1)
            process = subprocess.Popen(
                self.command(), env=self.environment, stdout=said, stderr=said
            )
            try:
                self._until(process, wanted)
            finally:
                process.send_signal(by)
            status = process.wait(WAIT)
            said.seek(0)
            self.hold(said.read())
        return status

    def _until(self, process: subprocess.Popen[bytes], wanted: int) -> None:
        """Wait until so many rows are done, or the process has ended by itself."""
        done, ends = self.done(), time.monotonic() + WAIT
        while process.poll() is None and done < wanted:
            assert time.monotonic() < ends, "it does not get on"
            time.sleep(0.02)
            before, done = done, self.done()
            if done > before:
                ends = time.monotonic() + WAIT

    def hold(self, said: str) -> None:
        """Hold what was said against what must not be."""
        assert "Traceback" not in said, said
        for secret in [*self.made.secrets, *self.keys]:
            assert secret not in said

    def done(self) -> int:
        """Count rows that are verified."""
        return sum(count for (count,) in self._asked(_DONE))

    def states(self) -> Counter[tuple[str, str]]:
        """Count rows by table and state, also while a process writes them."""
        return Counter((kind, state) for kind, _, state, _ in self.entries())

    def problems(self) -> dict[tuple[str, str], str]:
        """Give what was refused, and why."""
        return {
            (kind, identity): problem
            for kind, identity, state, problem in self.entries()
            if state == "refused"
        }

    def entries(self) -> list[tuple[str, str, str, str]]:
        """Give kind, id, state and problem of each row; none before the ledger is made."""
        return self._asked("SELECT kind, id, state, problem FROM ledger")

    def _asked(self, statement: str) -> list[Any]:
        if not self.ledger.exists():
            return []
        with (
            contextlib.closing(sqlite3.connect(self.ledger)) as connection,
            contextlib.suppress(sqlite3.OperationalError),
        ):
            return list(connection.execute(statement))
        return []

    def items(self) -> int:
        """Count what the tables hold."""
        client: Any = self._client("dynamodb")
        found = sum(client.scan(TableName=name, Select="COUNT")["Count"] for name in self.names)
        client.close()
        return int(found)

    def secrets(self) -> int:
        """Count the secrets of this system."""
        client: Any = self._client("secretsmanager")
        pages = client.get_paginator("list_secrets").paginate()
        names = [each["Name"] for page in pages for each in page["SecretList"]]
        client.close()
        return sum(name.startswith(f"{self.prefix}/") for name in names)

    def spoil(self) -> set[tuple[str, str]]:
        """Break one row of each table; give which. Such as others rest upon are added."""
        made = self.made
        tenant = OldTenant("UPPER", "Upper", "", BEGIN)
        owner = made.tenants[0].tenant_id
        provider = OldProvider(str(uuid4()), owner, "oracle", "Elsewhere", BEGIN)
        account = replace(
            made.accounts[0], account_id=str(uuid4()), account_name="Short", account_number="12"
        )
        credential = replace(made.credentials[0], credentials_encrypted="gAAAA-not-ours")
        schedule = replace(made.schedules[0], cron_expression="never", schedule_type="cron")
        rows = (tenant, provider, account, credential, schedule)
        for row in rows:
            self.put(row)
        keys = (
            tenant.tenant_id,
            provider.provider_id,
            account.account_id,
            credential.account_id,
            schedule.schedule_id,
        )
        return set(zip(REFUSED, keys, strict=True))

    def mend(self, broken: set[tuple[str, str]]) -> None:
        """Put right what ``spoil`` broke, in the old system."""
        self.put(self.made.credentials[0])
        self.put(self.made.schedules[0])
        added = dict(broken)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DELETE FROM accounts WHERE account_id = %s", (added["accounts"],))
            connection.execute(
                "DELETE FROM providers WHERE provider_id = %s", (added["providers"],)
            )
            connection.execute("DELETE FROM tenants WHERE tenant_id = %s", (added["tenants"],))

    def put(self, row: OldTenant | OldProvider | OldAccount | OldCredential | OldSchedule) -> None:
        names = list(vars(row))
        columns, places = ", ".join(names), ", ".join(["%s"] * len(names))
        sets = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        statement = (
            f"INSERT INTO {row.TABLE} ({columns}) VALUES ({places}) "  # noqa: S608 - of the schema
            f"ON CONFLICT ({names[0]}) DO UPDATE SET {sets}"
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode(), list(vars(row).values()))

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service's
            region_name=REGION,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


async def migration_of(
    url: str, endpoint: str, folder: Path, *, accounts: int, tenants: int
) -> Migration:
    """Fill an old database, empty so far, and make the tables of a new system."""
    create(url)
    newest, older = (Fernet.generate_key().decode() for _ in range(2))
    # Other tests of this endpoint must have other tenants.
    made = Made(
        OldVault([newest]),
        accounts,
        tenants,
        seed=Random().getrandbits(64),
        older=OldVault([older]),
    )
    await fill(url, made)
    keys = folder / "keys"
    keys.touch(0o600)
    keys.write_text(f"{newest}\n{older}\n")
    names = made_tables(endpoint)
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SECRETS_MANAGER_PREFIX": f"import-{uuid4().hex}",
        "SECRETS_MANAGER_KMS_KEY_ID": "alias/aws/secretsmanager",
        "OLD_DATABASE_URL": url,
        **{table.variable: name for table, name in names.items()},
    }
    return Migration(url, made, [newest, older], folder, environment, list(names.values()))
