"""A database of the old system, made up: tenants, accounts, credentials under Fernet, schedules."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import psycopg

from services.tenancy.migration.old_database import OldDatabase
from services.tenancy.migration.old_rows import (
    OldAccount,
    OldCredential,
    OldProvider,
    OldRow,
    OldSchedule,
    OldTenant,
)
from services.tenancy.migration.vault import OldVault

SCHEMA = """
CREATE TABLE tenants (
    tenant_id text PRIMARY KEY, tenant_name text NOT NULL, description text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE providers (
    provider_id uuid PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants,
    provider_type text NOT NULL, provider_name text NOT NULL, created_at timestamptz NOT NULL
);
CREATE TABLE accounts (
    account_id uuid PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants,
    provider_id uuid NOT NULL REFERENCES providers, account_name text NOT NULL,
    account_number text NOT NULL, credential_type text NOT NULL, created_at timestamptz NOT NULL
);
CREATE TABLE account_credentials (
    account_id uuid PRIMARY KEY REFERENCES accounts, credentials_encrypted text NOT NULL
);
CREATE TABLE schedules (
    schedule_id uuid PRIMARY KEY, tenant_id text NOT NULL REFERENCES tenants,
    account_id uuid NOT NULL REFERENCES accounts, name text NOT NULL,
    schedule_type text NOT NULL, cron_expression text, interval_minutes integer,
    run_at timestamptz, timezone text NOT NULL, enabled boolean NOT NULL,
    created_at timestamptz NOT NULL
);
"""
BEGIN = datetime(2024, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)
KEYED = 10
"""One account of so many has an access key, all others a role."""
SCHEDULED = 5


class Made:
    """Rows in the order in which they rest on one another."""

    def __init__(
        self,
        vault: OldVault,
        accounts: int,
        tenants: int,
        seed: int = 1,
        *,
        older: OldVault | None = None,
    ) -> None:
        """Take the key of Fernet that seals, and an older one, which sealed some."""
        self._chance = Random(seed)
        self._vaults = (vault, older or vault)
        self.secrets: list[str] = []
        """What must stand nowhere in clear."""
        self.tenants = [self._tenant(at) for at in range(tenants)]
        self.providers = [self._provider(each) for each in self.tenants]
        self.accounts = [self._account(at) for at in range(accounts)]
        self.credentials = [self._credential(each) for each in self.accounts]
        self.schedules = [
            self._schedule(at, each) for at, each in enumerate(self.accounts[::SCHEDULED])
        ]

    @property
    def tables(self) -> Sequence[Sequence[OldRow]]:
        return [self.tenants, self.providers, self.accounts, self.credentials, self.schedules]

    @property
    def number(self) -> int:
        return sum(map(len, self.tables))

    def _uuid(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def _tenant(self, at: int) -> OldTenant:
        identity = f"customer-{at}" if at % 2 else "7" + self._uuid()[1:]
        moment = BEGIN + timedelta(hours=at)
        return OldTenant(identity, f"Customer No {at}", f"The {at}th of all", moment)

    def _provider(self, tenant: OldTenant) -> OldProvider:
        return OldProvider(self._uuid(), tenant.tenant_id, "aws", "Amazon", tenant.created_at)

    def _account(self, at: int) -> OldAccount:
        provider = self.providers[at % len(self.providers)]
        return OldAccount(
            account_id=self._uuid(),
            tenant_id=provider.tenant_id,
            provider_id=provider.provider_id,
            account_name=f"Account {at}",
            account_number=f"{at + 1:012d}",
            credential_type="aws_iam_role" if at % KEYED else "aws_access_key",
            created_at=BEGIN + timedelta(days=1, seconds=at),
        )

    def _credential(self, account: OldAccount) -> OldCredential:
        if account.credential_type == "aws_iam_role":
            parts = {
                "role_arn": f"arn:aws:iam::{account.account_number}:role/scan",
                "external_id": self._uuid(),
            }
        else:
            parts = {
                "access_key_id": f"AKIA{self._chance.getrandbits(64):016X}",
                "secret_access_key": f"{self._chance.getrandbits(160):040x}",
            }
            self.secrets.append(parts["secret_access_key"])
        vault = self._chance.choice(self._vaults)
        return OldCredential(account.account_id, vault.seal(json.dumps(parts)))

    def _schedule(self, at: int, account: OldAccount) -> OldSchedule:
        kind = ("cron", "interval", "once")[at % 3]
        zone = "Europe/Berlin" if at % 2 else "UTC"
        return OldSchedule(
            schedule_id=self._uuid(),
            tenant_id=account.tenant_id,
            account_id=account.account_id,
            name=f"Scan {at}",
            schedule_type=kind,
            cron_expression="30 2 * * 1-5" if kind == "cron" else None,
            interval_minutes=360 if kind == "interval" else None,
            run_at=datetime(2099, 7, 1, 4, 30, tzinfo=UTC) if kind == "once" else None,
            timezone=zone,
            enabled=bool(at % 4),
            created_at=BEGIN + timedelta(days=2, seconds=at),
        )


def create(url: str) -> None:
    """Make the old tables, empty."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())


async def fill(url: str, made: Made) -> None:
    old = await OldDatabase.open(url)
    for rows in made.tables:
        await old.put(rows)
    await old.close()


async def read(url: str) -> dict[str, list[OldRow]]:
    """Give all rows by table."""
    old = await OldDatabase.open(url)
    found: dict[str, list[OldRow]] = {}
    for kind in (OldTenant, OldProvider, OldAccount, OldCredential, OldSchedule):
        found[kind.TABLE] = [row async for row in old.rows(kind)]
    await old.close()
    return found
