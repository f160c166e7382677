"""A KMS of one file on this machine: the default where there is no other.

Whoever reads the file has the keys: it protects rows that leave the machine, in backups above
all, and is no protection from the machine's administrator.
"""

import os
from pathlib import Path

from services.crypto.custody.key_file import KeyFile, KeyFileError
from services.crypto.custody.kms import (
    DataKey,
    KmsContext,
    KmsDisabled,
    KmsKey,
    KmsKeyState,
    KmsRejected,
    KmsUnavailable,
)
from services.crypto.errors import ValueUnopenable
from services.crypto.suite.cobblestone import KEY_BYTES, Key
from services.crypto.suite.context import canonical

DEFAULT_KEY_ID = "master"
_LABEL = b"secmesh/file-kms/1"
_PREFIX = "file:"


class FileKms:
    """See ``Kms``. Key ids are ``file:`` and the id in the file."""

    def __init__(self, path: Path) -> None:
        self._file = KeyFile(path)

    async def generate(self, key_id: str, context: KmsContext) -> DataKey:
        """Make a key of 32 bytes."""
        secret = os.urandom(KEY_BYTES)
        return DataKey(secret, await self.encrypt(key_id, secret, context), _long(key_id))

    async def encrypt(self, key_id: str, plaintext: bytes, context: KmsContext) -> bytes:
        """Wrap bytes."""
        return self._key(key_id).seal(plaintext, _bound(key_id, context))

    async def decrypt(self, key_id: str, wrapped: bytes, context: KmsContext) -> bytes:
        """Unwrap what was wrapped by this key in the same context."""
        try:
            return self._key(key_id).open(wrapped, _bound(key_id, context))
        except ValueUnopenable:
            raise KmsRejected("the key does not unwrap this here") from None

    async def re_encrypt(
        self, key_id: str, wrapped: bytes, context: KmsContext, new_key_id: str
    ) -> bytes:
        """Wrap by another key what was wrapped by one."""
        return await self.encrypt(new_key_id, await self.decrypt(key_id, wrapped, context), context)

    async def describe(self, key_id: str) -> KmsKey:
        """Say what a key is."""
        try:
            key = self._file.keys().get(_short(key_id))
            principal = self._file.principal
        except KeyFileError as error:
            raise KmsUnavailable(str(error)) from error
        if key is None:
            raise KmsDisabled(f"there is no key {key_id}")
        state = KmsKeyState.ENABLED if key.enabled else KmsKeyState.DISABLED
        return KmsKey(_long(key_id), state, principal)

    async def renews(self, _key_id: str) -> bool:
        """Never: a key of a file is what its owner wrote."""
        return False

    async def close(self) -> None:
        """Nothing is held."""

    def _key(self, key_id: str) -> Key:
        try:
            key = self._file.keys().get(_short(key_id))
        except KeyFileError as error:
            raise KmsUnavailable(str(error)) from error
        if key is None or not key.enabled:
            raise KmsDisabled(f"the key {key_id} is disabled or gone")
        return Key(key.secret)


def _short(key_id: str) -> str:
    return key_id.removeprefix(_PREFIX)


def _long(key_id: str) -> str:
    return _PREFIX + _short(key_id)


def _bound(key_id: str, context: KmsContext) -> bytes:
    items = (part.encode() for pair in sorted(context.items()) for part in pair)
    return canonical(_LABEL, _short(key_id).encode(), *items)
