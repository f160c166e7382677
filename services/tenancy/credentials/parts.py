"""What credentials and onboarding are made of."""

import random
from dataclasses import dataclass
from functools import cached_property

from services.tenancy.clock import Clock
from services.tenancy.credentials.access_keys import AccessKeys
from services.tenancy.credentials.access_log import AccessLog
from services.tenancy.credentials.access_retention import AccessRetention
from services.tenancy.credentials.accesses import Accesses
from services.tenancy.credentials.cache import SecretCache, SessionCache
from services.tenancy.credentials.credential_store import CredentialStore
from services.tenancy.credentials.keeper import CredentialKeeper
from services.tenancy.credentials.rotation import Rotation
from services.tenancy.credentials.scheduled_rotation import ScheduledRotation
from services.tenancy.credentials.secret_room import SecretRoom
from services.tenancy.credentials.secrets import Secrets
from services.tenancy.credentials.sts import SecurityTokens
from services.tenancy.credentials.vending import Vendor
from services.tenancy.gate import Gate
from services.tenancy.onboarding.probes import Prober
from services.tenancy.retention import ACCESS_LOG_DAYS
from services.tenancy.store.port import Store


@dataclass(frozen=True)
class Custody:
    """The services of AWS that credentials need beside the store."""

    secrets: Secrets
    tokens: SecurityTokens
    prober: Prober
    access_keys: AccessKeys | None = None
    """Without it no key changes by itself."""

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self.prober.close()
        if self.access_keys is not None:
            await self.access_keys.close()
        await self.tokens.close()
        await self.secrets.close()


@dataclass(frozen=True)
class CredentialParts:
    """Given to the servicers of credentials and onboarding."""

    custody: Custody
    store: Store
    clock: Clock
    gate: Gate
    chance: random.Random
    prefix: str
    """First part of the names of secrets."""
    access_log_days: int = ACCESS_LOG_DAYS
    """For which entries of the log are kept."""

    @cached_property
    def log(self) -> AccessLog:
        """The log of what is done with credentials."""
        return AccessLog(self.store, self.clock)

    @cached_property
    def retention(self) -> AccessRetention:
        """What removes entries of that log whose time is over."""
        return AccessRetention(self.store, self.clock, self.access_log_days)

    @cached_property
    def accesses(self) -> Accesses:
        """What writes into the log."""
        return Accesses(self.log)

    @cached_property
    def credentials(self) -> CredentialStore:
        """What is known of credentials."""
        return CredentialStore(self.store, self.clock)

    @cached_property
    def room(self) -> SecretRoom:
        """The secrets themselves."""
        cache = SecretCache(self.clock, self.chance)
        return SecretRoom(self.custody.secrets, cache, self.prefix)

    @cached_property
    def keeper(self) -> CredentialKeeper:
        """What is done with credentials."""
        return CredentialKeeper(self.credentials, self.room, self.accesses, self.clock)

    @cached_property
    def rotation(self) -> Rotation:
        """How other secrets take their place."""
        return Rotation(
            self.credentials,
            self.keeper,
            self.room,
            self.custody.tokens,
            self.accesses,
            self.clock,
        )

    @cached_property
    def scheduled(self) -> ScheduledRotation | None:
        """How keys change by themselves."""
        if self.custody.access_keys is None:
            return None
        return ScheduledRotation(
            self.credentials,
            self.keeper,
            self.rotation,
            self.custody.tokens,
            self.custody.access_keys,
            self.accesses,
            self.clock,
            self.chance,
        )

    @cached_property
    def vendor(self) -> Vendor:
        """What makes sessions."""
        return Vendor(
            self.credentials,
            self.keeper,
            self.rotation,
            self.custody.tokens,
            self.accesses,
            SessionCache(self.clock),
            self.gate,
        )

    async def close(self) -> None:
        """Write what is to be written, and let go of AWS."""
        await self.log.close()
        await self.custody.close()
