"""Keys of fields, for blind indexes and tokens: each wrapped by the KMS by itself.

They hang from no tenant's key, so that a role can index without being able to open.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from services.crypto.custody.kms import Kms, KmsContext
from services.crypto.custody.refusals import kms_refusals
from services.crypto.custody.standing import KmsStanding
from services.crypto.errors import ValueUnopenable
from services.crypto.keys.cache import KeyCache, Limits
from services.crypto.keys.key_store import FieldKeyName, KeyStore, TenantKeyRow
from services.crypto.keys.states import KeyState
from services.crypto.suite.blind_index import IndexKey
from services.crypto.suite.tokens import TokenKey

INDEX, TOKEN = "index", "token"
_FIRST = 1


class _Versions(NamedTuple):
    current: int
    secrets: dict[int, bytes]
    """Of every version that may open, the newest first."""
    kms_key_ids: frozenset[str]
    """What they hang from."""


class FieldKeys:
    """See ``FieldKeyring``."""

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

    async def index_key(self, tenant: str, field: str) -> IndexKey:
        """Give the version that indexes now; made when first asked for."""
        found = await self._versions(FieldKeyName(tenant, field, INDEX))
        return IndexKey(found.current, found.secrets[found.current])

    async def index_keys(self, tenant: str, field: str) -> list[IndexKey]:
        """Give every version by which rows may be indexed, the newest first."""
        found = await self._versions(FieldKeyName(tenant, field, INDEX))
        return [IndexKey(version, secret) for version, secret in found.secrets.items()]

    async def token_key(self, tenant: str, field: str) -> TokenKey:
        """Give the version that makes tokens now; made when first asked for."""
        found = await self._versions(FieldKeyName(tenant, field, TOKEN))
        return TokenKey(found.current, found.secrets[found.current])

    async def token_key_version(self, tenant: str, field: str, version: int) -> TokenKey:
        """Give one version. Raises ValueUnopenable if it is not there or may not open."""
        found = await self._versions(FieldKeyName(tenant, field, TOKEN))
        if version not in found.secrets:
            raise ValueUnopenable
        return TokenKey(version, found.secrets[version])

    def revoke(self) -> None:
        """Forget every key: the next call asks the KMS."""
        self._cache.purge(lambda _, __: True)

    def forget(self, tenant: str) -> None:
        """Forget a tenant's keys: the next call reads them again."""
        self._cache.purge(lambda name, _: name.tenant == tenant)

    async def close(self) -> None:
        """Forget everything."""
        await self._cache.close()

    async def _versions(self, name: FieldKeyName) -> _Versions:
        with kms_refusals():
            found = await self._cache.get(name)
            if self._standing is not None:
                for kms_key_id in found.kms_key_ids:
                    await self._standing.require(kms_key_id)
            return found

    async def _load(self, name: FieldKeyName) -> _Versions:
        rows = await self._store.field_keys(name)
        if not rows:
            await self._first(name)
            rows = await self._store.field_keys(name)
        secrets = {
            row.version: await self._kms.decrypt(
                row.kms_key_id, row.wrapped, self.context(name, row.version)
            )
            for row in rows
            if row.wrapped is not None and row.state.opens
        }
        current = [row.version for row in rows if row.state is KeyState.ACTIVE]
        if not current:
            raise ValueUnopenable
        hangs_from = frozenset(row.kms_key_id for row in rows if row.version in secrets)
        return _Versions(current[0], secrets, hangs_from)

    async def _first(self, name: FieldKeyName) -> None:
        made = await self._kms.generate(self._kms_key_id, self.context(name, _FIRST))
        row = TenantKeyRow(_FIRST, KeyState.ACTIVE, made.key_id, made.wrapped)
        await self._store.add_field_key(name, row)

    def context(self, name: FieldKeyName, version: int) -> KmsContext:
        """Give what a version is bound to at the KMS."""
        return {
            "service": "secmesh-crypto",
            "environment": self._environment,
            "tenant": name.tenant,
            "use": f"{name.used_for}-key",
            "field": name.field,
            "version": str(version),
        }
