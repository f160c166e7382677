"""Batches of values: each opens by its own keys; a custodian is asked for its own layer alone."""

from collections.abc import Collection, Mapping, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import DependencyUnavailable
from mesh.identifiers import new_uuid
from services.crypto.errors import KeyDisabled, ValueUnopenable
from services.crypto.field_cipher import FieldCipher, Plain, Sealed
from services.crypto.suite.cobblestone import RANDOM_BYTES, Key
from services.crypto.suite.fields import FieldRule, InnerValue, UserKey, open_inner, seal_inner
from services.crypto.suite.header import HEADER_BYTES, Tier, read_header

SSN = FieldRule("ssn", 8, Tier.DOUBLE, Tier.DOUBLE, 48)
CARD = FieldRule("credit_card", 10, Tier.DOUBLE, Tier.SEALED, 48)
ADDRESS = FieldRule("address", 5, Tier.SEALED, Tier.SEALED, 64)
TABLE, TENANT = "users", "acme"


class Keyring:
    """Keys of users, whatever the user; the last version seals."""

    def __init__(self) -> None:
        self.newest = 1
        self.gone: set[str] = set()

    def key(self, user: str, version: int) -> UserKey:
        return UserKey(version, Key(f"{user[-12:]}{version:020}".encode()))

    async def current(self, _tenant: str, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        return {user: self.key(user, self.newest) for user in user_ids if user not in self.gone}

    async def versions(
        self, _tenant: str, wanted: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], UserKey]:
        return {
            (user, version): self.key(user, version)
            for user, version in wanted
            if user not in self.gone
        }

    async def create(
        self, _connection: AsyncConnection, tenant: str, user_ids: Collection[str]
    ) -> Mapping[str, UserKey]:
        return await self.current(tenant, user_ids)

    async def ensure(self, tenant: str, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        return await self.current(tenant, user_ids)

    def forget(self, tenant: str, user_id: str | None = None) -> None:
        """Nothing is remembered."""


class AppVersions:
    """States of the app key's versions."""

    def __init__(self) -> None:
        self.active: int | None = 1
        self.opens = {1}

    async def current(self, _tenant: str) -> int | None:
        return self.active

    async def opening(self, _tenant: str, _wanted: Collection[int] = ()) -> frozenset[int]:
        return frozenset(self.opens)


class Custodian:
    """Keeps the app key, unless it is stopped."""

    def __init__(self) -> None:
        self.stopped = False
        self.calls = 0
        self._key = Key(b"a" * 32)

    async def principal(self) -> str:
        return "uid:1"

    async def seal(self, _tenant: str, values: Sequence[InnerValue]) -> list[bytes]:
        self._called()
        return [seal_inner(self._key, each) for each in values]

    async def open(self, _tenant: str, values: Sequence[InnerValue]) -> list[bytes | None]:
        self._called()
        return [self._opened(each) for each in values]

    async def seal_again(
        self, tenant: str, values: Sequence[InnerValue], _version: int
    ) -> list[bytes | None]:
        return await self.open(tenant, values)

    async def close(self) -> None:
        """Nothing is held."""

    def _called(self) -> None:
        self.calls += 1
        if self.stopped:
            raise DependencyUnavailable("sealer")

    def _opened(self, value: InnerValue) -> bytes | None:
        try:
            return open_inner(self._key, value)
        except ValueUnopenable:
            return None


class World:
    def __init__(self) -> None:
        self.keys, self.versions, self.custodian = Keyring(), AppVersions(), Custodian()
        self.cipher = FieldCipher("test", self.keys, self.versions, self.custodian)
        self.users = [new_uuid() for _ in range(3)]
        self.plains = [
            Plain(user, rule, f"{user} {rule.name}".encode())
            for user in self.users
            for rule in (SSN, ADDRESS, CARD)
        ]

    async def sealed(self) -> list[Sealed]:
        keys = await self.keys.current(TENANT, self.users)
        blobs = await self.cipher.seal(TENANT, TABLE, self.plains, keys)
        return [
            Sealed(plain.user_id, plain.rule, blob)
            for plain, blob in zip(self.plains, blobs, strict=True)
        ]

    async def open(self, values: Sequence[Sealed]) -> list[bytes | None]:
        opened = await self.cipher.open(TENANT, TABLE, values)
        return [each if isinstance(each, bytes) else None for each in opened]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_batch_of_users_and_tiers_comes_back_in_order(world: World) -> None:
    sealed = await world.sealed()
    assert [read_header(each.blob).tier for each in sealed] == [3, 2, 3] * 3
    assert await world.open(sealed) == [each.plaintext for each in world.plains]
    assert world.custodian.calls == 2


async def test_equal_values_of_a_batch_have_salts_of_their_own_at_every_layer(
    world: World,
) -> None:
    world.plains = [Plain(world.users[0], rule, b"same") for rule in (SSN, ADDRESS)] * 50
    sealed = await world.sealed()
    salts = [each.blob[HEADER_BYTES : HEADER_BYTES + RANDOM_BYTES] for each in sealed]
    assert len(set(salts)) == 100
    assert await world.open(sealed) == [b"same"] * 100


async def test_what_does_not_open_leaves_the_others_alone(world: World) -> None:
    sealed = await world.sealed()
    sealed[0] = sealed[0]._replace(blob=sealed[3].blob)
    sealed[4] = sealed[4]._replace(blob=b"")
    sealed[8] = sealed[8]._replace(blob=sealed[8].blob[:-1])
    expected: list[bytes | None] = [each.plaintext for each in world.plains]
    expected[0] = expected[4] = expected[8] = None
    assert await world.open(sealed) == expected


async def test_users_who_are_gone_take_nobody_with_them(world: World) -> None:
    sealed = await world.sealed()
    world.keys.gone.add(world.users[1])
    opened = await world.open(sealed)
    assert [each is None for each in opened] == [False] * 3 + [True] * 3 + [False] * 3
    wrapped = await world.cipher.rewrap(TENANT, TABLE, sealed)
    assert [isinstance(each, bytes) for each in wrapped] == [True] * 3 + [False] * 3 + [True] * 3


async def test_outer_layers_are_sealed_again_with_the_custodian_stopped(world: World) -> None:
    sealed = await world.sealed()
    world.custodian.stopped, calls = True, world.custodian.calls
    world.keys.newest = 2
    wrapped = await world.cipher.rewrap(TENANT, TABLE, sealed)
    assert world.custodian.calls == calls
    again = [
        value._replace(blob=blob)
        for value, blob in zip(sealed, wrapped, strict=True)
        if isinstance(blob, bytes)
    ]
    assert [read_header(each.blob).key_version for each in again] == [2] * 9
    world.custodian.stopped = False
    assert await world.open(again) == [each.plaintext for each in world.plains]
    # Nothing is left to do: values of the keys of now are checked and given back.
    assert await world.cipher.rewrap(TENANT, TABLE, again) == [each.blob for each in again]
    moved = again[0]._replace(user_id=world.users[2])
    assert isinstance((await world.cipher.rewrap(TENANT, TABLE, [moved]))[0], ValueUnopenable)


async def test_tier_two_goes_on_with_the_custodian_stopped(world: World) -> None:
    sealed = await world.sealed()
    world.custodian.stopped = True
    of_two = [each for each in sealed if each.rule is ADDRESS]
    assert None not in await world.open(of_two)
    with pytest.raises(DependencyUnavailable):
        await world.open(sealed)


async def test_versions_of_the_app_key_that_may_not_open_do_not(world: World) -> None:
    sealed = await world.sealed()
    world.versions.active, world.versions.opens = 2, {2}
    newer = await world.sealed()
    assert await world.open([sealed[0], newer[0], sealed[1]]) == [
        None,
        world.plains[0].plaintext,
        world.plains[1].plaintext,
    ]
    world.versions.active = None
    with pytest.raises(KeyDisabled, match="app"):
        await world.sealed()
