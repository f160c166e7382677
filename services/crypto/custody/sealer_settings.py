"""Settings of the sealer process, from the environment."""

from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SECMESH_SEALER_"
MAX_MESSAGE_BYTES = 20 * 1024 * 1024
"""Of a request or an answer: more than the crypto service takes from its own callers."""


class SealerSettings(BaseSettings):
    """Read once at start-up; the process knows no database and no KMS."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    socket: Path = Field(
        description="UNIX socket to listen on, in a folder that the crypto service may enter; its "
        "group may connect",
    )
    app_keys: Path = Field(description="file of the app keys, mode 0600")
    environment: str = Field("development", description="that of the crypto service")
    values_per_second: int = Field(
        20_000, ge=1, le=10_000_000, description="values sealed and opened, beyond which calls wait"
    )
    grace_seconds: float = Field(
        5, ge=0, le=300, description="that calls in flight have to end when the process ends"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the certificate chain that the crypto service is shown"
    )
    tls_key: Path | None = Field(None, description="PEM file with its private key")
    tls_client_ca: Path | None = Field(
        None, description="PEM file with the authorities of the crypto service's certificate"
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _has_all_of_tls_or_nothing(self) -> "SealerSettings":
        given = [each is not None for each in (self.tls_certificate, self.tls_key)]
        if any(given) != all([*given, self.tls_client_ca is not None]):
            raise ValueError("TLS needs tls_certificate, tls_key and tls_client_ca, all three")
        return self
