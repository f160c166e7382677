"""A KMS that behaves as AWS KMS does where moto does not: states, throttles, outages, slowness."""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field

from services.crypto.custody.kms import (
    DataKey,
    KmsContext,
    KmsDenied,
    KmsDisabled,
    KmsKey,
    KmsKeyState,
    KmsRejected,
    KmsThrottled,
    KmsUnavailable,
)
from services.crypto.errors import ValueUnopenable
from services.crypto.suite.cobblestone import Key
from services.crypto.suite.context import canonical

MAX_BYTES = 4096


@dataclass
class _FakeKey:
    key: Key = field(default_factory=lambda: Key(os.urandom(32)))
    state: KmsKeyState = KmsKeyState.ENABLED
    denied: bool = False


class FakeKms:
    """See ``Kms``; what goes wrong is set from outside."""

    def __init__(self, *key_ids: str, account: str = "111122223333") -> None:
        self._keys = {key_id: _FakeKey() for key_id in key_ids or ("one",)}
        self._principal = f"aws:{account}"
        self.calls: Counter[str] = Counter()
        self.down = False
        self.throttled = 0
        """Calls that are still refused as too many."""
        self.answering = asyncio.Event()
        """Calls wait while it is not set, as they do for a slow KMS."""
        self.answering.set()
        self.renewed: set[str] = set()
        """Keys that it replaces the material of by itself."""
        self.in_flight = 0
        self.most_in_flight = 0

    def set_state(self, key_id: str, state: KmsKeyState) -> None:
        self._keys[key_id].state = state

    def deny(self, key_id: str, denied: bool = True) -> None:
        self._keys[key_id].denied = denied

    async def generate(self, key_id: str, context: KmsContext) -> DataKey:
        await self._begin("generate")
        secret = os.urandom(32)
        return DataKey(secret, self._wrap(key_id, secret, context), key_id)

    async def encrypt(self, key_id: str, plaintext: bytes, context: KmsContext) -> bytes:
        await self._begin("encrypt")
        return self._wrap(key_id, plaintext, context)

    async def decrypt(self, key_id: str, wrapped: bytes, context: KmsContext) -> bytes:
        await self._begin("decrypt")
        return self._unwrap(key_id, wrapped, context)

    async def re_encrypt(
        self, key_id: str, wrapped: bytes, context: KmsContext, new_key_id: str
    ) -> bytes:
        await self._begin("re_encrypt")
        return self._wrap(new_key_id, self._unwrap(key_id, wrapped, context), context)

    async def describe(self, key_id: str) -> KmsKey:
        await self._begin("describe")
        if key_id not in self._keys:
            raise KmsDisabled("NotFoundException")
        return KmsKey(key_id, self._keys[key_id].state, self._principal)

    async def renews(self, key_id: str) -> bool:
        await self._begin("renews")
        return key_id in self.renewed

    async def close(self) -> None:
        pass

    async def _begin(self, operation: str) -> None:
        self.calls[operation] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.answering.wait()
        finally:
            self.in_flight -= 1
        if self.down:
            raise KmsUnavailable("KMSInternalException")
        if self.throttled > 0:
            self.throttled -= 1
            raise KmsThrottled("ThrottlingException")

    def _usable(self, key_id: str) -> Key:
        key = self._keys.get(key_id)
        if key is None or key.state is not KmsKeyState.ENABLED:
            raise KmsDisabled("DisabledException, KMSInvalidStateException or NotFoundException")
        if key.denied:
            raise KmsDenied("AccessDeniedException")
        return key.key

    def _wrap(self, key_id: str, plaintext: bytes, context: KmsContext) -> bytes:
        key = self._usable(key_id)
        if not 0 < len(plaintext) <= MAX_BYTES:
            raise KmsRejected("ValidationException")
        return key.seal(plaintext, _bound(context))

    def _unwrap(self, key_id: str, wrapped: bytes, context: KmsContext) -> bytes:
        key = self._usable(key_id)
        try:
            return key.open(wrapped, _bound(context))
        except ValueUnopenable:
            raise KmsRejected("InvalidCiphertextException") from None


def _bound(context: KmsContext) -> bytes:
    return canonical(*(part.encode() for pair in sorted(context.items()) for part in pair))
