"""What is asked of the custodian of the app key: the inner layer of values of tier 3.

It is a second party: whoever has the KMS, the database or the main process alone reads nothing
of tier 3. It runs in the same process, or in one of its own behind a UNIX socket.
"""

from collections.abc import Sequence
from typing import Protocol

from services.crypto.suite.fields import InnerValue


class AppKeyCustodian(Protocol):
    """Seals and opens inner layers; the app key never leaves it.

    Raises KeyDisabled if it may not be used, DependencyUnavailable if it does not answer.
    """

    async def principal(self) -> str:
        """Say who can use the app key, as ``KmsKey.principal`` does of the KMS key."""

    async def seal(self, tenant: str, values: Sequence[InnerValue]) -> list[bytes]:
        """Seal padded plaintexts, each by the version that its header names."""

    async def open(self, tenant: str, values: Sequence[InnerValue]) -> list[bytes | None]:
        """Open inner layers; None for what does not open, whatever is wrong."""

    async def seal_again(
        self, tenant: str, values: Sequence[InnerValue], version: int
    ) -> list[bytes | None]:
        """Seal by another version what inner layers hold, which the caller never sees.

        Each is read back before it is given; None for what does not open.
        """

    async def close(self) -> None:
        """Let go of what it holds."""
