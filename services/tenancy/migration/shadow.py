"""Both systems read and compared, and the way back: what is here, written into the old tables."""

import json
from collections import Counter
from itertools import groupby

from services.tenancy.migration.current import Current
from services.tenancy.migration.mapping import Unfit
from services.tenancy.migration.old_database import OldDatabase
from services.tenancy.migration.old_rows import KINDS, OldAccount, OldCredential, OldRow
from services.tenancy.migration.old_rows import differences as columns_differing
from services.tenancy.migration.vault import OldVault

MISSING = "missing"
_AT_ONCE = 200


class Shadow:
    """Compares and exports. Raises psycopg.Error, and refusals of the service."""

    def __init__(self, old: OldDatabase, current: Current, vault: OldVault) -> None:
        self._old = old
        self._current = current
        self._vault = vault

    async def differences(self) -> Counter[tuple[str, str]]:
        """Count by table and column where the new system says otherwise than the old one."""
        found: Counter[tuple[str, str]] = Counter()
        for kind in KINDS:
            async for row in self._old.rows(kind):
                found.update((kind.TABLE, name) for name in await self._differing(row))
        return found

    async def export(self, into: OldDatabase | None = None) -> int:
        """Write all that is here into old tables; give how many rows. Credentials are sealed."""
        into = into or self._old
        number, waiting = 0, list[OldRow]()
        async for row in self._current.rows():
            waiting.append(row)
            if len(waiting) >= _AT_ONCE:
                number += await _put(into, waiting)
                waiting.clear()
        return number + await _put(into, waiting)

    async def _differing(self, row: OldRow) -> list[str]:
        account: OldAccount | None = None
        if isinstance(row, OldCredential):
            account = await self._old.one(OldAccount, row.account_id)
        try:
            there = await self._current.row(row, account)
        except Unfit:
            there = None
        if there is None:
            return [MISSING]
        if isinstance(row, OldCredential) and isinstance(there, OldCredential):
            return [] if self._parts(row) == self._parts(there) else ["credentials_encrypted"]
        return columns_differing(row, there)

    def _parts(self, row: OldCredential) -> object:
        """Open a credential: sealed twice, the same is not equal."""
        try:
            return json.loads(self._vault.open(row.credentials_encrypted))
        except (Unfit, ValueError):
            return None


async def _put(into: OldDatabase, rows: list[OldRow]) -> int:
    order = {kind: at for at, kind in enumerate(KINDS)}
    rows.sort(key=lambda row: order[type(row)])
    for _, group in groupby(rows, key=type):
        await into.put(list(group))
    return len(rows)
