"""Stops the use of a key by its operator's will, everywhere, and gives it back.

Unlike what a custodian disables, this is of one tenant or one user. Each version comes back as it
was; what is destroyed does not.
"""

import uuid
from collections.abc import Callable

from mesh.errors import ResourceNotFound
from mesh.server.call import current_call
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Access, Audit, Operation
from services.crypto.keys.key_listing_store import USER_DEK, shown_key
from services.crypto.keys.key_stop_store import set_disabled
from services.crypto.keys.news import tell


class KeyStops:
    """See the module; each of it is in the audit."""

    def __init__(
        self, transactions: Transactions, audit: Audit, forget: Callable[[str | None], None]
    ) -> None:
        """Call ``forget`` with the tenant: this process hears at once, the others by ``news``."""
        self._transactions = transactions
        self._audit = audit
        self._forget = forget

    async def disable(self, tenant: str, key_id: str) -> None:
        """Let no version seal or open any more. Raises ResourceNotFound."""
        await self._change(tenant, key_id, "disable")

    async def enable(self, tenant: str, key_id: str) -> None:
        """Let each version do what it did before. Raises ResourceNotFound."""
        await self._change(tenant, key_id, "enable")

    async def _change(self, tenant: str, key_id: str, verb: str) -> None:
        async with self._transactions.transaction(tenant) as connection:
            if await shown_key(connection, tenant, key_id) is None:
                raise ResourceNotFound(f"tenants/{tenant}/keys/{key_id}")
            await set_disabled(connection, tenant, key_id, disabled=verb == "disable")
            await tell(connection, tenant)
            await self._audit.record([_access(tenant, key_id, verb)])
        self._forget(tenant)


def _access(tenant: str, key_id: str, verb: str) -> Access:
    call = current_call()
    of_user = key_id.startswith(USER_DEK)
    return Access(
        tenant,
        Operation.CONFIGURE,
        call.caller.subject,
        call.request_id,
        user_id=uuid.UUID(key_id.removeprefix(USER_DEK)).bytes if of_user else b"",
        # A user stands in an entry as a pseudonym alone.
        details=f"{verb} {USER_DEK.rstrip('-') if of_user else key_id}",
    )
