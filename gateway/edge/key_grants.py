"""What an API key is good for, whoever keeps it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mesh.identity.api_key import ApiKey


@dataclass(frozen=True)
class Grant:
    """What is known of a key that is good; never its secret."""

    id: str
    sha256: str
    """Of the secret."""
    tenant: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    expire_time: datetime
    methods: tuple[str, ...] = ()
    """The only ones it is good for; all if there are none."""


class KeySource(Protocol):
    """Where keys are kept."""

    async def find(self, key: ApiKey) -> Grant | None:
        """Give what a key is good for; None if there is none of this id and secret.

        Raises ApiKeyInvalid if it was revoked or its tenant is not served, ApiKeyExpired, and
        DependencyUnavailable if nobody can tell.
        """
