"""What a run may do: what its activator could then, for as long as that user may still do it.

A token's permissions are known when it is shown alone. What can be asked later is the record of
the user whose token it was: that it is there, not blocked, and of no lesser role than then.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from secmesh.security.v1.user_pb2 import UserRole, UserStatus
from services.security.editing import required_tenant
from services.security.errors import MandateEnded
from services.security.users import Users
from services.security.workflows.operations import Authority

_STANDING = (UserStatus.USER_STATUS_ACTIVE, UserStatus.USER_STATUS_LOCKED)
"""A locked user typed wrong passwords, or somebody else did: that takes nothing back."""


class Given(Protocol):
    """Who let something be done without them, and what they could then."""

    @property
    def name(self) -> str:
        """Give the name of what keeps it."""

    @property
    def permissions(self) -> Sequence[str]:
        """Give the patterns of their permissions."""

    @property
    def activator(self) -> str:
        """Give the name of the user; empty if the token was no user's."""

    @property
    def activator_role(self) -> int:
        """Give the role of that user then."""


class Mandate:
    """The authority that one person gave, asked for anew each time."""

    def __init__(self, users: Users, plan: Given, actor: str) -> None:
        self._users = users
        self._plan = plan
        self._authority = Authority(required_tenant(plan.name), actor, frozenset(plan.permissions))

    async def authority(self, connection: AsyncConnection | None = None) -> Authority:
        """Give what may be done now; MandateEnded."""
        if self._plan.activator:
            problem = self._against(await self._users.named(connection, self._plan.activator))
            if problem:
                raise MandateEnded(self._plan.activator, problem)
        return self._authority

    def _against(self, user: Any) -> str:
        """Give what takes the mandate back; empty if nothing does."""
        if user is None:
            return "is gone"
        status, role = user.user.status, user.user.role
        if status not in _STANDING:
            word = UserStatus.Name(status).removeprefix("USER_STATUS_")
            return f"is {word}"
        # Roles are numbered from most to least.
        if role > self._plan.activator_role:
            word = UserRole.Name(role).removeprefix("USER_ROLE_")
            return f"is only {word} now"
        return ""
