"""Settings of the inventory service, from the environment."""

from datetime import timedelta
from pathlib import Path

import grpc
from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from mesh.aws.accounts import ACCOUNT_PLACEHOLDER, Access
from mesh.loopback import is_loopback
from mesh.sealing.keyring import KeyRing, create_keys, read_keys
from mesh.server.service_settings import ServiceSettings
from mesh.tls import KeyPair, client_credentials
from secmesh_client import Tls
from services.inventory.account_grants import AccountGrants
from services.inventory.compliance.chat_model import ChatModel, checked_url
from services.inventory.webhooks.target import Networks

PREFIX = "SECMESH_INVENTORY_"


class InventorySettings(ServiceSettings):
    """Read once at start-up; a wrong value ends the process with its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", populate_by_name=True)

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
    runs: int = Field(
        8,
        ge=1,
        le=1000,
        description="runs executed at a time, of which a tenant leaves one to others; the rest "
        "wait for their turn",
    )
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

    event_days: float = Field(
        30,
        gt=0,
        le=3650,
        description="how long what events turned is kept, and runs that changed nothing",
    )

    backup_keys: Path | None = Field(
        None,
        description="file of the keys that backups are encrypted with, mode 0600, the same in "
        "every replica: the first encrypts, all open; without it they are not encrypted",
    )

    security_address: str = Field(
        "",
        pattern=r"^$|^.+:[0-9]+$",
        description="host:port of the security service, to file assessments in; empty for none",
    )
    security_ca: Path | None = Field(
        None,
        validate_default=True,
        description="PEM file with the authorities of its certificate; this service shows its own",
    )

    narration_url: str = Field(
        "",
        description="base URL of a language model that speaks the chat completions protocol, such "
        "as https://host/v1; empty for none. It is told no name, id or value of an account",
    )
    narration_model: str = Field(
        "", max_length=128, validate_default=True, description="model that is asked there"
    )
    narration_key_file: Path | None = Field(
        None, description="file with the key for that model; read for each question"
    )
    narration_seconds: float = Field(
        30, gt=0, le=100, description="longest wait for that model; then our own words are told"
    )

    tenancy_address: str = Field(
        "",
        pattern=r"^$|^.+:[0-9]+$",
        description="host:port of the tenancy service, by whose sessions accounts are read that "
        "a run names; empty for none",
    )
    tenancy_ca: Path | None = Field(
        None,
        validate_default=True,
        description="PEM file with the authorities of its certificate; this service shows its own",
    )
    tenancy_client_id: str = Field(
        "",
        description="service credential of this service, for which the tenancy service gives it "
        "tokens to ask by, of each tenant its own; it needs tenancy.credentials.vend",
    )
    tenancy_client_secret_file: Path | None = Field(
        None, description="file with the secret of that credential; read for each token"
    )
    tenancy_token_file: Path | None = Field(
        None,
        validate_default=True,
        description="in place of both, file with the token that it is asked by, good for all "
        "tenants whose accounts are read; whoever renews the token writes the file anew",
    )
    tenancy_wait_seconds: float = Field(
        120,
        ge=0,
        le=3600,
        description="longest that a run waits for a tenancy service which does not answer",
    )

    webhook_networks: str = Field(
        "",
        description="networks that are not public and that webhooks may lead to, such as "
        "10.2.0.0/16,127.0.0.0/8; with loopback among them, over HTTP in the clear there",
    )
    webhook_ca: Path | None = Field(
        None,
        description="PEM file with authorities that webhooks are trusted by, beside the system's",
    )

    @field_validator("webhook_networks")
    @classmethod
    def _has_networks(cls, value: str) -> str:
        Networks.parse(value)
        return value

    @field_validator("security_ca", "tenancy_ca")
    @classmethod
    def _sends_no_token_in_the_clear(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        service = str(info.field_name).removesuffix("_ca")
        host = str(info.data.get(f"{service}_address", "")).rpartition(":")[0]
        if host and value is None and not is_loopback(host) and not info.data["allow_plaintext"]:
            raise ValueError(f"a {service} service that is not on loopback is met over TLS")
        return value

    @field_validator("narration_url")
    @classmethod
    def _asks_a_model_safely(cls, value: str) -> str:
        return checked_url(value) if value else value

    @field_validator("narration_model")
    @classmethod
    def _names_a_model(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("narration_url") and not value:
            raise ValueError("a model is asked by its name")
        return value

    @field_validator("tenancy_token_file")
    @classmethod
    def _has_a_token(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        shown = (info.data.get("tenancy_client_id"), info.data.get("tenancy_client_secret_file"))
        if any(shown) != all(shown):
            raise ValueError("tenancy_client_id and tenancy_client_secret_file are needed together")
        if value is not None and any(shown):
            raise ValueError("a file with a token is in place of a service credential")
        if info.data.get("tenancy_address") and value is None and not any(shown):
            raise ValueError("the tenancy service is asked by a token of this service's own")
        return value

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

    def security_credentials(self) -> grpc.ChannelCredentials | None:
        """Give how the security service is met over TLS; None in the clear. Raises TlsInvalid."""
        return self._met_over_tls(self.security_ca)

    def tenancy_credentials(self) -> grpc.ChannelCredentials | None:
        """Give how callers' questions to the tenancy service are sent, as ``tenancy_tls``."""
        return self._met_over_tls(self.tenancy_ca)

    def _met_over_tls(self, authorities: Path | None) -> grpc.ChannelCredentials | None:
        if authorities is None:
            return None
        own = None
        if self.tls_certificate is not None and self.tls_key is not None:
            own = KeyPair(self.tls_certificate, self.tls_key)
        return client_credentials(authorities, own)

    def narrator(self) -> ChatModel | None:
        """Give the language model that narrates; None if there is none."""
        if not self.narration_url:
            return None
        return ChatModel(
            url=self.narration_url,
            model=self.narration_model,
            key_file=self.narration_key_file,
            seconds=self.narration_seconds,
        )

    def tenancy_tls(self) -> Tls | None:
        """Give how the tenancy service is met over TLS; None in the clear."""
        if self.tenancy_ca is None:
            return None
        return Tls(self.tenancy_ca, self.tls_certificate, self.tls_key)

    @property
    def tenancy_wait(self) -> timedelta:
        """The longest wait for the tenancy service."""
        return timedelta(seconds=self.tenancy_wait_seconds)

    def fingerprint_keys(self) -> KeyRing | None:
        """Read the keys that hash credentials in configurations. Raises KeyRingError.

        The default database, a file in the home, has keys there, too. Replicas of another must
        have the same ones, so that without a setting there are none.
        """
        if self.sealing_keys:
            return read_keys(Path(self.sealing_keys))
        if self.database_url:
            return None
        path = self.home / "keys" / "fingerprint.keys"
        create_keys(path)
        return read_keys(path)

    def backup_key_ring(self) -> KeyRing | None:
        """Read the keys of backups, if there is a file of them. Raises KeyRingError."""
        return None if self.backup_keys is None else read_keys(self.backup_keys)

    @property
    def unit_limit(self) -> timedelta:
        """The longest that one unit reads."""
        return timedelta(seconds=self.unit_seconds)

    @property
    def lease(self) -> timedelta:
        """How long a process that fell silent keeps its runs from others."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'inventory.db'}"
