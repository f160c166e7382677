"""What every part of the service is made of."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from google.protobuf.message import Message

from services.tenancy.accounts import Accounts, AccountSecrets, NoSecrets
from services.tenancy.api_key_hash import ApiKeyHash
from services.tenancy.api_keys import ApiKeys
from services.tenancy.clock import Clock
from services.tenancy.credentials.parts import CredentialParts, Custody
from services.tenancy.gate import (
    ACCOUNTS,
    API_KEYS,
    PROVIDERS,
    SCHEDULES,
    SERVICE_CREDENTIALS,
    Gate,
)
from services.tenancy.issuing.parts import IssuingParts
from services.tenancy.offboarding import Offboarding
from services.tenancy.onboarding.verification import Verifier
from services.tenancy.other_stores import OtherStore
from services.tenancy.providers import Providers
from services.tenancy.schedule_resources import Schedules
from services.tenancy.settings import TenancySettings
from services.tenancy.store.idempotency import Requests
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.pages import PageTokens
from services.tenancy.store.port import Store
from services.tenancy.tenants import Tenants
from services.tenancy.writing import NamedRequest


@dataclass(frozen=True)
class Parts:
    """Given to whatever makes servicers; a test or simulation gives its own."""

    settings: TenancySettings
    store: Store
    clock: Clock
    key: bytes
    """Secret that page tokens and remembered requests are kept by, the same in all processes."""
    custody: Custody | None = None
    """Without it there are no credentials, and accounts have no secrets."""
    secrets: AccountSecrets | None = None
    """What follows an account that goes or comes; its credential unless another is given."""
    others: Sequence[OtherStore] = ()
    """Other services, which are asked when a tenant leaves."""
    chance: random.Random = field(default_factory=random.Random)
    """For jitter and the choice between equals; never for what must not be guessed."""

    @cached_property
    def pages(self) -> PageTokens:
        """Page tokens."""
        return PageTokens([self.key], self.clock)

    @cached_property
    def requests(self) -> Requests:
        """Requests that were answered."""
        return Requests(self.store, self.clock, self.key)

    @cached_property
    def gate(self) -> Gate:
        """What changes within tenants pass."""
        return Gate(self.store, self.clock)

    @cached_property
    def tenants(self) -> Tenants:
        """What is done with tenants."""
        limits = {
            PROVIDERS: self.settings.max_providers,
            ACCOUNTS: self.settings.max_accounts,
            SCHEDULES: self.settings.max_schedules,
            API_KEYS: self.settings.max_api_keys,
            SERVICE_CREDENTIALS: self.settings.max_service_credentials,
        }
        return Tenants(self.store, self.clock, self.gate, limits)

    @cached_property
    def providers(self) -> Providers:
        """What is done with providers."""
        return Providers(self.store, self.clock, self.gate)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """What is done with API keys."""
        secret = self.settings.api_key_hash_key.encode() or self.key
        return ApiKeys(self.store, self.clock, self.gate, ApiKeyHash(secret))

    @cached_property
    def credentials(self) -> CredentialParts | None:
        """What credentials and onboarding are made of."""
        if self.custody is None:
            return None
        return CredentialParts(
            self.custody,
            self.store,
            self.clock,
            self.gate,
            self.chance,
            self.settings.secrets_prefix,
            self.settings.access_log_days,
        )

    @cached_property
    def issuing(self) -> IssuingParts | None:
        """What the issuer is made of."""
        if self.custody is None:
            return None
        settings = self.settings
        return IssuingParts(
            self.store,
            self.clock,
            self.gate,
            self.custody.secrets,
            prefix=settings.secrets_prefix,
            issuer=settings.token_issuer,
            audience=settings.audience,
            period=settings.token_key_days * 86_400,
        )

    @cached_property
    def accounts(self) -> Accounts:
        """What is done with accounts."""
        return Accounts(self.store, self.clock, self.gate, self.providers, self.account_secrets)

    @cached_property
    def account_secrets(self) -> AccountSecrets:
        """What follows accounts."""
        own = self.credentials.keeper if self.credentials else NoSecrets()
        return self.secrets or own

    @cached_property
    def offboarding(self) -> Offboarding:
        """What removes tenants."""
        return Offboarding(self.store, self.clock, self.account_secrets, self.others)

    @cached_property
    def verifier(self) -> Verifier | None:
        """What verifies accounts."""
        parts = self.credentials
        return None if parts is None else Verifier(parts, self.accounts)

    async def close(self) -> None:
        """Write what is to be written, and let go of connections and threads."""
        if self.credentials is not None:
            await self.credentials.close()
        for each in self.others:
            await each.close()
        await self.store.close()

    @cached_property
    def schedules(self) -> Schedules:
        """What is done with schedules."""
        return Schedules(self.store, self.clock, self.gate, self.settings.index_shards)

    def named(self, tenant: str, request_id: str, request: Message) -> NamedRequest:
        """Give a request of a tenant as one that is done once."""
        return NamedRequest(self.requests, TenantScope(tenant), request_id, request)
