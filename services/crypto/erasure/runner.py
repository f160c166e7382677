"""Ends erasures whose process was killed, or whose second place was away."""

from datetime import timedelta

from mesh.sql.recurring import Recurring
from mesh.sql.tenancy import of_removed_tenants
from mesh.sql.transactions import Transactions
from services.crypto.erasure.erasing import LEASE, Erasing
from services.crypto.erasure.erasure_store import Due, ErasureWork

EVERY = timedelta(seconds=2)


class ErasureRunner(Recurring):
    """Looks for erasures that nobody goes on with; processes take turns."""

    def __init__(
        self, transactions: Transactions, erasing: Erasing, every: timedelta = EVERY
    ) -> None:
        super().__init__(every, "erasures could not be gone on with")
        self._transactions = transactions
        self._erasing = erasing
        self._work = ErasureWork()

    async def look(self) -> int:
        """Do all that is due; give how much that was."""
        count = 0
        while (due := await self._claim()) is not None:
            count += 1
            # The persons of a tenant that leaves are erased as well.
            with of_removed_tenants():
                await self._erasing.advance(*due)
        return count

    async def _claim(self) -> Due | None:
        async with self._transactions.transaction() as connection:
            return await self._work.claim(connection, LEASE)
