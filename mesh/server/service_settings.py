"""Settings of every service that keeps its data in a database of its own."""

from pathlib import Path

from pydantic import Field

from mesh.server.process_settings import ProcessSettings
from mesh.sql.settings import Pool


class ServiceSettings(ProcessSettings):
    """A service derives its own from these, gives them its prefix and says its ``database``."""

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
