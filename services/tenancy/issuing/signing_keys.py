"""The issuer's signing keys: public halves in one item, private ones in Secrets Manager.

There is no leader: whoever finds that the time has come changes the item on the condition
that nobody else did. A key's secret is named by its number, so that of two who make the next
key at once, or of one that ends in between, one key comes of it.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mesh.errors import DependencyUnavailable
from mesh.identity.keys import public_jwk
from secmesh.tenancy.v1 import signing_key_pb2 as pb
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.credentials.secrets import (
    MIN_DELETION_DAYS,
    SecretExists,
    SecretMissing,
    SecretPendingDeletion,
    Secrets,
    SecretsError,
    Stage,
)
from services.tenancy.credentials.single_flight import SingleFlight
from services.tenancy.errors import SigningKeyUnknown
from services.tenancy.issuing import key_ring
from services.tenancy.issuing.key_ring import PERIOD_SECONDS, PublicKey
from services.tenancy.store.conditions import Equals, Missing
from services.tenancy.store.items import VERSION, ItemCodec, version_of
from services.tenancy.store.keys import PlatformScope
from services.tenancy.store.port import ConditionFailed, Put, Store

RING = ItemCodec(pb.SigningKeyRing)
REREAD_SECONDS = 5
"""How old the ring may be that a replica signs by and publishes."""
_TRIES = 8
_PASSED_OVER = 100
_TAGS = {"purpose": "token-signing"}
_RING_KEY = PlatformScope().signing_keys()
_Change = Callable[[pb.SigningKeyRing], pb.SigningKeyRing]


@dataclass(frozen=True)
class Ring:
    """The ring as it was read."""

    message: pb.SigningKeyRing
    version: int
    """0 before there is one."""
    read_at: int


@dataclass(frozen=True)
class Signer:
    """The key that signs."""

    kid: str
    private: ec.EllipticCurvePrivateKey


class SigningKeys:
    """The keys as a replica sees them, five seconds old at most."""

    def __init__(
        self,
        store: Store,
        secrets: Secrets,
        clock: Clock,
        prefix: str,
        period: int = PERIOD_SECONDS,
    ) -> None:
        """Keep private keys as secrets ``prefix/issuer/NUMBER``; each signs ``period`` seconds."""
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._prefix = prefix
        self._period = period
        self._ring: Ring | None = None
        self._private: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._flight: SingleFlight[str, Ring] = SingleFlight()

    async def published(self) -> Sequence[pb.SigningKey]:
        """Give the keys that are to be believed. DependencyUnavailable, store errors."""
        return list((await self._current()).message.keys)

    async def signer(self) -> Signer:
        """Give the key that signs now. DependencyUnavailable, store errors."""
        active = key_ring.active_of((await self._current()).message)
        if active is None:  # cannot be: whoever reads a ring without one makes one
            raise DependencyUnavailable("signing keys")
        private = self._private.get(active.kid)
        if private is None:
            private = await self._loaded(active.number, active.kid)
            self._private[active.kid] = private
        return Signer(active.kid, private)

    async def rotate(self) -> Sequence[pb.SigningKey]:
        """Publish the next key unless there is one; give all."""
        await self._current()
        for _ in range(_TRIES):
            ring = await self._read()
            if key_ring.next_of(ring.message) is not None or await self._add_key(ring):
                break
        return list((await self._fresh()).message.keys)

    async def revoke(self, kid: str) -> Sequence[pb.SigningKey]:
        """Take a key out of use at once; give the others. SigningKeyUnknown."""
        for _ in range(_TRIES):
            ring = await self._read()
            found = next((each for each in ring.message.keys if each.kid == kid), None)
            if found is None:
                raise SigningKeyUnknown(kid)
            if await self._write(ring, key_ring.without(ring.message, kid, self._clock.now())):
                self._private.pop(kid, None)
                await self._forget(found)
                break
        return list((await self._fresh()).message.keys)

    async def _current(self) -> Ring:
        ring, now = self._ring, self._clock.now()
        fresh = ring is not None and 0 <= now - ring.read_at < REREAD_SECONDS * MICROSECONDS
        if ring is not None and fresh and not key_ring.is_due(ring.message, now, self._period):
            return ring
        return await self._flight.do("", self._fresh)

    async def _fresh(self) -> Ring:
        """Read the ring and do what the time asks of it."""
        for _ in range(_TRIES):
            ring, now = await self._read(), self._clock.now()
            if not key_ring.is_due(ring.message, now, self._period):
                self._remember(ring)
                return ring
            if key_ring.needs_key(ring.message, now, self._period):
                await self._add_key(ring)
                continue
            # The secret first: what ends in between leaves a name, not a key that nobody knows of.
            for each in key_ring.ended(ring.message, now):
                await self._forget(each)
            await self._write(ring, key_ring.moved_on(ring.message, now))
        raise DependencyUnavailable("signing keys")

    def _remember(self, ring: Ring) -> None:
        self._ring = ring
        known = {each.kid for each in ring.message.keys}
        self._private = {kid: key for kid, key in self._private.items() if kid in known}

    async def _read(self) -> Ring:
        now = self._clock.now()
        item = await self._store.get(_RING_KEY)
        if item is None:
            return Ring(pb.SigningKeyRing(), 0, now)
        return Ring(RING.message(item), version_of(item), now)

    async def _write(self, ring: Ring, made: pb.SigningKeyRing) -> bool:
        condition = Equals(VERSION, ring.version) if ring.version else Missing()
        item = RING.item(made, version=ring.version + 1)
        try:
            await self._store.write(Put(_RING_KEY, item, condition))
        except ConditionFailed:
            return False
        return True

    async def _add_key(self, ring: Ring) -> bool:
        number, private = await self._made(ring.message.last_number + 1)
        jwk = public_jwk(private)
        key = PublicKey(number, jwk["kid"], jwk["x"], jwk["y"])
        return await self._write(ring, key_ring.added(ring.message, key, self._clock.now()))

    async def _made(self, first: int) -> tuple[int, ec.EllipticCurvePrivateKey]:
        """Make the private key of a number, or give the one that another made before.

        Numbers whose secret waits for its deletion are passed over.
        """
        private = await asyncio.to_thread(ec.generate_private_key, ec.SECP256R1())
        for number in range(first, first + _PASSED_OVER):
            name = self._name(number)
            try:
                await self._secrets.create(
                    name, _pem(private), version_id=str(uuid.uuid4()), tags=_TAGS
                )
            except SecretExists:
                return number, await self._read_private(name)
            except SecretPendingDeletion:
                continue
            except SecretsError:
                raise DependencyUnavailable("secrets") from None
            return number, private
        raise DependencyUnavailable("signing keys")

    async def _loaded(self, number: int, kid: str) -> ec.EllipticCurvePrivateKey:
        private = await self._read_private(self._name(number))
        # A secret that somebody changed signs nothing: its tokens would be believed nowhere.
        if public_jwk(private)["kid"] != kid:
            raise DependencyUnavailable("signing keys")
        return private

    async def _read_private(self, name: str) -> ec.EllipticCurvePrivateKey:
        try:
            found = await self._secrets.get(name, str(Stage.CURRENT))
        except SecretsError:
            raise DependencyUnavailable("secrets") from None
        try:
            key = serialization.load_pem_private_key(found.value.encode(), password=None)
        except (ValueError, TypeError):
            raise DependencyUnavailable("signing keys") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise DependencyUnavailable("signing keys")
        return key

    async def _forget(self, key: pb.SigningKey) -> None:
        try:
            with suppress(SecretMissing, SecretPendingDeletion):
                await self._secrets.delete(self._name(key.number), days=MIN_DELETION_DAYS)
        except SecretsError:
            raise DependencyUnavailable("secrets") from None

    def _name(self, number: int) -> str:
        return f"{self._prefix}/issuer/{number}"


def _pem(private: ec.EllipticCurvePrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
