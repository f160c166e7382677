"""Settings of the inventory service, from the environment."""

from datetime import timedelta

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import SettingsConfigDict

from mesh.aws.accounts import ACCOUNT_PLACEHOLDER, Access
from mesh.server.service_settings import ServiceSettings
from services.inventory.account_grants import AccountGrants

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
    def lease(self) -> timedelta:
        """How long a process that fell silent keeps its runs from others."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'inventory.db'}"
