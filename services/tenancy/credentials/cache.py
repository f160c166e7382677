"""Secrets and sessions that were fetched a moment ago, in the memory of this process alone."""

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.credentials.secrets import (
    SecretMissing,
    SecretPendingDeletion,
    SecretsDenied,
    SecretsError,
)
from services.tenancy.credentials.single_flight import SingleFlight
from services.tenancy.credentials.sts import Session
from services.tenancy.credentials.telemetry import asked

SECONDS = 300
"""For which a secret is remembered, about: a fifth more or less, so that not all end together."""
REFUSED_SECONDS = 5
"""For which it is remembered that a secret cannot be read."""
SPARE_SECONDS = 300
"""Before its end, from when on a session is lent no more."""
MOST = 4096
_JITTER = 0.2
_LASTING = (SecretMissing, SecretPendingDeletion, SecretsDenied)
"""Refusals that will be the same a moment later."""

SecretKey: TypeAlias = tuple[str, str, str]
"""Tenant, account, id of the version: what was read of one version stays true."""
SessionKey: TypeAlias = tuple[str | int | tuple[str, ...], ...]
"""Tenant, account, and all that a session is made of."""


@dataclass(frozen=True)
class _Kept:
    found: SecretText | SecretsError
    until: int


class SecretCache:
    """Remembers versions of secrets."""

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self._clock = clock
        self._chance = chance
        self._kept: OrderedDict[SecretKey, _Kept] = OrderedDict()
        self._flights: SingleFlight[SecretKey, SecretText] = SingleFlight()

    async def get(self, key: SecretKey, fetch: Callable[[], Awaitable[SecretText]]) -> SecretText:
        """Give a version, fetched by one of all who ask for it; raises what the fetch raises."""
        kept = self._kept.get(key)
        known = kept is not None and kept.until > self._clock.now()
        asked("secret", remembered=known)
        if kept is None or not known:
            return await self._flights.do(key, lambda: self._fetch(key, fetch))
        self._kept.move_to_end(key)
        if isinstance(kept.found, SecretsError):
            raise type(kept.found)(*kept.found.args)
        return kept.found

    def drop(self, tenant: str, account: str) -> None:
        """Forget all versions of an account."""
        for key in [key for key in self._kept if key[:2] == (tenant, account)]:
            del self._kept[key]

    async def _fetch(
        self, key: SecretKey, fetch: Callable[[], Awaitable[SecretText]]
    ) -> SecretText:
        try:
            found = await fetch()
        except _LASTING as error:
            self._keep(key, error, REFUSED_SECONDS)
            raise
        self._keep(key, found, SECONDS * self._chance.uniform(1 - _JITTER, 1 + _JITTER))
        return found

    def _keep(self, key: SecretKey, found: SecretText | SecretsError, seconds: float) -> None:
        self._kept[key] = _Kept(found, self._clock.now() + round(seconds * MICROSECONDS))
        self._kept.move_to_end(key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)


class SessionCache:
    """Remembers sessions until they are about to end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[SessionKey, Session] = OrderedDict()
        self._flights: SingleFlight[SessionKey, Session] = SingleFlight()

    async def get(
        self, key: SessionKey, make: Callable[[], Awaitable[Session]], refused: str = ""
    ) -> Session:
        """Give a session, made by one of all who ask for it; raises what the making raises.

        It is another one than that of the access key ``refused``.
        """
        kept = self._kept.get(key)
        if kept is not None and kept.keys.access_key_id == refused:
            del self._kept[key]
            kept = None
        spare = self._clock.now() + SPARE_SECONDS * MICROSECONDS
        known = kept is not None and kept.expires_at > spare
        asked("session", remembered=known)
        if kept is None or not known:
            return await self._flights.do(key, lambda: self._make(key, make))
        self._kept.move_to_end(key)
        return kept

    def drop(self, tenant: str, account: str) -> None:
        """Forget all sessions of an account."""
        for key in [key for key in self._kept if key[:2] == (tenant, account)]:
            del self._kept[key]

    async def _make(self, key: SessionKey, make: Callable[[], Awaitable[Session]]) -> Session:
        made = self._kept[key] = await make()
        self._kept.move_to_end(key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return made
