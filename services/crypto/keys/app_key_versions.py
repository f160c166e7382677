"""Which versions of the app key a tenant's values are sealed by, and may be opened by."""

import time
from collections.abc import Callable, Collection, Mapping

from services.crypto.keys.cache import KeyCache, Limits
from services.crypto.keys.key_store import KeyStore
from services.crypto.keys.states import KeyState

_FIRST = 1
_LIMITS = Limits(soft_seconds=30, hard_seconds=60)


class AppKeyVersions:
    """See ``AppKeyring``; states come from the store."""

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._cache = KeyCache(self._load, _LIMITS, clock)

    async def current(self, tenant: str) -> int | None:
        """Give the version that seals now; None if none may."""
        states = await self._cache.get(tenant)
        active = [version for version, state in states.items() if state is KeyState.ACTIVE]
        return active[0] if active else None

    async def opening(self, tenant: str, wanted: Collection[int] = ()) -> frozenset[int]:
        """Give the versions that may open; reads again if one of those wanted is not known."""
        states = await self._cache.get(tenant)
        if not states.keys() >= set(wanted):
            # Another process may have begun to seal by a version since.
            self.forget(tenant)
            states = await self._cache.get(tenant)
        return frozenset(version for version, state in states.items() if state.opens)

    def forget(self, tenant: str) -> None:
        """Read the tenant's states again when next asked."""
        self._cache.purge(lambda name, _: name == tenant)

    def forget_all(self) -> None:
        """Read all states again when next asked."""
        self._cache.purge(lambda _, __: True)

    async def close(self) -> None:
        """Forget everything."""
        await self._cache.close()

    async def _load(self, tenant: str) -> Mapping[int, KeyState]:
        states = await self._store.app_key_states(tenant)
        if not states:
            await self._store.add_app_key(tenant, _FIRST, KeyState.ACTIVE)
            states = await self._store.app_key_states(tenant)
        return states
