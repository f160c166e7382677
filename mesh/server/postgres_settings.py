"""Settings of every service that keeps its data in PostgreSQL and nowhere else."""

from typing import ClassVar

import sqlalchemy as sa

from mesh.server.service_settings import ServiceSettings
from mesh.sql.settings import EngineUrlError


class PostgresSettings(ServiceSettings):
    """A service says what it keeps there, and may refuse more URLs."""

    keeps: ClassVar[str]
    """Such as ``the security service keeps its records``."""

    @property
    def database(self) -> str:
        """The URL of the database. Raises EngineUrlError if it cannot be used."""
        if not self.database_url:
            raise EngineUrlError(
                f"DATABASE_URL is not set: {self.keeps} in PostgreSQL, "
                "postgresql://user:password@host/database"
            )
        return self._admitted(self.database_url)

    @property
    def owner_database(self) -> str:
        """The URL for the role that owns the tables, empty if none is named; EngineUrlError."""
        return self._admitted(self.database_migrate_url) if self.database_migrate_url else ""

    def check_url(self, url: sa.URL) -> None:
        """Refuse a URL of PostgreSQL: EngineUrlError."""

    def _admitted(self, text: str) -> str:
        try:
            url = sa.make_url(text)
        except sa.exc.ArgumentError as error:
            raise EngineUrlError("the database URL cannot be parsed") from error
        if url.get_backend_name() != "postgresql":
            raise EngineUrlError(f"{self.keeps} in PostgreSQL, not in {url.drivername!r}")
        self.check_url(url)
        # Whatever driver a URL names for other programs, this one has its own.
        return url.set(drivername="postgresql").render_as_string(hide_password=False)
