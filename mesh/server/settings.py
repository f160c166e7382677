"""Settings that every server has."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mesh.loopback import is_loopback

MIB = 1 << 20


class ServerSettings(BaseSettings):
    """A service derives its own settings from these and gives them its environment prefix."""

    model_config = SettingsConfigDict(env_prefix="SECMESH_SERVER_", extra="ignore")

    listen: str = Field("127.0.0.1:0", description="host:port; port 0 takes any free one")
    reflection: bool | None = Field(
        None, description="serve gRPC reflection without a token; by default only on loopback"
    )
    workers: int = Field(
        1, ge=1, le=64, description="processes that share the port; more than one is supervised"
    )
    share_port: bool = Field(
        False, description="share the port with other processes; set for workers by their parent"
    )
    drain_seconds: float = Field(
        2, ge=0, le=300, description="from NOT_SERVING until new calls are refused"
    )
    grace_seconds: float = Field(
        15, ge=0, le=3600, description="that calls in flight have to end after that"
    )
    readiness_seconds: float = Field(2, gt=0, le=300, description="between two readiness checks")
    max_message_bytes: int = Field(16 * MIB, ge=1024, le=256 * MIB)
    max_concurrent_streams: int = Field(1000, ge=1, description="calls of one connection at a time")
    admin: str = Field(
        "127.0.0.1:0",
        description="host:port of /metrics, /healthz and /readyz, without a token; empty for none",
    )
    channelz: str = Field(
        "",
        description="host:port of gRPC channelz, without a token, so on loopback only; "
        "empty for none",
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the certificate chain that callers are shown"
    )
    tls_key: Path | None = Field(None, description="PEM file with its private key")
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file with the authorities that sign callers' certificates; "
        "without one of those nobody is served",
    )
    allow_plaintext: bool = Field(
        False, description="serve beyond loopback without TLS, in a network that is trusted"
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("listen")
    @classmethod
    def _has_host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("an address is host:port, such as 127.0.0.1:50051 or [::1]:50051")
        return value

    @field_validator("admin", "channelz")
    @classmethod
    def _has_host_and_port_or_nothing(cls, value: str) -> str:
        return cls._has_host_and_port(value) if value else value

    @field_validator("channelz")
    @classmethod
    def _is_on_loopback(cls, value: str) -> str:
        if value and not is_loopback(value.rpartition(":")[0]):
            raise ValueError("channelz shows every peer to anyone, so it is on loopback only")
        return value

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0]

    @property
    def serves_reflection(self) -> bool:
        """Whether reflection is on: as set, else on loopback only."""
        return self.is_loopback if self.reflection is None else self.reflection

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)
