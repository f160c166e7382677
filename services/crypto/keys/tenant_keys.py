"""Keys of tenants, wrapped by the KMS: one call of it opens all that hangs from a key."""

import time
from collections.abc import Callable
from typing import NamedTuple

from services.crypto.custody.kms import REVOKED, Kms, KmsContext
from services.crypto.custody.refusals import kms_refusals
from services.crypto.custody.standing import KmsStanding
from services.crypto.errors import KeyDisabled, ValueUnopenable
from services.crypto.keys.cache import KeyCache, Limits
from services.crypto.keys.key_store import KeyStore, TenantKeyRow
from services.crypto.keys.states import KeyState
from services.crypto.suite.cobblestone import Key

_FIRST = 1


class TenantKey(NamedTuple):
    """One version of a tenant's key, in clear."""

    version: int
    kms_key_id: str
    key: Key


class TenantKeys:
    """Gives keys of tenants; makes a tenant's first one when it is first asked for.

    What may not be used at the KMS any more is forgotten at once, with every other key that the
    same KMS key wraps. KeyDisabled and DependencyUnavailable say that the KMS does not serve.
    """

    def __init__(
        self,
        environment: str,
        kms: Kms,
        kms_key_id: str,
        store: KeyStore,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        standing: KmsStanding | None = None,
    ) -> None:
        """Make new keys under ``kms_key_id``; ask ``standing`` whenever a key is used."""
        self._standing = standing
        self._environment = environment
        self._kms = kms
        self._kms_key_id = kms_key_id
        self._store = store
        self._cache = KeyCache(self._load, limits or Limits(), clock)

    async def current(self, tenant: str) -> TenantKey:
        """Give the version that wraps now. KeyDisabled if the tenant's own states allow none."""
        try:
            with kms_refusals():
                return await self._standing_key((tenant, None))
        except ValueUnopenable:
            raise KeyDisabled("tenant") from None

    async def version(self, tenant: str, version: int) -> TenantKey:
        """Give one version. Raises ValueUnopenable if it is not there or may not open."""
        current = await self.current(tenant)
        if current.version == version:
            return current
        with kms_refusals():
            return await self._standing_key((tenant, version))

    def kms_keys(self) -> set[str]:
        """Give the KMS keys that what is remembered hangs from, and the one for new keys."""
        return {self._kms_key_id, *(each.kms_key_id for each in self._cache.held())}

    def revoke(self, kms_key_id: str) -> None:
        """Forget all that a KMS key wraps: the next call asks the KMS."""
        self._cache.purge(lambda _, key: key.kms_key_id == kms_key_id)

    def forget(self, tenant: str) -> None:
        """Forget a tenant's keys: the next call reads them again."""
        self._cache.purge(lambda name, _: name[0] == tenant)

    def forget_all(self) -> None:
        """Forget everything: the next calls read it again."""
        self._cache.purge(lambda _, __: True)

    async def close(self) -> None:
        """Forget everything."""
        await self._cache.close()

    async def _standing_key(self, name: tuple[str, int | None]) -> TenantKey:
        key = await self._cache.get(name)
        if self._standing is not None:
            await self._standing.require(key.kms_key_id)
        return key

    async def _load(self, name: tuple[str, int | None]) -> TenantKey:
        tenant, version = name
        row = await self._store.tenant_key(tenant, version)
        if row is None and version is None:
            row = await self._first(tenant)
        if row is None or row.wrapped is None or not row.state.opens:
            raise ValueUnopenable
        context = self.context(tenant, row.version)
        try:
            secret = await self._kms.decrypt(row.kms_key_id, row.wrapped, context)
        except REVOKED:
            self.revoke(row.kms_key_id)
            raise
        return TenantKey(row.version, row.kms_key_id, Key(secret))

    async def generate(self, tenant: str, version: int, kms_key_id: str) -> TenantKeyRow:
        """Make a version that is to be kept by the caller, and wraps nothing yet."""
        with kms_refusals():
            made = await self._kms.generate(kms_key_id, self.context(tenant, version))
        return TenantKeyRow(version, KeyState.PENDING, made.key_id, made.wrapped)

    async def _first(self, tenant: str) -> TenantKeyRow | None:
        """Give the first version, another's if one made it meanwhile; None if all are disabled."""
        if await self._store.has_tenant_key(tenant):
            return await self._store.tenant_key(tenant, None)
        made = await self._kms.generate(self._kms_key_id, self.context(tenant, _FIRST))
        row = TenantKeyRow(_FIRST, KeyState.ACTIVE, made.key_id, made.wrapped)
        if await self._store.add_tenant_key(tenant, row):
            return row
        return await self._store.tenant_key(tenant, None)

    def context(self, tenant: str, version: int) -> KmsContext:
        """Give what a version is bound to at the KMS."""
        return {
            "service": "secmesh-crypto",
            "environment": self._environment,
            "tenant": tenant,
            "use": "tenant-key",
            "version": str(version),
        }
