"""A KMS that can be slow, busy or away, asked so that nothing piles up behind it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from services.crypto.custody.kms import (
    PASSING,
    DataKey,
    Kms,
    KmsContext,
    KmsError,
    KmsKey,
    KmsThrottled,
    KmsUnavailable,
)
from services.crypto.keys.breaker import Breaker, BreakerOpen

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """What is borne from a KMS."""

    call_seconds: float = 2
    """Of one try."""
    tries: int = 3
    pause_seconds: float = 0.05
    """Before the second try, about; twice as long before each further one."""
    at_once: int = 8
    """Calls at the same time."""
    waiting: int = 64
    """Calls that wait for those; more are refused."""


class GuardedKms:
    """Adds a time limit, tries with pauses, a bound on calls at once, and a circuit breaker."""

    def __init__(
        self, kms: Kms, patience: Patience | None = None, breaker: Breaker | None = None
    ) -> None:
        self._kms = kms
        self._patience = patience or Patience()
        self._breaker = breaker or Breaker()
        self._slots = asyncio.Semaphore(self._patience.at_once)
        self._waiting = 0

    async def generate(self, key_id: str, context: KmsContext) -> DataKey:
        """See ``Kms``; a key that nobody heard of is made in vain by a second try."""
        return await self._guarded(lambda: self._kms.generate(key_id, context))

    async def encrypt(self, key_id: str, plaintext: bytes, context: KmsContext) -> bytes:
        """See ``Kms``."""
        return await self._guarded(lambda: self._kms.encrypt(key_id, plaintext, context))

    async def decrypt(self, key_id: str, wrapped: bytes, context: KmsContext) -> bytes:
        """See ``Kms``."""
        return await self._guarded(lambda: self._kms.decrypt(key_id, wrapped, context))

    async def re_encrypt(
        self, key_id: str, wrapped: bytes, context: KmsContext, new_key_id: str
    ) -> bytes:
        """See ``Kms``."""
        return await self._guarded(
            lambda: self._kms.re_encrypt(key_id, wrapped, context, new_key_id)
        )

    async def describe(self, key_id: str) -> KmsKey:
        """See ``Kms``."""
        return await self._guarded(lambda: self._kms.describe(key_id))

    async def renews(self, key_id: str) -> bool:
        """See ``Kms``."""
        return await self._guarded(lambda: self._kms.renews(key_id))

    async def close(self) -> None:
        """See ``Kms``."""
        await self._kms.close()

    async def _guarded(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._waiting >= self._patience.waiting:
            raise KmsThrottled("too many calls wait for the KMS")
        self._waiting += 1
        try:
            async with self._slots:
                return await self._tried(call)
        finally:
            self._waiting -= 1

    async def _tried(self, call: Callable[[], Awaitable[T]]) -> T:
        pause = self._patience.pause_seconds
        for left in reversed(range(self._patience.tries)):
            try:
                return await self._once(call)
            except PASSING:
                if not left or self._breaker.is_open:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            pause *= 2
        raise KmsUnavailable("the KMS was not asked")

    async def _once(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            self._breaker.admit()
        except BreakerOpen as error:
            raise KmsUnavailable(str(error)) from None
        try:
            async with asyncio.timeout(self._patience.call_seconds):
                answer = await call()
        except (*PASSING, TimeoutError) as error:
            self._breaker.failed()
            if isinstance(error, TimeoutError):
                raise KmsUnavailable("the KMS did not answer in time") from error
            raise
        except KmsError:
            # A refusal is an answer.
            self._breaker.succeeded()
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return answer
