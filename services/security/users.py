"""Users as tokens name them: the subject of a token is the id of its user, which never changes."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.server.call import find_current_call
from mesh.sql.store import Store
from secmesh.security.v1.user_pb2 import UserStatus

USERS = "users"


class Users:
    """Finds the users of a tenant; their rows stay free for others to write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pattern = store.target(USERS).kind.pattern

    async def of_subject(
        self, connection: AsyncConnection | None, tenant: str, subject: str
    ) -> Any:
        """Give the record of the user that a token's subject is; None if there is none.

        Neither username nor address counts: whoever may write a user may change them.
        """
        call = find_current_call()
        if call is not None and call.caller.tenant != tenant:
            # Who acts for another tenant is none of its users, whatever they are called.
            return None
        return await self.named(connection, self._pattern.format(tenant, subject))

    async def named(self, connection: AsyncConnection | None, name: str) -> Any:
        """Give the record of a user; None if there is none."""
        ids = self._pattern.parse(name)
        if ids is None:
            # A subject that is no id, such as the name of a run, is nobody's.
            return None
        found = self._store.select(USERS, ids[0])
        found = found.where(self._store.target(USERS).table.c.id == ids[-1])
        records = await self._store.messages(USERS, found, connection=connection)
        return records[0] if records else None


def is_active(record: Any) -> bool:
    """Tell whether a user may sign in now."""
    return bool(record.user.status == UserStatus.USER_STATUS_ACTIVE)
