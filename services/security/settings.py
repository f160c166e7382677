"""Settings of the security service, from the environment."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import SettingsConfigDict

from mesh.sql.settings import Pool
from services.security.mail_settings import MailSettings

PACKAGE = "secmesh.security.v1"
PREFIX = "SECMESH_SECURITY_"


class SecuritySettings(MailSettings):
    """Read once at start-up; a wrong value ends the process with its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", populate_by_name=True)
    keeps = "the security service keeps its records"

    database_url: str = Field(
        "",
        validation_alias="DATABASE_URL",
        repr=False,
        description="PostgreSQL 15 or newer, such as postgresql://user:password@host/security; "
        "needed",
    )
    pool_size: int = Field(
        8,
        ge=1,
        le=500,
        validation_alias=AliasChoices("DB_POOL_SIZE", f"{PREFIX}POOL_SIZE"),
        description="connections kept to the database",
    )
    pool_overflow: int = Field(
        8,
        ge=0,
        le=500,
        validation_alias=AliasChoices("DB_MAX_OVERFLOW", f"{PREFIX}POOL_OVERFLOW"),
        description="connections beyond those, for a time",
    )
    pool_wait_seconds: float = Field(
        15,
        gt=0,
        le=300,
        validation_alias=AliasChoices("DB_POOL_TIMEOUT", f"{PREFIX}POOL_WAIT_SECONDS"),
        description="longest wait for a connection before a call is refused",
    )
    pool_recycle_seconds: int = Field(
        300,
        ge=1,
        le=86_400,
        description="age at which a connection is replaced before its next use",
    )
    workflow_lease_seconds: float = Field(
        30,
        ge=1,
        le=600,
        description="time after which another process goes on with a run whose process is gone",
    )
    workflow_hosts: str = Field(
        "",
        description="hosts as name:port, separated by commas, that steps of workflows may call "
        "though they are not public, by http too",
    )
    debug: bool = Field(
        False,
        validation_alias=AliasChoices("DEBUG", f"{PREFIX}DEBUG"),
        description="log everything, SQL statements too, though never the values in them",
    )

    @model_validator(mode="before")
    @classmethod
    def _logs_as_debug_says(cls, values: Any) -> Any:
        debugs = any(
            str(values.get(name, "")).lower() in ("1", "true", "yes", "on")
            for name in ("debug", "DEBUG", f"{PREFIX}DEBUG")
        )
        return {"log_level": "DEBUG", **values} if debugs else values

    @property
    def workflow_host_set(self) -> frozenset[str]:
        """The hosts of ``workflow_hosts``."""
        return frozenset(filter(None, (each.strip() for each in self.workflow_hosts.split(","))))

    @property
    def backups(self) -> Path:
        """The folder of backups."""
        # The inventory's lie in the same home.
        return self.backup_folder or self.home / "security-backups"

    @property
    def pool(self) -> Pool:
        """The connections to the database."""
        return replace(
            super().pool, recycle_seconds=self.pool_recycle_seconds, shows_statements=self.debug
        )
