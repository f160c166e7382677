"""Ends erasures whose process was killed, and hears of those of other processes."""

from collections.abc import Callable
from datetime import timedelta

from mesh.sql.recurring import Recurring
from mesh.sql.transactions import Transactions
from services.crypto.erasure.erasing import LEASE, Erasing
from services.crypto.erasure.erasure import State
from services.crypto.erasure.erasure_log import Due, ErasureWork

EVERY = timedelta(seconds=1)


class ErasureRunner(Recurring):
    """Looks each second: what it hears of is forgotten by this process at once."""

    def __init__(
        self,
        transactions: Transactions,
        erasing: Erasing,
        forget: Callable[[str], None],
        every: timedelta = EVERY,
    ) -> None:
        super().__init__(every, "erasures could not be gone on with")
        self._transactions = transactions
        self._erasing = erasing
        self._forget = forget
        self._work = ErasureWork()
        self._heard: set[Due] = set()

    async def look(self) -> int:
        """Forget what was erased elsewhere, then do all that is due; give how much that was."""
        await self.hear()
        count = 0
        while (due := await self._claim()) is not None:
            count += 1
            if (await self._erasing.get(*due)).state is State.CERTIFIED:
                # Everybody was told for long enough.
                async with self._transactions.transaction() as connection:
                    await self._work.drop(connection, due)
            else:
                await self._erasing.advance(*due)
        return count

    async def hear(self) -> int:
        """Forget the keys of tenants with new erasures; give how many erasures are new."""
        async with self._transactions.connection() as connection:
            told = await self._work.told(connection)
        new = told - self._heard
        for tenant in {tenant for tenant, _ in new}:
            self._forget(tenant)
        self._heard = told
        return len(new)

    async def _claim(self) -> Due | None:
        async with self._transactions.transaction() as connection:
            return await self._work.claim(connection, LEASE)
