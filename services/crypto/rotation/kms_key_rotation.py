"""A tenant's move to another KMS key: what the old one wraps is encrypted anew inside the KMS.

The new key is the one in the service's settings. No value is touched, only what
``encryption_metadata`` says of them. The old wrapped forms stay beside the new ones until they are
not needed for a rollback any more.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.custody.kms import Kms, KmsContext, KmsKeyState, KmsRejected
from services.crypto.custody.refusals import KMS, kms_refusals
from services.crypto.errors import KeyDisabled
from services.crypto.keys.field_keys import FieldKeys
from services.crypto.keys.tenant_keys import TenantKeys
from services.crypto.rotation.kms_key_store import KmsKeyStore, KmsWrapped
from services.crypto.rotation.procedure import ReadBackFailed
from services.crypto.rotation.refusals import RotationOutdated
from services.crypto.rotation.rotation import Plan, Rotation, Step

_VALUES = "2/"
"""Before the positions of values: they come after all keys."""
_AT_ONCE = 10
"""Keys of one turn, each with some calls of the KMS."""


class KmsKeyRotation:
    """See ``Procedure``."""

    quiet = False

    def __init__(
        self, kms: Kms, kms_key_id: str, tenant_keys: TenantKeys, field_keys: FieldKeys
    ) -> None:
        self._kms = kms
        self._kms_key_id = kms_key_id
        self._tenant_keys = tenant_keys
        self._field_keys = field_keys
        self._store = KmsKeyStore()

    async def plan(self, connection: AsyncConnection, tenant: str) -> Plan:
        """Count the keys that other KMS keys wrap than that of the settings."""
        with kms_refusals():
            key = await self._kms.describe(self._kms_key_id)
        if key.state is not KmsKeyState.ENABLED:
            raise KeyDisabled(KMS)
        target = key.key_id
        rows = await self._store.wrapped(connection, tenant)
        keys = sum(each.kms_key_id != target for each in rows)
        values = await self._store.described_otherwise(connection, tenant, target)
        return Plan(None, None, keys + values, target, needed=keys > 0)

    async def obstacle(self, _tenant: str, plan: Plan) -> str:
        """Say that another KMS key is to be named, unless the KMS renews this one by itself."""
        if plan.needed:
            return ""
        with kms_refusals():
            if await self._kms.renews(plan.kms_key_id):
                return ""
        return "the KMS does not renew its key by itself, and the settings name no other"

    async def plan_rollback(self, connection: AsyncConnection, rotation: Rotation) -> Plan:
        """Count the keys whose old wrapped forms are kept beside those of the rotation."""
        rows = await self._store.wrapped(connection, rotation.tenant)
        tenant, moved = rotation.tenant, rotation.kms_key_id
        back = [each for each in rows if _moved_to(each, moved)]
        if not back and rotation.records_affected:
            raise RotationOutdated
        own = [each.previous_kms_key_id for each in back if each.name is None]
        values = (
            await self._store.described_otherwise(connection, tenant, own[-1])
            if own and own[-1]
            else 0
        )
        return Plan(None, None, len(back) + values, moved)

    async def prepare(self, rotation: Rotation) -> None:
        """Nothing is made: the KMS has both keys."""

    async def promote(self, connection: AsyncConnection, rotation: Rotation) -> None:
        """Nothing at once: each wrapped key names the KMS key that it hangs from."""

    async def step(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> Step:
        """Have keys wrapped by the new KMS key, or by the old one again; then say so of values."""
        if rotation.position.startswith(_VALUES):
            return await self._describe(connection, rotation, limit)
        rows = [
            each
            for each in await self._store.wrapped(connection, rotation.tenant)
            if each.position > rotation.position and _due(each, rotation)
        ]
        chosen = rows[: min(limit, _AT_ONCE)]
        written = skipped = 0
        for row in chosen:
            with kms_refusals():
                moved = await self._move(connection, rotation, row)
            written += moved or 0
            skipped += moved is None
        position = chosen[-1].position if len(rows) > len(chosen) else _VALUES
        return Step(position, written, skipped)

    async def _describe(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> Step:
        after = rotation.position.removeprefix(_VALUES)
        last, written = await self._store.describe(connection, rotation.tenant, after, limit)
        return Step(f"{_VALUES}{last}" if last else "", written)

    async def close(self, connection: AsyncConnection, rotation: Rotation, _limit: int) -> bool:
        """Forget the old wrapped forms."""
        for row in await self._store.wrapped(connection, rotation.tenant):
            if _moved_to(row, rotation.kms_key_id):
                kept = row._replace(previous_wrapped=None, previous_kms_key_id=None)
                await self._store.replace(connection, rotation.tenant, row, kept)
        return True

    def forget(self, tenant: str) -> None:
        """Let the next call read which KMS keys wrap."""
        self._tenant_keys.forget(tenant)
        self._field_keys.revoke()

    async def _move(
        self, connection: AsyncConnection, rotation: Rotation, row: KmsWrapped
    ) -> int | None:
        """Write one key and read it back; give 1, 0 if another wrote it, None if it is broken."""
        context = self._context(rotation.tenant, row)
        if rotation.rolls_back:
            after = row._replace(
                kms_key_id=row.previous_kms_key_id or "",
                wrapped=row.previous_wrapped or b"",
                previous_kms_key_id=None,
                previous_wrapped=None,
            )
        else:
            target = rotation.kms_key_id
            try:
                wrapped = await self._kms.re_encrypt(row.kms_key_id, row.wrapped, context, target)
            except KmsRejected:
                return None
            after = row._replace(
                kms_key_id=target,
                wrapped=wrapped,
                previous_kms_key_id=row.kms_key_id,
                previous_wrapped=row.wrapped,
            )
        stored = await self._store.replace(connection, rotation.tenant, row, after)
        if stored is None:
            return 0
        read = await self._kms.decrypt(stored.kms_key_id, stored.wrapped, context)
        if read != await self._kms.decrypt(row.kms_key_id, row.wrapped, context):
            raise ReadBackFailed("a key does not open by the other KMS key")
        return 1

    def _context(self, tenant: str, row: KmsWrapped) -> KmsContext:
        if row.name is None:
            return self._tenant_keys.context(tenant, row.version)
        return self._field_keys.context(row.name, row.version)


def _due(row: KmsWrapped, rotation: Rotation) -> bool:
    if rotation.rolls_back:
        return _moved_to(row, rotation.kms_key_id)
    return row.kms_key_id != rotation.kms_key_id


def _moved_to(row: KmsWrapped, kms_key_id: str) -> bool:
    """Tell whether a key hangs from a KMS key and can go back to the one before."""
    return row.previous_wrapped is not None and row.kms_key_id == kms_key_id
