"""What is asked of a store of secrets, as AWS Secrets Manager answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

MAX_BYTES = 65_536
"""Longest value, in bytes of UTF-8."""
MIN_DELETION_DAYS, MAX_DELETION_DAYS = 7, 30
"""In which a deleted secret can be restored."""


class SecretsError(Exception):
    """A call that failed; the message holds no part of any secret."""


class SecretMissing(SecretsError):
    """There is no such secret, or no such version of it."""


class SecretExists(SecretsError):
    """The name is taken, or the version id stands for another value already."""


class SecretPendingDeletion(SecretsError):
    """The secret was deleted: its name is blocked until it is gone, or restored."""


class SecretTooLarge(SecretsError):
    """The value is longer than 65,536 bytes."""


class SecretRejected(SecretsError):
    """Secrets Manager does not take what it was asked, such as a stage that is elsewhere."""


class SecretsDenied(SecretsError):
    """This principal may not use the secret, or its KMS key."""


class SecretsThrottled(SecretsError):
    """Too many calls: all writes of a Region together are 50 in a second."""


class SecretsUnavailable(SecretsError):
    """No answer, or a failure of the store: a write may have been done."""


PASSING = (SecretsThrottled, SecretsUnavailable)
"""What may be over a moment later."""


class Stage(StrEnum):
    """Staging labels that Secrets Manager itself knows; any other text is one, too."""

    CURRENT = "AWSCURRENT"
    PENDING = "AWSPENDING"
    PREVIOUS = "AWSPREVIOUS"


@dataclass(frozen=True)
class SecretVersion:
    """A version, without its value."""

    version_id: str
    stages: frozenset[str]
    created_at: int
    """Microseconds since the epoch."""


@dataclass(frozen=True)
class SecretValue:
    """A version with its value."""

    version_id: str
    value: str = field(repr=False)


@dataclass(frozen=True)
class SecretFacts:
    """What is known of a secret, without a value."""

    tags: Mapping[str, str]
    versions: Sequence[SecretVersion]
    """Those with a stage, the newest first."""
    deleted: bool
    """Pending deletion."""


class Secrets(Protocol):
    """Keeps secrets under names, in versions that carry stages; each stage is at one version.

    Every method raises SecretMissing, SecretRejected, SecretsDenied, SecretsThrottled or
    SecretsUnavailable, all but ``create``, ``restore``, ``describe`` and ``tags``
    SecretPendingDeletion.
    A version id is chosen by the caller (32 to 64 characters): the same id with the same value
    again does nothing, with another value raises SecretExists. No call blocks the event loop.
    """

    async def create(
        self, name: str, value: str, *, version_id: str, tags: Mapping[str, str]
    ) -> None:
        """Make a secret whose first version is CURRENT.

        Raises SecretExists, SecretTooLarge, and SecretPendingDeletion for a name that is blocked.
        """

    async def put(self, name: str, value: str, *, version_id: str, stages: Sequence[str]) -> None:
        """Add a version and move these stages to it. Raises SecretExists, SecretTooLarge.

        With CURRENT among them, PREVIOUS moves to the version that had it.
        """

    async def get(self, name: str, stage: str) -> SecretValue:
        """Read the version at a stage, which is always named."""

    async def move(self, name: str, stage: str, *, to: str = "", away: str = "") -> None:
        """Move a stage to a version, away from the one that has it; "" for none.

        CURRENT takes PREVIOUS along, and cannot be taken away without a place to go to.
        """

    async def describe(self, name: str) -> SecretFacts:
        """Say what is known of a secret, one that is pending deletion too."""

    async def tags(self, name: str) -> Mapping[str, str]:
        """Say whose a secret is, one that is pending deletion too."""

    async def delete(self, name: str, *, days: int) -> None:
        """Delete after so many days, 7 to 30; until then nothing of it can be read."""

    async def restore(self, name: str) -> None:
        """Take a deletion back; does nothing if there was none."""

    async def close(self) -> None:
        """Let go of connections and threads."""
