"""Settings of the crypto service, from the environment."""

from pathlib import Path

import sqlalchemy as sa
from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from mesh.loopback import is_loopback
from mesh.server.postgres_settings import PostgresSettings
from mesh.sql.settings import ENCRYPTED, EngineUrlError

PACKAGE = "secmesh.crypto.v1"
PREFIX = "SECMESH_CRYPTO_"
PRODUCTION = "production"


class CryptoSettings(PostgresSettings):
    """Read once at start-up; a wrong value ends the process with its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", populate_by_name=True)
    keeps = "the crypto service keeps people's data"

    database_url: str = Field(
        "",
        validation_alias="DATABASE_URL",
        repr=False,
        description="PostgreSQL 15 or newer, such as "
        "postgresql://user:password@host/crypto?sslmode=verify-full; needed",
    )
    pool_min: int = Field(1, ge=1, le=500, description="connections opened at the start")
    pool_size: int = Field(10, ge=1, le=500, description="connections kept to the database")
    pool_overflow: int = Field(0, ge=0, le=500, description="connections beyond those, for a time")
    environment: str = Field(
        "development",
        pattern="^[a-z][a-z0-9-]{0,31}$",
        description="what sealed values are bound to, so that none opens elsewhere; in "
        f"{PRODUCTION!r} one principal may not hold both keys",
    )
    kms_key_id: str = Field(
        "file:main",
        min_length=1,
        description="KMS key that all but the app key hang from: ARN or alias of AWS, or file:ID",
    )
    kms_state_seconds: float = Field(
        0,
        ge=0,
        le=60,
        description="how old the state of a KMS key may be when it is used; 0 has the KMS asked "
        "for each call. A key in a file is always looked at",
    )
    aws_region: str = Field(
        "us-east-1",
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"),
        description="region of the KMS key",
    )
    aws_endpoint: str = Field(
        "", validation_alias="AWS_ENDPOINT_URL", description="one endpoint for every AWS service"
    )
    kms_keys: Path | None = Field(
        None, description="file of the KMS keys, mode 0600, where there is no KMS; made in the home"
    )
    app_keys: Path | None = Field(
        None, description="file of the app keys, mode 0600; without one made in the home"
    )
    app_key_secret: str = Field(
        "",
        validation_alias=AliasChoices("SECRETS_MANAGER_APP_KEY", f"{PREFIX}APP_KEY_SECRET"),
        description="name or ARN of the secret with the app keys in AWS Secrets Manager, in "
        "place of a file",
    )
    sealer_socket: Path | None = Field(
        None,
        description="UNIX socket of the sealer process, which keeps the app keys then; without "
        "one this process does",
    )
    sealer_ca: Path | None = Field(
        None,
        description="PEM file with the authorities of the sealer's certificate; this service "
        "shows its own (tls_certificate, tls_key)",
    )
    audit_keys: Path | None = Field(
        None, description="file of the audit's keys, mode 0600; without one made in the home"
    )
    audit_anchor_folder: Path | None = Field(
        None, description="folder on another machine to which checkpoints of the audit are copied"
    )
    audit_anchor_bucket: str = Field(
        "", description="bucket with Object Lock, or bucket/prefix, to use in its place"
    )
    audit_anchor_days: int = Field(
        3650, ge=1, le=36_500, description="days for which the bucket keeps each checkpoint"
    )
    backup_days: int = Field(
        7,
        ge=0,
        le=3650,
        description="days for which backups of the database are kept: until then one may hold "
        "who was erased, which certificates say",
    )
    rotation_lease_seconds: float = Field(
        30, ge=1, le=600, description="after which another process goes on with a rotation"
    )
    rotation_rows_per_second: float = Field(
        20_000, ge=1, le=1_000_000, description="rows that a rotation of keys writes at most"
    )
    rotation_window_days: float = Field(
        7, gt=0, le=365, description="in which a rotation can be rolled back; then old keys go"
    )

    @property
    def in_production(self) -> bool:
        """Whether one principal may not hold both keys of tier 3."""
        return self.environment == PRODUCTION

    @property
    def kms_file(self) -> Path:
        """The file of the KMS keys."""
        return self.kms_keys or self.home / "keys" / "kms.keys"

    @property
    def app_key_file(self) -> Path:
        """The file of the app keys."""
        return self.app_keys or self.home / "keys" / "app.keys"

    @property
    def audit_key_file(self) -> Path:
        """The file of the audit's keys."""
        return self.audit_keys or self.home / "keys" / "audit.keys"

    @property
    def erasure_folder(self) -> Path:
        """Where certificates of erasures are kept, if no second place is named."""
        return self.home / "crypto-erasures"

    @property
    def backups(self) -> Path:
        """The folder of backups."""
        # Those of other services lie in the same home.
        return self.backup_folder or self.home / "crypto-backups"

    def check_url(self, url: sa.URL) -> None:
        """Refuse a connection that a network could see in clear: EngineUrlError."""
        # A path is that of a socket on this machine.
        host = str(url.query.get("host", url.host or ""))
        near = not host or host.startswith("/") or is_loopback(host)
        if not near and url.query.get("sslmode") not in ENCRYPTED:
            raise EngineUrlError(
                f"connections to {host} must be encrypted: add ?sslmode=verify-full to the URL"
            )
