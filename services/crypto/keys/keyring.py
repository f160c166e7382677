"""Keys as those who seal and open ask for them, whatever keeps and wraps them."""

from collections.abc import Collection, Mapping
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.suite.blind_index import IndexKey
from services.crypto.suite.fields import UserKey
from services.crypto.suite.tokens import TokenKey


class UserKeyring(Protocol):
    """The keys of users, each of its versions.

    Raises KeyDisabled if a custodian refuses, DependencyUnavailable if one does not answer.
    """

    async def current(self, tenant: str, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """Give the versions that seal now; users without a key are left out."""

    async def versions(
        self, tenant: str, wanted: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], UserKey]:
        """Give versions by (user id, version); those that may not open are left out."""

    async def create(
        self, connection: AsyncConnection, tenant: str, user_ids: Collection[str]
    ) -> Mapping[str, UserKey]:
        """Make the first key of users who have none, in the caller's transaction.

        Users who have one keep it and are given it.
        """

    async def ensure(self, tenant: str, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """Give the versions that seal now; makes the keys that are missing, at once.

        Users whose keys are disabled or destroyed are left out.
        """

    def forget(self, tenant: str, user_id: str | None = None) -> None:
        """Let go of what is remembered of a user, of all users of the tenant if None."""


class FieldKeyring(Protocol):
    """The keys of fields: of blind indexes and of tokens, of their own under the KMS."""

    async def index_key(self, tenant: str, field: str) -> IndexKey:
        """Give the version that indexes now; made when first asked for."""

    async def index_keys(self, tenant: str, field: str) -> list[IndexKey]:
        """Give every version by which rows may be indexed, the newest first."""

    async def token_key(self, tenant: str, field: str) -> TokenKey:
        """Give the version that makes tokens now; made when first asked for."""

    async def token_key_version(self, tenant: str, field: str, version: int) -> TokenKey:
        """Give one version. Raises ValueUnopenable if it is not there or may not open."""


class AppKeyring(Protocol):
    """Which versions of the app key a tenant's values are sealed by; its custodian keeps them."""

    async def current(self, tenant: str) -> int | None:
        """Give the version that seals now; None if none may."""

    async def opening(self, tenant: str, wanted: Collection[int] = ()) -> frozenset[int]:
        """Give the versions that may open; reads again if one of those wanted is not known."""
