"""What is asked of IAM so that one access key of a user can follow another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from services.tenancy.credentials.sts import AwsKeys


class AccessKeysError(Exception):
    """A call that failed; the message holds no key."""

    word: ClassVar[str] = "unavailable"
    """What the credential says of it."""


class AccessKeysUnavailable(AccessKeysError):
    """No answer, too many calls at the moment, or a failure of the service."""


class AccessKeysForbidden(AccessKeysError):
    """The user may not do that with its own keys."""

    word = "not_permitted"


class AccessKeysRefused(AccessKeysError):
    """AWS does not know the key that the call was made by."""

    word = "keys_refused"


class TooManyAccessKeys(AccessKeysError):
    """A user has two at most."""

    word = "too_many_keys"


@dataclass(frozen=True)
class KeyFacts:
    """What IAM tells of a key."""

    id: str
    created_at: int
    """Microseconds since the epoch."""


class AccessKeys(Protocol):
    """Changes the access keys of a user by one of them. No call blocks the event loop.

    Every method raises AccessKeysUnavailable, AccessKeysForbidden and AccessKeysRefused.
    """

    async def create(self, keys: AwsKeys, user: str) -> AwsKeys:
        """Make one more. Raises TooManyAccessKeys."""

    async def listed(self, keys: AwsKeys, user: str) -> Sequence[KeyFacts]:
        """Tell which there are."""

    async def delete(self, keys: AwsKeys, user: str, key_id: str) -> None:
        """Delete one; what is gone is deleted already."""

    async def close(self) -> None:
        """Let go of connections and threads."""
