"""Settings of the inventory service, from the environment."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import SettingsConfigDict

from mesh.aws.accounts import ACCOUNT_PLACEHOLDER, Access
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE
from mesh.server.settings import ServerSettings
from mesh.sql.settings import Pool
from services.inventory.account_grants import AccountGrants

PREFIX = "SECMESH_INVENTORY_"


class InventorySettings(ServerSettings):
    """Read once at start-up; a wrong value ends the process with its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", populate_by_name=True)

    home: Path = Field(
        Path(".secmesh"),
        validation_alias="SECMESH_HOME",
        description="folder of the default database and keys",
    )
    database_url: str = Field(
        "",
        validation_alias="DATABASE_URL",
        repr=False,
        description="such as sqlite:////var/lib/secmesh/inventory.db or "
        "postgresql://user:password@host/inventory; empty for a file in the home",
    )
    pool_size: int = Field(8, ge=1, le=500, description="connections kept to the database")
    pool_overflow: int = Field(8, ge=0, le=500, description="connections beyond those, for a time")
    pool_wait_seconds: float = Field(
        15, gt=0, le=300, description="longest wait for a connection before a call is refused"
    )
    pool_connect_seconds: int = Field(
        5, ge=2, le=60, description="longest wait for PostgreSQL to take a new connection"
    )
    jwks: str = Field(
        "", description="key set of the token issuer, a file or an https URL; empty for the home's"
    )
    issuer: str = Field(ISSUER, description="issuer that tokens must name")
    audience: str = Field(AUDIENCE, description="audience that tokens must name")
    page_key: str = Field(
        "",
        repr=False,
        pattern="^$|^.{16,}$",
        description="secret of 16 characters or more that signs page tokens, the same in every "
        "replica; empty for one of this process",
    )
    accounts: str = Field(
        "",
        description="accounts that each tenant may collect, such as acme=123456789012,acme=*; "
        "none without",
    )
    aws_region: str = Field(
        "us-east-1",
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"),
        description="region of global reads, and of syncs that name none",
    )
    aws_endpoint_url: str = Field(
        "", validation_alias="AWS_ENDPOINT_URL", description="one endpoint for every AWS service"
    )
    role: str = Field(
        "",
        pattern=r"^$|^arn:aws[a-z-]*:iam::\{account\}:role/[\w+=,.@/-]+$",
        description="role assumed in accounts that the credentials do not lead to, "
        f"such as arn:aws:iam::{ACCOUNT_PLACEHOLDER}:role/audit; empty for none",
    )
    external_id: str = Field("", repr=False, description="external id for that role")
    units: int = Field(4, ge=1, le=64, description="units of work read at a time")
    reads: int = Field(16, ge=1, le=256, description="AWS calls made at a time beside those")
    unit_seconds: float = Field(
        900, gt=0, le=86_400, description="longest one unit reads before the rest stays unread"
    )
    lease_seconds: float = Field(
        30,
        ge=0.5,
        le=3600,
        description="how long a process that fell silent keeps its runs from others",
    )
    attempts: int = Field(
        8, ge=1, le=50, description="tries of one AWS call that fails for a moment"
    )
    share: float = Field(
        0.7,
        gt=0,
        le=1,
        description="part of the rate at which AWS throttled that is used afterwards, so that "
        "production keeps the rest",
    )

    backup_folder: Path | None = Field(
        None,
        description="folder of backups, the same for every replica; otherwise backups in the home",
    )
    backup_hours: float = Field(
        0, ge=0, le=8760, description="hours between scheduled backups; 0 for none"
    )
    backup_keep: int = Field(7, ge=1, le=10_000, description="scheduled backups that are kept")
    pg_programs: str = Field(
        "",
        description="folder of pg_dump and pg_restore; empty to look on PATH, then in the "
        "embedded server",
    )

    change_days: float = Field(
        7,
        gt=0,
        le=3650,
        description="how long changes are kept for those who watch records",
    )

    @field_validator("accounts")
    @classmethod
    def _has_grants(cls, value: str) -> str:
        AccountGrants.parse(value)
        return value

    @property
    def grants(self) -> AccountGrants:
        """Which tenant may collect which accounts."""
        return AccountGrants.parse(self.accounts)

    def access(self) -> Access:
        """Give how AWS is reached."""
        return Access(
            region=self.aws_region,
            endpoint_url=self.aws_endpoint_url,
            role=self.role,
            external_id=self.external_id,
            attempts=self.attempts,
            share=self.share,
            connections=self.units + self.reads,
        )

    @property
    def unit_limit(self) -> timedelta:
        """The longest that one unit reads."""
        return timedelta(seconds=self.unit_seconds)

    @property
    def pool(self) -> Pool:
        """The connections to the database."""
        return Pool(
            size=self.pool_size,
            overflow=self.pool_overflow,
            wait_seconds=self.pool_wait_seconds,
            connect_seconds=self.pool_connect_seconds,
        )

    @property
    def lease(self) -> timedelta:
        """How long a process that fell silent keeps its runs from others."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'inventory.db'}"

    @property
    def backups(self) -> Path:
        """The folder of backups."""
        return self.backup_folder or self.home / "backups"

    @property
    def key_set(self) -> str:
        """Where the issuer's public keys are."""
        return self.jwks or str(self.home / "keys" / JWKS_FILE)


def describe() -> str:
    """List every setting with its environment variable, default and meaning."""
    lines = []
    for name, field in InventorySettings.model_fields.items():
        default: Any = field.default
        shown = "" if default in ("", None) else f" (default {default})"
        lines.append(f"  {_variable(name):<36} {field.description or name}{shown}")
    return "\n".join(lines)


def _variable(name: str) -> str:
    alias = InventorySettings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias) if alias else f"{PREFIX}{name.upper()}"
