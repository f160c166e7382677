"""What is asked of a security token service, as AWS STS answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

MIN_SECONDS, MAX_SECONDS = 900, 3600
"""Of a session; a role that was assumed by a role ends after an hour, whatever it allows."""


class TokensError(Exception):
    """A call that failed; the message holds no key."""


class AssumptionDenied(TokensError):
    """The role does not exist, does not trust this principal, or wants another external id."""


class KeysRefused(TokensError):
    """AWS does not know the keys, or they were disabled, changed or have expired."""


class TokensRejected(TokensError):
    """The request itself is wrong, such as a policy that is too large."""


class TokensThrottled(TokensError):
    """Too many calls at the moment."""


class TokensUnavailable(TokensError):
    """No answer, or a failure of the service."""


@dataclass(frozen=True)
class AwsKeys:
    """An access key, of a user or of a session."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Session:
    """Keys that end by themselves."""

    keys: AwsKeys
    expires_at: int
    """Microseconds since the epoch."""
    federated: bool = False
    """Whether it is of a user: AWS lets it call nothing of IAM."""


@dataclass(frozen=True)
class Identity:
    """Whose keys they are."""

    account: str
    """12 digits."""
    arn: str


@dataclass(frozen=True)
class Scope:
    """What a session may do at most, and what it says of itself."""

    seconds: int = MIN_SECONDS
    """900 to 3,600."""
    policy: str = ""
    """A policy as JSON; what it does not allow is denied. "" adds none."""
    policy_arns: Sequence[str] = ()
    """Managed policies that count beside ``policy``; with neither the role alone counts."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Session tags: the role must trust this principal with sts:TagSession, too."""


class SecurityTokens(Protocol):
    """Makes sessions. Every method raises TokensThrottled or TokensUnavailable.

    ``assume_role`` and ``federate`` raise TokensRejected as well. No call blocks the event loop.
    """

    async def assume_role(
        self,
        role_arn: str,
        *,
        session_name: str,
        external_id: str | None,
        scope: Scope,
        keys: AwsKeys | None = None,
    ) -> Session:
        """Assume a role by own credentials, or by ``keys``. Raises AssumptionDenied, KeysRefused.

        An external id of None sends none.
        """

    async def federate(self, keys: AwsKeys, *, session_name: str, scope: Scope) -> Session:
        """Make a session of a user's long-term keys. Raises KeysRefused.

        Such a session can call neither IAM nor, but for its identity, STS.
        """

    async def identity(self, keys: AwsKeys) -> Identity:
        """Say whose keys they are, which needs no permission. Raises KeysRefused."""

    async def close(self) -> None:
        """Let go of connections and threads."""
