"""Keys of users, wrapped by their tenant's key; for many users at once."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.erasure.gate_store import erased_users, pass_gate
from services.crypto.errors import KeyDisabled, ValueUnopenable
from services.crypto.keys.key_store import KeyStore, UserKeyRow
from services.crypto.keys.states import KeyState
from services.crypto.keys.tenant_keys import TenantKey, TenantKeys
from services.crypto.suite.cobblestone import KEY_BYTES, Key
from services.crypto.suite.context import canonical
from services.crypto.suite.fields import UserKey

REMEMBERED_SECONDS = 60.0
"""How long a user's key is remembered."""
_LABEL = b"secmesh/udek/1"
_FIRST = 1
_CURRENT = 0
"""Stands for the version that seals now."""


class Wrapping:
    """Wraps the keys of one tenant's users, each bound to its user and version."""

    def __init__(self, environment: str, tenant: str) -> None:
        # Items stand one after the other: what all users share is written once.
        self._shared = canonical(_LABEL, environment.encode(), tenant.encode())

    def wrap(self, parent: TenantKey, row: UserKeyRow, secret: bytes) -> bytes:
        """Wrap a user's key by a version of the tenant's."""
        return parent.key.seal(secret, self._context(row))

    def opened(self, parent: TenantKey, row: UserKeyRow) -> bytes | None:
        """Give a user's key in clear; None for one that was changed, moved or destroyed."""
        if row.wrapped is None:
            return None
        try:
            return parent.key.open(row.wrapped, self._context(row))
        except ValueUnopenable:
            return None

    def _context(self, row: UserKeyRow) -> bytes:
        user = bytes.fromhex(row.user_id.replace("-", ""))
        return self._shared + canonical(user, row.version.to_bytes(4, "big"))


class _Held(NamedTuple):
    key: UserKey
    until: float


class UserKeys:
    """See ``UserKeyring``.

    Remembered for a short while: that bounds how long a key outlives its erasure elsewhere. Each
    use asks for the tenant's key first, so that a KMS that says no is heard at once.
    """

    def __init__(
        self,
        environment: str,
        tenant_keys: TenantKeys,
        store: KeyStore,
        *,
        seconds: float = REMEMBERED_SECONDS,
        size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment
        self._tenant_keys = tenant_keys
        self._store = store
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._held: OrderedDict[tuple[str, str, int], _Held] = OrderedDict()
        self._forgotten = 0

    async def current(self, tenant: str, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """Give the versions that seal now; users without a key are left out."""
        await self._tenant_keys.current(tenant)
        found, missing = self._remembered(tenant, {(user, _CURRENT) for user in user_ids})
        if missing:
            forgotten = self._forgotten
            users = {user for user, _ in missing}
            rows = await self._store.active_user_keys(tenant, users)
            for row, key in await self._unwrapped(tenant, rows):
                found[row.user_id, _CURRENT] = key
                self._remember(forgotten, (tenant, row.user_id, _CURRENT), key)
        return {user: key for (user, _), key in found.items()}

    async def versions(
        self, tenant: str, wanted: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], UserKey]:
        """Give versions by (user id, version); those that may not open are left out."""
        await self._tenant_keys.current(tenant)
        found, missing = self._remembered(tenant, wanted)
        if missing:
            forgotten = self._forgotten
            rows = await self._store.user_keys(tenant, missing)
            for row, key in await self._unwrapped(tenant, rows):
                found[row.user_id, row.version] = key
                self._remember(forgotten, (tenant, row.user_id, row.version), key)
        return found

    async def create(
        self, connection: AsyncConnection, tenant: str, user_ids: Collection[str]
    ) -> Mapping[str, UserKey]:
        """Make the first key of users who have none, in the caller's transaction.

        Users who have one keep it and are given it. KeyDisabled for those whose keys are disabled
        or destroyed: who was erased gets no new one.
        """
        keys = await self._create(connection, tenant, set(user_ids)) if user_ids else {}
        if len(keys) < len(set(user_ids)):
            raise KeyDisabled("user")
        return keys

    async def _create(
        self, connection: AsyncConnection, tenant: str, user_ids: set[str]
    ) -> dict[str, UserKey]:
        parent = await self._tenant_keys.current(tenant)
        await pass_gate(connection, tenant)
        user_ids = user_ids - await erased_users(connection, tenant, user_ids)
        wrapping = self.wrapping(tenant)
        secrets = {user: os.urandom(KEY_BYTES) for user in user_ids}
        new = (UserKeyRow(user, _FIRST, KeyState.ACTIVE, parent.version, None) for user in secrets)
        rows = [
            row._replace(wrapped=wrapping.wrap(parent, row, secrets[row.user_id])) for row in new
        ]
        made = await self._store.add_user_keys(connection, tenant, rows) if rows else set()
        keys = {user: UserKey(_FIRST, Key(secrets[user])) for user in made}
        if others := user_ids - made:
            found = await self._store.active_user_keys(tenant, others, connection)
            keys |= {row.user_id: key for row, key in await self._unwrapped(tenant, found)}
        return keys

    async def ensure(self, tenant: str, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """Give the versions that seal now; makes the keys that are missing, at once.

        Users whose keys are disabled or destroyed are left out.
        """
        found = await self.current(tenant, user_ids)
        missing = set(user_ids) - found.keys()
        if not missing:
            return found
        forgotten = self._forgotten
        async with self._store.transactions.transaction(tenant) as connection:
            made = await self._create(connection, tenant, missing)
        for user, key in made.items():
            self._remember(forgotten, (tenant, user, _CURRENT), key)
        return {**found, **made}

    def wrapping(self, tenant: str) -> "Wrapping":
        """Give what wraps keys of a tenant's users, for one who wraps them again."""
        return Wrapping(self._environment, tenant)

    def make(self, parent: TenantKey, tenant: str, user_id: str, version: int) -> UserKeyRow:
        """Make a version that seals from when the caller keeps it."""
        row = UserKeyRow(user_id, version, KeyState.ACTIVE, parent.version, None)
        wrapped = self.wrapping(tenant).wrap(parent, row, os.urandom(KEY_BYTES))
        return row._replace(wrapped=wrapped)

    def forget_all(self) -> None:
        """Let go of everything."""
        self._forgotten += 1
        self._held.clear()

    def forget(self, tenant: str, user_id: str | None = None) -> None:
        """Let go of what is remembered of a user, of all users of the tenant if None."""
        self._forgotten += 1
        for name in [name for name in self._held if name[0] == tenant]:
            if user_id in (None, name[1]):
                del self._held[name]

    def _remembered(
        self, tenant: str, wanted: Iterable[tuple[str, int]]
    ) -> tuple[dict[tuple[str, int], UserKey], set[tuple[str, int]]]:
        found: dict[tuple[str, int], UserKey] = {}
        missing: set[tuple[str, int]] = set()
        now = self._clock()
        for user, version in wanted:
            held = self._held.get((tenant, user, version))
            if held is None or held.until <= now:
                missing.add((user, version))
            else:
                found[user, version] = held.key
        return found, missing

    def _remember(self, forgotten: int, name: tuple[str, str, int], key: UserKey) -> None:
        # What was read before something was forgotten may be what was forgotten.
        if forgotten != self._forgotten:
            return
        self._held[name] = _Held(key, self._clock() + self._seconds)
        self._held.move_to_end(name)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    async def _unwrapped(
        self, tenant: str, rows: Iterable[UserKeyRow]
    ) -> list[tuple[UserKeyRow, UserKey]]:
        """Unwrap what may open; a wrapped key that was changed or moved counts as gone."""
        parents: dict[int, TenantKey | None] = {}
        wrapping = self.wrapping(tenant)
        found = []
        for row in rows:
            if row.tenant_key_version not in parents:
                parents[row.tenant_key_version] = await self._parent(tenant, row.tenant_key_version)
            parent = parents[row.tenant_key_version]
            if parent is None or not row.state.opens:
                continue
            secret = wrapping.opened(parent, row)
            if secret is not None:
                found.append((row, UserKey(row.version, Key(secret))))
        return found

    async def _parent(self, tenant: str, version: int) -> TenantKey | None:
        try:
            return await self._tenant_keys.version(tenant, version)
        except ValueUnopenable:
            return None
