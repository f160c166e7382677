"""The app key in the hands of this process: the inner layer of tier 3 made here.

Each tenant has a key of its own, derived from the version's root key (RFC 5869).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from mesh.errors import DependencyUnavailable
from services.crypto.custody.key_file import FileKey, KeyFileError, KeySource
from services.crypto.errors import KeyDisabled, ValueUnopenable
from services.crypto.suite.cobblestone import KEY_BYTES, Key, random_bytes
from services.crypto.suite.context import canonical
from services.crypto.suite.fields import InnerValue, open_inner, seal_inner

CUSTODIAN = "app"
_LABEL = b"secmesh/tak/1"
_REMEMBERED = 1000
"""Keys of tenants, derived."""
_SLICE = 100
"""Values between which others get their turn."""


def version_name(version: int) -> str:
    """Give the id of a version in a file of app keys."""
    return f"v{version}"


class LocalAppKeys:
    """See ``AppKeyCustodian``. The ids of the keys are ``v1``, ``v2``, ..."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._derived: OrderedDict[tuple[str, bytes], Key] = OrderedDict()

    async def principal(self) -> str:
        """Say who can use the app key: who can read where it is kept."""
        try:
            return await asyncio.to_thread(lambda: self._source.principal)
        except KeyFileError as error:
            raise DependencyUnavailable(CUSTODIAN) from error

    async def seal(self, tenant: str, values: Sequence[InnerValue]) -> list[bytes]:
        """Seal padded plaintexts; KeyDisabled if a version is not there or disabled."""
        keys = await self._keys(tenant, values)
        random = random_bytes(len(values))
        sealed = []
        for at, value in enumerate(values, start=1):
            key = keys[value.header.app_key_version]
            if key is None or value.subject.tenant != tenant:
                raise KeyDisabled(CUSTODIAN)
            sealed.append(seal_inner(key, value, next(random)))
            if at % _SLICE == 0:
                await asyncio.sleep(0)
        return sealed

    async def open(self, tenant: str, values: Sequence[InnerValue]) -> list[bytes | None]:
        """Open inner layers; None for what does not open, whatever is wrong."""
        keys = await self._keys(tenant, values)
        opened: list[bytes | None] = []
        for at, value in enumerate(values, start=1):
            key = keys[value.header.app_key_version]
            opened.append(None if key is None else _opened(key, value))
            if at % _SLICE == 0:
                await asyncio.sleep(0)
        return opened

    async def seal_again(
        self, tenant: str, values: Sequence[InnerValue], version: int
    ) -> list[bytes | None]:
        """Seal by another version what inner layers hold; KeyDisabled as ``seal``."""
        opened = await self.open(tenant, values)
        again = [
            each._replace(header=each.header._replace(app_key_version=version), body=body)
            for each, body in zip(values, opened, strict=True)
            if body is not None
        ]
        sealed = await self.seal(tenant, again)
        written = [each._replace(body=body) for each, body in zip(again, sealed, strict=True)]
        read = await self.open(tenant, written)
        results = iter(
            body if plain == each.body else None
            for body, plain, each in zip(sealed, read, again, strict=True)
        )
        return [None if body is None else next(results) for body in opened]

    async def close(self) -> None:
        """Forget derived keys."""
        self._derived.clear()

    async def _keys(self, tenant: str, values: Iterable[InnerValue]) -> dict[int, Key | None]:
        """Give a tenant's keys of the versions that values name; None for those not there."""
        roots = await self._roots()
        versions = {each.header.app_key_version for each in values}
        return {version: self._key(roots, tenant, version) for version in versions}

    async def _roots(self) -> Mapping[str, FileKey]:
        try:
            return await asyncio.to_thread(self._source.keys)
        except KeyFileError as error:
            raise DependencyUnavailable(CUSTODIAN) from error

    def _key(self, roots: Mapping[str, FileKey], tenant: str, version: int) -> Key | None:
        root = roots.get(version_name(version))
        if root is None or not root.enabled:
            return None
        return self._remembered((tenant, root.secret), lambda: _derive(root.secret, tenant))

    def _remembered(self, name: tuple[str, bytes], derive: Callable[[], Key]) -> Key:
        key = self._derived.get(name)
        if key is None:
            key = self._derived[name] = derive()
            if len(self._derived) > _REMEMBERED:
                self._derived.popitem(last=False)
        return key


def _derive(root: bytes, tenant: str) -> Key:
    info = canonical(_LABEL, tenant.encode())
    return Key(HKDFExpand(SHA512(), KEY_BYTES, info).derive(root))


def _opened(key: Key, value: InnerValue) -> bytes | None:
    try:
        return open_inner(key, value)
    except ValueUnopenable:
        return None
