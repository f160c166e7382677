"""Rotation of a tenant's key: users' keys are wrapped anew, and no value is touched."""

import asyncio
import contextlib
from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceNotFound
from mesh.sql.transactions import Transactions
from services.crypto.errors import KeyDisabled, ValueUnopenable
from services.crypto.keys.hierarchy import UserKeys
from services.crypto.keys.key_store import TenantKeyRow, UserKeyRow
from services.crypto.keys.states import KeyState
from services.crypto.keys.tenant_keys import TenantKey, TenantKeys
from services.crypto.rotation.procedure import ReadBackFailed
from services.crypto.rotation.refusals import RotationOutdated
from services.crypto.rotation.rotation import KeyType, Plan, Rotation, Step
from services.crypto.rotation.tenant_key_store import Rewrapped, TenantKeyStore, position_of

_SLICE = 100
"""Keys between which calls get their turn."""


class TenantKeyRotation:
    """See ``Procedure``."""

    quiet = True

    def __init__(
        self, transactions: Transactions, tenant_keys: TenantKeys, user_keys: UserKeys
    ) -> None:
        self._transactions = transactions
        self._tenant_keys = tenant_keys
        self._user_keys = user_keys
        self._store = TenantKeyStore()

    async def plan(self, connection: AsyncConnection, tenant: str) -> Plan:
        """Count the users' keys: all hang from other versions than one that is new."""
        versions = await self._store.versions(connection, tenant)
        active = _active(versions.values())
        if active is None:
            raise ResourceNotFound(f"tenants/{tenant}/keys/{KeyType.TENANT_KEK.value}")
        new = max(versions) + 1
        records = await self._store.count_others(connection, tenant, new)
        return Plan(active.version, new, records)

    async def obstacle(self, _tenant: str, _plan: Plan) -> str:
        """Nothing: the service makes the new version itself."""
        return ""

    async def plan_rollback(self, connection: AsyncConnection, rotation: Rotation) -> Plan:
        """Count the users' keys that do not hang from the old version."""
        versions = await self._store.versions(connection, rotation.tenant)
        old, new = _pair(rotation)
        active, back = _active(versions.values()), versions.get(old)
        if active is None or active.version not in (old, new) or back is None:
            raise RotationOutdated
        if not back.state.opens:
            raise RotationOutdated
        return Plan(new, old, await self._store.count_others(connection, rotation.tenant, old))

    async def prepare(self, rotation: Rotation) -> None:
        """Have the KMS make the new version, and hold both in clear before the turn."""
        old, new = _pair(rotation)
        async with self._transactions.connection(rotation.tenant) as connection:
            versions = await self._store.versions(connection, rotation.tenant)
        if new not in versions and not rotation.rolls_back:
            row = await self._tenant_keys.generate(rotation.tenant, new, versions[old].kms_key_id)
            async with self._transactions.transaction(rotation.tenant) as connection:
                await self._store.add(connection, rotation.tenant, row)
        for version in (old, new):
            if version in versions and versions[version].state.opens:
                await self._key(rotation.tenant, version)

    async def promote(self, connection: AsyncConnection, rotation: Rotation) -> None:
        """Let the new version wrap; the old one opens as long as it can be rolled back to."""
        tenant, (old, new) = rotation.tenant, _pair(rotation)
        versions = await self._store.versions(connection, tenant)
        active = _active(versions.values())
        if active is None:
            raise KeyDisabled("tenant")
        if active.version not in (old, new):
            raise RotationOutdated
        # One is active at a time: the index of the table refuses two.
        if old in versions and versions[old].state.opens:
            await self._store.set_state(connection, tenant, old, KeyState.DECRYPT_ONLY)
        await self._store.set_state(connection, tenant, new, KeyState.ACTIVE)

    async def step(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> Step:
        """Wrap users' keys by the new version."""
        new = _pair(rotation)[1]
        rows = await self._store.others(connection, rotation.tenant, new, rotation.position, limit)
        target = await self._key(rotation.tenant, new)
        written, skipped = await self._rewrap(connection, rotation.tenant, target, rows)
        position = position_of(rows[-1]) if len(rows) == limit else ""
        return Step(position, written, skipped)

    async def close(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> bool:
        """Destroy the old version when it wraps nothing any more."""
        tenant, old = rotation.tenant, _pair(rotation)[0]
        versions = await self._store.versions(connection, tenant)
        if old not in versions or versions[old].state is not KeyState.DECRYPT_ONLY:
            return True
        # A process that remembered the old version may have wrapped by it after the last pass.
        rows = await self._store.wrapped_by(connection, tenant, old, limit)
        if not rows:
            await self._store.set_state(connection, tenant, old, KeyState.DESTROYED)
            return True
        current = await self._tenant_keys.current(tenant)
        written, _ = await self._rewrap(connection, tenant, current, rows)
        # What does not open keeps its key: it may be looked into.
        return not written

    def forget(self, tenant: str) -> None:
        """Users' keys in clear stay the same: only the tenant's are forgotten."""
        self._tenant_keys.forget(tenant)

    async def _rewrap(
        self, connection: AsyncConnection, tenant: str, target: TenantKey, rows: list[UserKeyRow]
    ) -> tuple[int, int]:
        """Wrap rows by a version and read them back; give how many were, and did not open."""
        wrapping = self._user_keys.wrapping(tenant)
        sources = await self._sources(tenant, {row.tenant_key_version for row in rows})
        secrets: dict[tuple[str, int], bytes] = {}
        changes = []
        for at, row in enumerate(rows):
            source = sources.get(row.tenant_key_version)
            secret = None if source is None else wrapping.opened(source, row)
            if secret is not None:
                secrets[row.user_id, row.version] = secret
                changes.append(Rewrapped(row, wrapping.wrap(target, row, secret)))
            await _give_way(at)
        written = await self._store.rewrap(connection, tenant, target.version, changes)
        for at, row in enumerate(written):
            if wrapping.opened(target, row) != secrets[row.user_id, row.version]:
                raise ReadBackFailed("a user's key does not open by the new version")
            await _give_way(at)
        return len(written), len(rows) - len(changes)

    async def _sources(self, tenant: str, versions: Iterable[int]) -> dict[int, TenantKey]:
        """Give versions of the tenant's key; those that may not open are left out."""
        found = {}
        for version in versions:
            with contextlib.suppress(ValueUnopenable):
                found[version] = await self._key(tenant, version)
        return found

    async def _key(self, tenant: str, version: int) -> TenantKey:
        return await self._tenant_keys.version(tenant, version)


async def _give_way(at: int) -> None:
    if at % _SLICE == _SLICE - 1:
        await asyncio.sleep(0)


def _active(rows: Iterable[TenantKeyRow]) -> TenantKeyRow | None:
    return next((row for row in rows if row.state is KeyState.ACTIVE), None)


def _pair(rotation: Rotation) -> tuple[int, int]:
    """Give the old and the new version, which rotations of this kind always have."""
    if rotation.old_version is None or rotation.new_version is None:
        raise RotationOutdated
    return rotation.old_version, rotation.new_version
