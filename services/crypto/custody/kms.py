"""What is asked of a key management service, whoever runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

KmsContext = Mapping[str, str]
"""Bound to what is wrapped, and not secret: AWS calls it the encryption context."""


class KmsError(Exception):
    """A call of the KMS that failed; the message holds no key."""


class KmsDisabled(KmsError):
    """The key is disabled, about to be deleted or gone: its owner's will, so nothing is served."""


class KmsDenied(KmsError):
    """The KMS does not let this principal use the key: nothing is served, either."""


class KmsRejected(KmsError):
    """What was to be unwrapped was changed, or belongs to another context or key."""


class KmsThrottled(KmsError):
    """Too many calls at the moment."""


class KmsUnavailable(KmsError):
    """The KMS does not answer, or fails by itself."""


REVOKED = (KmsDisabled, KmsDenied)
"""What takes a key away at once, out of caches too."""
PASSING = (KmsThrottled, KmsUnavailable)
"""What may be over a moment later."""


class KmsKeyState(StrEnum):
    """Whether a KMS key can be used."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    PENDING_DELETION = "pending_deletion"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class KmsKey:
    """What a KMS says of a key."""

    key_id: str
    """The one name that never leads elsewhere: an ARN in AWS, not an alias."""
    state: KmsKeyState
    principal: str
    """Who can use and administer it, such as ``aws:123456789012``: the owner of the key."""


@dataclass(frozen=True)
class DataKey:
    """A new key, in clear and wrapped."""

    plaintext: bytes = field(repr=False)
    """32 bytes."""
    wrapped: bytes
    key_id: str
    """Of the KMS key that wrapped it, as in ``KmsKey``."""


class Kms(Protocol):
    """Wraps keys by keys that never leave it.

    Every method raises KmsDisabled, KmsDenied, KmsThrottled or KmsUnavailable, those that take
    what is wrapped KmsRejected too. No call blocks the event loop.
    """

    async def generate(self, key_id: str, context: KmsContext) -> DataKey:
        """Make a key of 32 bytes."""

    async def encrypt(self, key_id: str, plaintext: bytes, context: KmsContext) -> bytes:
        """Wrap at most 4,096 bytes."""

    async def decrypt(self, key_id: str, wrapped: bytes, context: KmsContext) -> bytes:
        """Unwrap what was wrapped by this key in the same context, and by no other key."""

    async def re_encrypt(
        self, key_id: str, wrapped: bytes, context: KmsContext, new_key_id: str
    ) -> bytes:
        """Wrap by another key what was wrapped by one, in the same context; it stays inside."""

    async def describe(self, key_id: str) -> KmsKey:
        """Say what a key is; an alias leads to the key itself."""

    async def renews(self, key_id: str) -> bool:
        """Tell whether the KMS replaces the material of a key at intervals; False if not known."""

    async def close(self) -> None:
        """Let go of connections and threads."""
