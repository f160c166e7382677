"""What each kind of rotation does its own way; ``runner`` does the rest."""

from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.rotation.rotation import Plan, Rotation, Step


class ReadBackFailed(Exception):
    """What was written does not open to what it was made of: nothing of the turn is kept."""


class Procedure(Protocol):
    """Rotates one kind of key.

    Raises what custodians raise: KeyDisabled, DependencyUnavailable. Everything can be done again
    from its beginning: a process may be killed at any moment.
    """

    quiet: bool
    """Whether a turn changes nothing that calls hold: then turns are long, and calls keep keys."""

    async def plan(self, connection: AsyncConnection, tenant: str) -> Plan:
        """Say what a rotation would do now. Raises ResourceNotFound without a key."""

    async def obstacle(self, tenant: str, plan: Plan) -> str:
        """Say what an operator must do before a plan can run; empty if nothing.

        Outside of transactions, as a custodian is asked.
        """

    async def plan_rollback(self, connection: AsyncConnection, rotation: Rotation) -> Plan:
        """Say what undoing a rotation would do now. Raises RotationOutdated if it cannot."""

    async def prepare(self, rotation: Rotation) -> None:
        """Have the new version made; outside of transactions, as a custodian is asked."""

    async def promote(self, connection: AsyncConnection, rotation: Rotation) -> None:
        """Let the new version seal, and the old one open only. Raises RotationOutdated."""

    async def step(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> Step:
        """Rewrite so many rows after the rotation's position; each is read back."""

    async def close(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> bool:
        """Let go of the old version once nothing needs it; False if it is to be asked again."""

    def forget(self, tenant: str) -> None:
        """Let go of what this process remembers of the tenant's keys."""
