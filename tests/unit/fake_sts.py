"""STS that tells the truth where moto does not: trust policies, external ids, dead keys, ends."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from services.tenancy.credentials.sts import (
    MAX_SECONDS,
    MIN_SECONDS,
    AssumptionDenied,
    AwsKeys,
    Identity,
    KeysRefused,
    Scope,
    Session,
    TokensRejected,
    TokensThrottled,
    TokensUnavailable,
)

PLATFORM = "arn:aws:iam::999999999999:role/secmesh-tenancy"
_MAX_POLICY = 2048


@dataclass
class Role:
    """A role of a customer's account, by whom it can be assumed."""

    arn: str
    trusts: str = PLATFORM
    external_id: str | None = None
    """None: whoever is trusted needs no external id, which is the mistake to be found."""
    tagged: bool = True
    """The trust policy allows sts:TagSession, too."""


@dataclass(frozen=True)
class Assumed:
    """A session that was made, for tests to look at."""

    role_arn: str
    session_name: str
    external_id: str | None
    scope: Scope


@dataclass
class FakeSecurityTokens:
    """See ``SecurityTokens``; roles and users are put in from outside."""

    now: Callable[[], int] = lambda: time.time_ns() // 1000
    roles: dict[str, Role] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    made: list[Assumed] = field(default_factory=list)
    down: bool = False
    throttled: int = 0
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    """Calls wait while it is not set, as they do for a slow STS."""
    _keys: dict[str, tuple[AwsKeys, Identity, int]] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.answering.set()

    def add_role(self, role: Role) -> None:
        self.roles[role.arn] = role

    def add_user(self, arn: str) -> AwsKeys:
        """Make a user's access key."""
        return self._issue("AKIA", Identity(arn.split(":")[4], arn), expires_at=0).keys

    def arn_of(self, access_key_id: str) -> str:
        return self._keys[access_key_id][1].arn

    def users(self) -> list[str]:
        """Give the ids of keys that are of no session."""
        return [each for each, known in self._keys.items() if not known[2]]

    def who(self, keys: AwsKeys) -> str:
        """Give whose keys they are; KeysRefused."""
        return self._who(keys).arn

    def disable(self, access_key_id: str) -> None:
        del self._keys[access_key_id]

    async def assume_role(
        self,
        role_arn: str,
        *,
        session_name: str,
        external_id: str | None,
        scope: Scope,
        keys: AwsKeys | None = None,
    ) -> Session:
        await self._begin("assume_role")
        caller = PLATFORM if keys is None else self._who(keys).arn
        _require(scope)
        role = self.roles.get(role_arn)
        trusted = (
            role is not None
            and role.trusts == caller
            and role.external_id in (None, external_id)
            and (role.tagged or not scope.tags)
        )
        if not trusted:
            raise AssumptionDenied("AccessDenied")
        self.made.append(Assumed(role_arn, session_name, external_id, scope))
        account = role_arn.split(":")[4]
        arn = f"arn:aws:sts::{account}:assumed-role/{role_arn.rpartition('/')[2]}/{session_name}"
        return self._issue("ASIA", Identity(account, arn), self.now() + scope.seconds * 1_000_000)

    async def federate(self, keys: AwsKeys, *, session_name: str, scope: Scope) -> Session:
        await self._begin("federate")
        who = self._who(keys)
        _require(scope)
        if keys.session_token:
            # Sessions make no sessions of this kind.
            raise KeysRefused("AccessDenied")
        self.made.append(Assumed("", session_name, None, scope))
        arn = f"arn:aws:sts::{who.account}:federated-user/{session_name}"
        return self._issue("ASIA", replace(who, arn=arn), self.now() + scope.seconds * 1_000_000)

    async def identity(self, keys: AwsKeys) -> Identity:
        await self._begin("identity")
        return self._who(keys)

    async def close(self) -> None:
        pass

    async def _begin(self, operation: str) -> None:
        self.calls[operation] += 1
        await self.answering.wait()
        if self.down:
            raise TokensUnavailable("InternalFailure")
        if self.throttled > 0:
            self.throttled -= 1
            raise TokensThrottled("Throttling")

    def _issue(self, prefix: str, identity: Identity, expires_at: int) -> Session:
        number = next(self._numbers)
        keys = AwsKeys(
            f"{prefix}{number:016d}",
            f"secret{number:034d}",
            f"token-{number}" if expires_at else "",
        )
        self._keys[keys.access_key_id] = keys, identity, expires_at
        return Session(keys, expires_at)

    def _who(self, keys: AwsKeys) -> Identity:
        known = self._keys.get(keys.access_key_id)
        if known is None or known[0] != keys:
            raise KeysRefused("InvalidClientTokenId")
        if known[2] and known[2] <= self.now():
            raise KeysRefused("ExpiredToken")
        return known[1]


def _require(scope: Scope) -> None:
    if not MIN_SECONDS <= scope.seconds <= MAX_SECONDS or len(scope.policy) > _MAX_POLICY:
        raise TokensRejected("ValidationError")
