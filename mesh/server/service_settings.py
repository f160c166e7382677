"""Settings of every service that keeps its data in a database of its own."""

from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE
from mesh.server.settings import ServerSettings
from mesh.sql.settings import Pool


class ServiceSettings(ServerSettings):
    """A service derives its own from these, gives them its prefix and says its ``database``."""

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
    database_migrate_url: str = Field(
        "",
        validation_alias="DATABASE_MIGRATE_URL",
        repr=False,
        description="the same database for the role that owns the tables: needed to migrate, to "
        "make parts of logs and to forget old changes where the database keeps tenants apart",
    )
    pool_size: int = Field(8, ge=1, le=500, description="connections kept to the database")
    pool_overflow: int = Field(8, ge=0, le=500, description="connections beyond those, for a time")
    pool_wait_seconds: float = Field(
        15, gt=0, le=300, description="longest wait for a connection before a call is refused"
    )
    pool_connect_seconds: int = Field(
        5, ge=2, le=60, description="longest wait for PostgreSQL to take a new connection"
    )
    change_days: float = Field(
        7,
        gt=0,
        le=3650,
        description="how long changes are kept for those who watch records",
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

    sealing_keys: str = Field(
        "",
        description="file of the keys for what is kept sealed or hashed, mode 0600, the same in "
        "every replica; needed where the contract has such fields",
    )

    backup_folder: Path | None = Field(
        None,
        description="folder of backups, the same for every replica; otherwise one in the home",
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

    @property
    def backups(self) -> Path:
        """The folder of backups."""
        return self.backup_folder or self.home / "backups"

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
    def database(self) -> str:
        """The URL of the database. Raises EngineUrlError if the service has no use for it."""
        return self.database_url

    @property
    def owner_database(self) -> str:
        """The URL of the database for the role that owns its tables; empty if it is the same."""
        return self.database_migrate_url

    @property
    def key_set(self) -> str:
        """Where the issuer's public keys are."""
        return self.jwks or str(self.home / "keys" / JWKS_FILE)

    @classmethod
    def prefix(cls) -> str:
        """The first part of its environment variables."""
        return str(cls.model_config.get("env_prefix", ""))

    @classmethod
    def describe(cls) -> str:
        """List every setting with its environment variable, default and meaning."""
        lines = []
        for name, field in cls.model_fields.items():
            default: Any = field.default
            shown = "" if default in ("", None) else f" (default {default})"
            lines.append(f"  {cls._variable(name):<36} {field.description or name}{shown}")
        return "\n".join(lines)

    @classmethod
    def _variable(cls, name: str) -> str:
        alias = cls.model_fields[name].validation_alias
        if isinstance(alias, AliasChoices):
            return str(alias.choices[0])
        return str(alias) if alias else f"{cls.prefix()}{name.upper()}"
