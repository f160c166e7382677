"""Settings of the tenancy service, from the environment."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from mesh.loopback import is_loopback
from mesh.server.process_settings import ProcessSettings
from services.tenancy.retention import ACCESS_LOG_DAYS, LEAST_ACCESS_LOG_DAYS
from services.tenancy.store.tables import Table

PACKAGE = "secmesh.tenancy.v1"
PREFIX = "SECMESH_TENANCY_"
_PAGE_KEY = 16
"""Least characters of the page key."""
EMBEDDED_REGION = "us-east-1"
_TABLE_NAME = r"^[A-Za-z0-9_.-]{3,255}$"
_REGION = r"^$|^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$"


def _table(table: Table) -> str:
    """Give the setting of a table's name."""
    setting: str = Field(
        table.default_name,
        validation_alias=table.variable,
        pattern=_TABLE_NAME,
        description=f"name of the table of {table.value.replace('-', ' ')} in DynamoDB",
    )
    return setting


class TenancySettings(ProcessSettings):
    """Read once at start-up; a wrong value ends the process with its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", populate_by_name=True)

    aws_endpoint_url: str = Field(
        "",
        validation_alias="AWS_ENDPOINT_URL",
        description="one endpoint for every AWS service; on loopback it is taken for the "
        "embedded one",
    )
    aws_region: str = Field(
        "",
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"),
        pattern=_REGION,
        validate_default=True,
        description="region of tables, secrets and keys; needed, unless the endpoint is the "
        f"embedded one ({EMBEDDED_REGION})",
    )
    page_key: str = Field(
        "",
        repr=False,
        pattern="^$|^.{16,}$",
        description="secret of 16 characters or more that seals page tokens and tells repeated "
        "requests, the same in every replica; needed, unless the endpoint is the embedded one",
    )
    tenants_table: str = _table(Table.TENANTS)
    providers_table: str = _table(Table.PROVIDERS)
    accounts_table: str = _table(Table.ACCOUNTS)
    schedules_table: str = _table(Table.SCHEDULES)
    executions_table: str = _table(Table.EXECUTIONS)
    scan_results_table: str = _table(Table.SCAN_RESULTS)
    secrets_prefix: str = Field(
        "threat-engine",
        validation_alias="SECRETS_MANAGER_PREFIX",
        pattern=r"^[A-Za-z0-9/_+=.@-]{1,128}$",
        description="first part of the names of secrets: PREFIX/account/ACCOUNT_ID",
    )
    secrets_kms_key: str = Field(
        "alias/threat-engine-secrets",
        validation_alias="SECRETS_MANAGER_KMS_KEY_ID",
        min_length=1,
        description="KMS key that secrets are encrypted by: id, ARN or alias",
    )
    tables_kms_key: str = Field(
        "alias/threat-engine-tables",
        validation_alias="DYNAMODB_KMS_KEY_ID",
        description="KMS key that create-tables has the tables encrypted by: id, ARN or alias; "
        "empty for one of AWS",
    )
    principal_arn: str = Field(
        "",
        pattern=r"^$|^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]{1,512}$|"
        r"^arn:aws[a-z-]*:iam::[0-9]{12}:root$",
        description="ARN of the role by which this service enters accounts: what the roles of "
        "accounts are made to trust",
    )
    old_database_url: str = Field(
        "",
        validation_alias="OLD_DATABASE_URL",
        repr=False,
        description="PostgreSQL of the system before this one, for import-postgres alone",
    )
    dynamodb_endpoint_url: str = Field(
        "",
        validation_alias="AWS_ENDPOINT_URL_DYNAMODB",
        description="endpoint of DynamoDB alone, such as one of DynamoDB Local",
    )
    set_up: bool = Field(
        False,
        description="before it serves, make keys and tables that are missing, as setup-kms and "
        "create-tables do; its principal must be allowed to",
    )
    page_key_file: Path | None = Field(
        None, description="file with page_key in it, in place of the variable"
    )
    api_key_hash_key: str = Field(
        "",
        repr=False,
        pattern="^$|^.{16,}$",
        description="secret of 16 characters or more by which API keys are hashed, the same in "
        "every replica: another one ends all keys; otherwise that of page tokens",
    )
    api_key_hash_key_file: Path | None = Field(
        None, description="file with api_key_hash_key in it, in place of the variable"
    )
    store_calls: int = Field(
        32, ge=1, le=256, description="calls of DynamoDB that are under way at a time"
    )
    index_shards: int = Field(
        16,
        ge=1,
        le=64,
        description="parts of the indexes of schedules that are due and executions that wait; "
        "the same in all processes; the command reshard changes it where there are any",
    )
    replica: int = Field(
        0, ge=0, le=999, description="number of this scheduler or executor among its replicas"
    )
    replicas: int = Field(
        1,
        ge=1,
        le=1000,
        description="how many of them there are: each looks at its own shards each second, at "
        "those of the others each 15 seconds",
    )
    max_attempts: int = Field(
        5, ge=1, le=100, description="attempts at an execution before it is dead"
    )
    executor_slots: int = Field(
        8, ge=1, le=1000, description="executions that one executor runs at a time"
    )
    executor_slots_per_tenant: int = Field(
        4, ge=1, le=1000, description="of those, the most of one tenant"
    )
    lease_seconds: float = Field(
        120,
        ge=1,
        le=3600,
        description="after which another executor takes up the execution of one that is silent, "
        "and another service its upkeep; it beats four times as often",
    )
    upkeep: bool = Field(
        True,
        description="whether serve verifies accounts again, changes keys that are due and goes on "
        "with off-boardings, by itself and in turn with its replicas; otherwise a timer runs the "
        "command upkeep",
    )
    upkeep_reverify_seconds: float = Field(
        86_400,
        ge=1,
        le=31 * 86_400,
        description="after which an account is verified again; accounts are looked through 24 "
        "times as often",
    )
    upkeep_rotate_seconds: float = Field(
        3600, ge=1, le=86_400, description="between two looks for keys that are to change"
    )
    upkeep_offboard_seconds: float = Field(
        300,
        ge=1,
        le=86_400,
        description="between two looks for off-boardings that somebody began and left",
    )
    inventory_address: str = Field(
        "", description="host:port of the inventory service, which executors have read accounts"
    )
    inventory_ca: Path | None = Field(
        None,
        description="PEM file with the authorities of its certificate; needed beyond loopback",
    )
    inventory_token_file: Path | None = Field(
        None,
        description="file with the token that executors call it by, good for all tenants they "
        "run schedules of; whoever renews the token writes the file anew",
    )
    tokens_address: str = Field(
        "",
        description="host:port of the tenancy service, of which executors get their tokens, in "
        "place of inventory_token_file, and the service itself those by which tenants leave "
        "elsewhere",
    )
    tokens_ca: Path | None = Field(
        None,
        description="PEM file with the authorities of its certificate; needed beyond loopback",
    )
    client_id: str = Field("", description="what they call themselves when they ask for them")
    client_secret_file: Path | None = Field(
        None, description="file with the secret of that service credential; read for each token"
    )
    crypto_address: str = Field(
        "",
        pattern=r"^$|^.+:[0-9]+$",
        description="host:port of the crypto service, which is asked when a tenant leaves, as the "
        "inventory service is",
    )
    crypto_ca: Path | None = Field(
        None,
        description="PEM file with the authorities of its certificate; needed beyond loopback",
    )
    security_address: str = Field(
        "",
        pattern=r"^$|^.+:[0-9]+$",
        description="host:port of the security service, which is asked when a tenant leaves, as "
        "the inventory service is",
    )
    security_ca: Path | None = Field(
        None,
        description="PEM file with the authorities of its certificate; needed beyond loopback",
    )
    removal_token_file: Path | None = Field(
        None,
        description="file with the token that the other services are called by when a tenant "
        "leaves, with platform.tenants.remove there; without it and client_id the caller's own",
    )
    token_issuer: str = Field(
        "secmesh-tenancy",
        min_length=1,
        max_length=256,
        description="what tokens that this service issues name as their issuer",
    )
    token_key_days: int = Field(
        30, ge=1, le=365, description="days for which a key signs tokens before the next one does"
    )
    access_log_days: int = Field(
        ACCESS_LOG_DAYS,
        ge=LEAST_ACCESS_LOG_DAYS,
        le=36_500,
        description="days for which entries of the access log are kept",
    )
    max_providers: int = Field(
        100, ge=0, le=1_000_000, description="providers of a tenant that is created"
    )
    max_accounts: int = Field(
        1_000, ge=0, le=1_000_000, description="accounts of a tenant that is created"
    )
    max_schedules: int = Field(
        10_000, ge=0, le=10_000_000, description="schedules of a tenant that is created"
    )
    max_api_keys: int = Field(
        100, ge=0, le=100_000, description="API keys of a tenant that is created"
    )
    max_service_credentials: int = Field(
        100, ge=0, le=100_000, description="service credentials of a tenant that is created"
    )

    @field_validator("aws_endpoint_url", "dynamodb_endpoint_url")
    @classmethod
    def _is_an_endpoint(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # brackets or a port that are none
            known = None
        if value and not known:
            raise ValueError("an endpoint is http://HOST:PORT or https://HOST")
        return value

    @field_validator("aws_region")
    @classmethod
    def _is_known_or_embedded(cls, value: str, info: ValidationInfo) -> str:
        if value:
            return value
        if not _on_loopback(str(info.data.get("aws_endpoint_url", ""))):
            raise ValueError("AWS_REGION is needed: the region of tables, secrets and keys")
        return EMBEDDED_REGION

    @model_validator(mode="after")
    def _shares_its_page_key(self) -> "TenancySettings":
        if self.page_key_file is not None:
            self.page_key = _secret_in(self.page_key_file, "PAGE_KEY_FILE")
        # With keys of their own, replicas would take a request that is repeated for another one.
        if not (self.page_key or self.is_embedded):
            raise ValueError(f"{PREFIX}PAGE_KEY is needed: a secret that all replicas share")
        return self

    @model_validator(mode="after")
    def _reads_its_hash_key(self) -> "TenancySettings":
        if self.api_key_hash_key_file is not None:
            self.api_key_hash_key = _secret_in(self.api_key_hash_key_file, "API_KEY_HASH_KEY_FILE")
        return self

    @property
    def is_embedded(self) -> bool:
        """Whether AWS is a stand-in on this machine."""
        return _on_loopback(self.aws_endpoint_url)

    @property
    def store_endpoint(self) -> str:
        """Where DynamoDB is; empty for that of the region."""
        return self.dynamodb_endpoint_url or self.aws_endpoint_url

    @property
    def table_names(self) -> Mapping[Table, str]:
        """The tables' names in DynamoDB."""
        names = {each: getattr(self, f"{each.name.lower()}_table") for each in Table}
        return MappingProxyType(names)


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname if url else None
    return host is not None and is_loopback(host)


def _secret_in(path: Path, setting: str) -> str:
    """Read a secret that a setting names the file of; ValueError names the setting."""
    try:
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{PREFIX}{setting} cannot be read: {type(error).__name__}") from None
    if len(found) < _PAGE_KEY:
        raise ValueError(f"{PREFIX}{setting} has fewer than {_PAGE_KEY} characters in it")
    return found
