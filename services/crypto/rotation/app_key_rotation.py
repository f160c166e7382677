"""Rotation of the app key: its custodian seals the inner layers of tier 3 by a new version.

No plaintext leaves the custodian. The version must be in its hands before: until then a rotation
waits. Old versions open for good, as values that callers keep themselves may be sealed by them.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceNotFound
from services.crypto.custody.app_key import AppKeyCustodian
from services.crypto.errors import KeyDisabled
from services.crypto.keys.app_key_versions import AppKeyVersions
from services.crypto.keys.hierarchy import UserKeys
from services.crypto.keys.key_store import KeyStore
from services.crypto.keys.states import KeyState
from services.crypto.persons.config_store import ConfigStore
from services.crypto.rotation.app_key_store import AppKeyStore
from services.crypto.rotation.refusals import RotationOutdated
from services.crypto.rotation.rotation import Plan, Rotation, Step
from services.crypto.rotation.sealed_values import Resealed, SealedValues, StoredValue
from services.crypto.suite.fields import InnerValue, UserKey, inner_of_blob
from services.crypto.suite.header import Header, Suite

_SETTING = "current_app_key_version"
_ROWS_OF_A_USER = 4
"""About, for the number of users of one turn."""
_NOBODY = "00000000-0000-7000-8000-000000000000"
_PROBE = Header(Suite.NESTED, False, 1, 0)


class AppKeyRotation:
    """See ``Procedure``."""

    quiet = False

    def __init__(
        self,
        keys: KeyStore,
        versions: AppKeyVersions,
        user_keys: UserKeys,
        custodian: AppKeyCustodian,
        values: SealedValues,
    ) -> None:
        self._keys = keys
        self._versions = versions
        self._user_keys = user_keys
        self._custodian = custodian
        self._values = values
        self._store = AppKeyStore()
        self._config = ConfigStore()

    async def plan(self, connection: AsyncConnection, tenant: str) -> Plan:
        """Count the values of tier 3: a version that is new has sealed none."""
        states = await self._store.states(connection, tenant)
        active = _active(states)
        if active is None:
            raise ResourceNotFound(f"tenants/{tenant}/keys/app-key")
        new = max(states) + 1
        return Plan(active, new, await self._store.count(connection, tenant, new))

    async def obstacle(self, tenant: str, plan: Plan) -> str:
        """Say which version is to be added to the file or secret of app keys, if it is not."""
        try:
            await self._probe(tenant, plan.new_version or 0)
        except KeyDisabled:
            return f"version {plan.new_version} is not in the hands of the app key's custodian"
        return ""

    async def plan_rollback(self, connection: AsyncConnection, rotation: Rotation) -> Plan:
        """Count the values that are not sealed by the old version."""
        old, new = _pair(rotation)
        states = await self._store.states(connection, rotation.tenant)
        if _active(states) not in (old, new) or old not in states or not states[old].opens:
            raise RotationOutdated
        return Plan(new, old, await self._store.count(connection, rotation.tenant, old))

    async def prepare(self, rotation: Rotation) -> None:
        """Make sure that the custodian has the version; then let everybody know of it."""
        new = _pair(rotation)[1]
        await self._probe(rotation.tenant, new)
        await self._keys.add_app_key(rotation.tenant, new, KeyState.PENDING)

    async def promote(self, connection: AsyncConnection, rotation: Rotation) -> None:
        """Let the new version seal, and say so in the tenant's settings."""
        tenant, (old, new) = rotation.tenant, _pair(rotation)
        states = await self._store.states(connection, tenant)
        if (active := _active(states)) is None:
            raise KeyDisabled("app")
        if active not in (old, new):
            raise RotationOutdated
        # One is active at a time: the index of the table refuses two.
        if old in states and states[old].opens:
            await self._store.set_state(connection, tenant, old, KeyState.DECRYPT_ONLY)
        await self._store.set_state(connection, tenant, new, KeyState.ACTIVE)
        setting = {_SETTING: str(new)}
        await self._config.change_settings(connection, tenant, setting, rotation.initiated_by)

    async def step(self, connection: AsyncConnection, rotation: Rotation, limit: int) -> Step:
        """Have values sealed by the new version; who writes one meanwhile is not kept waiting."""
        tenant, new = rotation.tenant, _pair(rotation)[1]
        count = max(limit // _ROWS_OF_A_USER, 1)
        users = await self._store.users(connection, tenant, new, rotation.position, count)
        position = users[-1] if len(users) == count else ""
        values = [
            each
            for each in await self._values.of(connection, tenant, users, lock=False)
            if each.header is None or each.header.app_key_version not in (0, new)
        ]
        keys = dict(await self._user_keys.current(tenant, users))
        changes = await self._resealed(tenant, values, keys, new)
        written = await self._values.write(connection, tenant, changes, keys)
        return Step(position, written, len(values) - len(changes))

    async def close(self, *_: object) -> bool:
        """Nothing is destroyed: an old version may be all that opens a value kept elsewhere."""
        return True

    def forget(self, tenant: str) -> None:
        """Let the next call read which version seals."""
        self._versions.forget(tenant)

    async def _probe(self, tenant: str, version: int) -> None:
        subject = self._values.subject(tenant, _NOBODY)
        probe = InnerValue(subject, "probe", _PROBE._replace(app_key_version=version), b"probe")
        await self._custodian.seal(tenant, [probe])

    async def _resealed(
        self, tenant: str, values: Sequence[StoredValue], keys: dict[str, UserKey], new: int
    ) -> list[Resealed]:
        """Have the custodian seal what is in values; those that do not open are left out."""
        wanted = {(each.user_id, each.header.key_version) for each in values if each.header}
        opening = await self._user_keys.versions(tenant, wanted)
        inner: list[tuple[StoredValue, Header, InnerValue]] = []
        for each in values:
            if each.header is None or each.user_id not in keys:
                continue
            key = opening.get((each.user_id, each.header.key_version))
            layer = self._values.outer(tenant, each, key)
            if layer is not None:
                subject = self._values.subject(tenant, each.user_id)
                value = inner_of_blob(subject, each.rule, each.header, layer)
                inner.append((each, each.header._replace(app_key_version=new), value))
        layers = await self._custodian.seal_again(tenant, [each for *_, each in inner], new)
        return [
            self._values.reseal(tenant, value, layer, header, keys[value.user_id])
            for (value, header, _), layer in zip(inner, layers, strict=True)
            if layer is not None
        ]


def _active(states: dict[int, KeyState]) -> int | None:
    return next((each for each, state in states.items() if state is KeyState.ACTIVE), None)


def _pair(rotation: Rotation) -> tuple[int, int]:
    """Give the old and the new version, which rotations of this kind always have."""
    if rotation.old_version is None or rotation.new_version is None:
        raise RotationOutdated
    return rotation.old_version, rotation.new_version
