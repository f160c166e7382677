"""The accounts that events tell of, each with the readings that this process makes of it."""

from services.inventory.collect.run import Stores
from services.inventory.live.hints import Hint
from services.inventory.live.parts import targets_of
from services.inventory.live.readings import Account, AccountReadings, Means, Ticket

Known = dict[str, AccountReadings | None]
"""Accounts by their id at AWS, as one call has met them; None where the tenant has none."""


class LiveAccounts:
    """Begins readings for whoever posts events."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self._stores: Stores = means.runner.stores
        self._accounts: dict[tuple[str, str], AccountReadings] = {}

    async def close(self) -> None:
        """Begin no more readings."""
        for each in list(self._accounts.values()):
            await each.close()

    async def ask(self, tenant: str, hint: Hint, known: Known) -> list[Ticket] | None:
        """Have read what one event tells of; None of an account that the tenant never had read."""
        account = hint.cloud_account_id
        if account not in known:
            known[account] = await self._readings(tenant, account)
        readings = known[account]
        if readings is None:
            return None
        collectors, units = self.means.registry.collectors, readings.account.units
        return [readings.ask(target) for target in targets_of(hint, collectors, units)]

    async def _readings(self, tenant: str, cloud_account_id: str) -> AccountReadings | None:
        latest = await self._stores.syncs.latest_read(tenant, cloud_account_id)
        if latest is None:
            return None
        units = await self._stores.records.units_read(tenant, cloud_account_id)
        account = Account(tenant, cloud_account_id, latest.account, units)
        key = (tenant, cloud_account_id)
        found = self._accounts.get(key)
        if found is None:
            found = self._accounts[key] = AccountReadings(self.means, account)
        found.account = account
        return found

    def forget_idle(self) -> None:
        """Keep no account whose last reading is too long ago to matter."""
        for key, each in list(self._accounts.items()):
            if each.forgettable:
                del self._accounts[key]
