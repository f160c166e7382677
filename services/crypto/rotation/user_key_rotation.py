"""Rotation of users' keys: values are sealed anew, of tier 3 the outer layer alone.

The custodian of the app key is not asked: what is inside of tier 3 stays closed. Old versions open
for good, as values that callers keep themselves may be sealed by them.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceNotFound
from services.crypto.erasure.gate_store import pass_gate
from services.crypto.errors import ValueUnopenable
from services.crypto.keys.hierarchy import UserKeys
from services.crypto.keys.key_store import UserKeyRow
from services.crypto.keys.tenant_keys import TenantKeys
from services.crypto.rotation.procedure import ReadBackFailed
from services.crypto.rotation.rotation import Plan, Rotation, Step
from services.crypto.rotation.sealed_values import Resealed, SealedValues, StoredValue
from services.crypto.rotation.user_key_store import DueKey, UserKeyStore
from services.crypto.suite.cobblestone import Key
from services.crypto.suite.fields import UserKey

_ROWS_OF_A_USER = 4
"""About, for the number of users of one turn."""


class UserKeyRotation:
    """See ``Procedure``."""

    quiet = False

    def __init__(self, tenant_keys: TenantKeys, user_keys: UserKeys, values: SealedValues) -> None:
        self._tenant_keys = tenant_keys
        self._user_keys = user_keys
        self._values = values
        self._store = UserKeyStore()

    async def plan(self, connection: AsyncConnection, tenant: str) -> Plan:
        """Count users' keys, and the values that are sealed by them."""
        records = await self._store.count(connection, tenant)
        if not records:
            raise ResourceNotFound(f"tenants/{tenant}/keys/user-dek")
        return Plan(None, None, records)

    async def obstacle(self, _tenant: str, _plan: Plan) -> str:
        """Nothing: the service makes the new version itself."""
        return ""

    async def plan_rollback(self, connection: AsyncConnection, rotation: Rotation) -> Plan:
        """Count the keys that the rotation made, and the values of their users."""
        made = await self._store.count(connection, rotation.tenant, rotation.rotation_id)
        return Plan(None, None, made)

    async def prepare(self, rotation: Rotation) -> None:
        """Have the tenant's key in clear before the turn."""
        await self._tenant_keys.current(rotation.tenant)

    async def promote(self, connection: AsyncConnection, rotation: Rotation) -> None:
        """Nothing at once: each user's key changes with the user's values."""

    async def step(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> Step:
        """Replace keys of users, and seal their values by what is active then."""
        # Who is erased meanwhile would be given a new key.
        await pass_gate(connection, rotation.tenant)
        users = max(limit // _ROWS_OF_A_USER, 1)
        due = await self._store.due(connection, rotation, users)
        position = due[-1].row.user_id if len(due) == users else ""
        # Who writes a person waits here, or is waited for: the values are theirs until the end.
        ids = [each.row.user_id for each in due]
        values = await self._values.of(connection, rotation.tenant, ids, lock=True)
        replaced = await self._replace(connection, rotation, due)
        active = {each.row.user_id: each.row for each in due}
        active |= {row.user_id: row for row in replaced}
        keys = await self._opened(rotation.tenant, list(active.values()))
        if any(row.user_id not in keys for row in replaced):
            raise ReadBackFailed("a user's new key does not open")
        changes, skipped = await self._resealed(rotation.tenant, values, keys)
        written = await self._values.write(connection, rotation.tenant, changes, keys)
        # A rollback cannot give back a key that is gone.
        stuck = sum(each.outdated for each in due) - len(replaced)
        return Step(position, written + len(replaced), skipped + stuck)

    async def close(self, *_: object) -> bool:
        """Nothing is destroyed: an old version may be all that opens a value kept elsewhere."""
        return True

    def forget(self, tenant: str) -> None:
        """Let the next call read which versions seal."""
        self._user_keys.forget(tenant)

    async def _replace(
        self, connection: AsyncConnection, rotation: Rotation, due: Sequence[DueKey]
    ) -> list[UserKeyRow]:
        """Give the keys that are active now in the place of those that are outdated."""
        tenant = rotation.tenant
        users = [each.row.user_id for each in due if each.outdated]
        if rotation.rolls_back:
            undone = rotation.rolls_back
            before = await self._store.before(connection, tenant, undone, users)
            await self._store.retire(connection, tenant, before)
            await self._store.restore(connection, tenant, before.values())
            return list(before.values())
        parent = await self._tenant_keys.current(tenant)
        newest = await self._store.newest(connection, tenant, users)
        await self._store.retire(connection, tenant, users)
        made = [self._user_keys.make(parent, tenant, user, newest[user] + 1) for user in users]
        return await self._store.add(connection, tenant, made, rotation.rotation_id)

    async def _opened(self, tenant: str, rows: Sequence[UserKeyRow]) -> dict[str, UserKey]:
        """Open keys as they stand in this transaction; those that do not open are left out."""
        keys = {}
        wrapping = self._user_keys.wrapping(tenant)
        for row in rows:
            try:
                parent = await self._tenant_keys.version(tenant, row.tenant_key_version)
            except ValueUnopenable:
                continue
            secret = wrapping.opened(parent, row)
            if secret is not None:
                keys[row.user_id] = UserKey(row.version, Key(secret))
        return keys

    async def _resealed(
        self, tenant: str, values: Sequence[StoredValue], keys: dict[str, UserKey]
    ) -> tuple[list[Resealed], int]:
        """Seal values of other versions anew; give how many of them did not open."""
        other = [
            each
            for each in values
            if each.user_id in keys
            and (each.header is None or each.header.key_version != keys[each.user_id].version)
        ]
        wanted = {(each.user_id, each.header.key_version) for each in other if each.header}
        sealing = await self._user_keys.versions(tenant, wanted)
        changes = []
        for each in other:
            version = each.header.key_version if each.header else 0
            layer = self._values.outer(tenant, each, sealing.get((each.user_id, version)))
            if layer is not None and each.header is not None:
                key = keys[each.user_id]
                changes.append(self._values.reseal(tenant, each, layer, each.header, key))
        return changes, len(other) - len(changes)
