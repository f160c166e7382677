"""Keys in their tables: made once however many ask, opened through their parents, taken back."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from mesh.errors import DependencyUnavailable
from mesh.identifiers import new_uuid
from mesh.sql.engine import open_engine
from mesh.sql.transactions import Transactions
from services.crypto.custody.guarded_kms import GuardedKms, Patience
from services.crypto.custody.kms import KmsKeyState
from services.crypto.errors import KeyDisabled, ValueUnopenable
from services.crypto.keys.app_key_versions import AppKeyVersions
from services.crypto.keys.breaker import Breaker
from services.crypto.keys.cache import Limits
from services.crypto.keys.field_keys import FieldKeys
from services.crypto.keys.hierarchy import UserKeys
from services.crypto.keys.key_store import KeyStore
from services.crypto.keys.states import KeyState
from services.crypto.keys.tenant_keys import TenantKeys
from services.crypto.suite.fields import UserKey
from services.crypto.tables import APP_KEYS, INDEX_KEYS, TENANT_KEYS, USER_KEYS
from tests.databases import crypto_database
from tests.unit.fake_kms import FakeKms

SOFT, HARD = 300.0, 3600.0
_PATIENCE = Patience(call_seconds=20, tries=2, pause_seconds=0.0001)


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@dataclass
class World:
    """Keys of one process, under a KMS and a clock of the test's own."""

    transactions: Transactions
    fake: FakeKms
    tenant: str
    now: float = 0.0

    def __post_init__(self) -> None:
        self.store = KeyStore(self.transactions)
        kms = GuardedKms(self.fake, _PATIENCE, Breaker(clock=self.clock))
        limits = Limits(SOFT, HARD)
        self.tenants = TenantKeys("test", kms, "one", self.store, limits, self.clock)
        self.users = UserKeys("test", self.tenants, self.store, clock=self.clock)
        self.fields = FieldKeys("test", kms, "one", self.store, limits, self.clock)
        self.app = AppKeyVersions(self.store, self.clock)

    def clock(self) -> float:
        return self.now

    def beside(self) -> "World":
        """Give another process with the same database and KMS."""
        return World(self.transactions, self.fake, self.tenant)

    async def set(self, table: sa.Table, **values: object) -> None:
        async with self.transactions.transaction(self.tenant) as connection:
            await connection.execute(sa.update(table).values(values))

    async def count(self, table: sa.Table) -> int:
        async with self.transactions.connection(self.tenant) as connection:
            return int(await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


@pytest.fixture
async def world(access: Access) -> AsyncIterator[World]:
    engine = open_engine(access.application)
    transactions = Transactions(engine, None, isolated=True)
    yield World(transactions, FakeKms("one", "two"), f"keys-{uuid.uuid4().hex[:12]}")
    await engine.dispose()


def same(one: UserKey, two: UserKey) -> bool:
    return two.key.open(one.key.seal(b"value", b""), b"") == b"value"


async def settle(world: World) -> None:
    """Wait until nothing is loaded behind the calls."""
    async with asyncio.timeout(60):
        while world.tenants._cache._flights:
            await asyncio.sleep(0.001)


async def test_many_processes_make_one_key_of_a_tenant_and_a_user(world: World) -> None:
    user = new_uuid()
    others = [world.beside() for _ in range(5)]
    made = await asyncio.gather(*(each.users.ensure(world.tenant, [user]) for each in others))
    assert all(same(made[0][user], each[user]) for each in made)
    assert await world.count(TENANT_KEYS) == 1
    assert await world.count(USER_KEYS) == 1


async def test_many_users_take_one_call_of_the_kms(world: World) -> None:
    users = [new_uuid() for _ in range(300)]
    made = await world.users.ensure(world.tenant, users)
    assert made.keys() == set(users)
    other = world.beside()
    read = await other.users.current(world.tenant, users)
    assert all(same(made[user], read[user]) for user in users)
    versions = await other.users.versions(world.tenant, [(user, 1) for user in users])
    assert versions.keys() == {(user, 1) for user in users}
    assert other.fake.calls == {"generate": 1, "decrypt": 2}


async def test_a_key_is_made_with_its_user_or_not_at_all(world: World) -> None:
    user = new_uuid()
    async with world.transactions.transaction(world.tenant) as connection:
        await world.users.create(connection, world.tenant, [user])
        await connection.rollback()
    assert await world.users.current(world.tenant, [user]) == {}
    async with world.transactions.transaction(world.tenant) as connection:
        made = await world.users.create(connection, world.tenant, [user])
    async with world.transactions.transaction(world.tenant) as connection:
        again = await world.users.create(connection, world.tenant, [user])
        assert await world.users.create(connection, world.tenant, []) == {}
    assert same(made[user], again[user])


async def test_a_disabled_kms_key_fails_the_next_call(world: World) -> None:
    user = new_uuid()
    await world.users.ensure(world.tenant, [user])
    world.fake.set_state("one", KmsKeyState.DISABLED)
    world.tenants.revoke("one")
    for _ in range(3):
        with pytest.raises(KeyDisabled):
            await world.users.current(world.tenant, [user])
        with pytest.raises(KeyDisabled):
            await world.users.versions(world.tenant, [(user, 1)])
    world.fake.set_state("one", KmsKeyState.ENABLED)
    assert await world.users.current(world.tenant, [user])


async def test_a_refresh_that_is_refused_takes_the_key_away(world: World) -> None:
    user = new_uuid()
    await world.users.ensure(world.tenant, [user])
    world.fake.deny("one")
    world.now = SOFT
    await world.users.current(world.tenant, [user])
    await settle(world)
    with pytest.raises(KeyDisabled):
        await world.users.current(world.tenant, [user])


async def test_a_kms_that_is_away_is_bridged_to_the_hard_limit(world: World) -> None:
    user = new_uuid()
    await world.users.ensure(world.tenant, [user])
    world.fake.down = True
    for moment in range(0, int(HARD), 200):
        world.now = moment
        assert await world.users.current(world.tenant, [user])
        await settle(world)
    # Twelve loads would be due; the breaker let fewer through.
    assert world.fake.calls["decrypt"] < 30
    world.now = HARD + 1
    with pytest.raises(DependencyUnavailable) as caught:
        await world.users.current(world.tenant, [user])
    assert any(type(each).__name__ == "RetryInfo" for each in caught.value.details)
    world.fake.down = False
    world.now += 60
    assert await world.users.current(world.tenant, [user])


async def test_a_slow_kms_is_asked_once_for_all_who_wait(world: World) -> None:
    user = new_uuid()
    await world.users.ensure(world.tenant, [user])
    other = world.beside()
    world.fake.answering.clear()
    before = world.fake.calls["decrypt"]
    asked = [asyncio.create_task(other.users.current(world.tenant, [user])) for _ in range(30)]
    async with asyncio.timeout(60):
        while world.fake.calls["decrypt"] == before:
            await asyncio.sleep(0.01)
    world.fake.answering.set()
    await asyncio.gather(*asked)
    assert world.fake.calls["decrypt"] == before + 1


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.DESTROYED])
async def test_a_key_that_may_not_open_is_gone_once_forgotten(
    world: World, state: KeyState
) -> None:
    user, other = new_uuid(), new_uuid()
    await world.users.ensure(world.tenant, [user, other])
    wrapped = {} if state is KeyState.DISABLED else {"wrapped": None}
    async with world.transactions.transaction(world.tenant) as connection:
        statement = sa.update(USER_KEYS).where(USER_KEYS.c.user_id == uuid.UUID(user))
        await connection.execute(statement.values(state=state.value, **wrapped))
    world.users.forget(world.tenant, user)
    assert (await world.users.current(world.tenant, [user, other])).keys() == {other}
    assert await world.users.versions(world.tenant, [(user, 1)]) == {}
    assert (await world.users.ensure(world.tenant, [user, other])).keys() == {other}
    async with world.transactions.transaction(world.tenant) as connection:
        with pytest.raises(KeyDisabled):
            await world.users.create(connection, world.tenant, [user])


async def test_what_is_erased_elsewhere_is_forgotten_in_time(world: World) -> None:
    user = new_uuid()
    await world.users.ensure(world.tenant, [user])
    await world.users.versions(world.tenant, [(user, 1)])
    await world.set(USER_KEYS, state="destroyed", wrapped=None)
    world.now = 59
    assert await world.users.versions(world.tenant, [(user, 1)])
    world.now = 61
    assert await world.users.versions(world.tenant, [(user, 1)]) == {}


async def test_a_wrapped_key_opens_for_its_own_user_alone(world: World) -> None:
    one, two = new_uuid(), new_uuid()
    await world.users.ensure(world.tenant, [one, two])
    moved = sa.select(USER_KEYS.c.wrapped).where(USER_KEYS.c.user_id == uuid.UUID(one))
    async with world.transactions.transaction(world.tenant) as connection:
        wrapped = await connection.scalar(moved)
        await connection.execute(sa.update(USER_KEYS).values(wrapped=wrapped))
    world.users.forget(world.tenant)
    assert (await world.users.current(world.tenant, [one, two])).keys() == {one}


async def test_a_tenants_key_opens_for_its_tenant_alone(world: World) -> None:
    other = World(world.transactions, world.fake, f"{world.tenant}-b")
    await world.tenants.current(world.tenant)
    row = await world.store.tenant_key(world.tenant, 1)
    assert row is not None
    assert await other.store.add_tenant_key(other.tenant, row)
    with pytest.raises(KeyDisabled):
        await other.tenants.current(other.tenant)


async def test_a_tenant_without_an_active_key_is_refused(world: World) -> None:
    await world.tenants.current(world.tenant)
    await world.set(TENANT_KEYS, state="disabled")
    world.tenants.forget(world.tenant)
    with pytest.raises(KeyDisabled, match="tenant"):
        await world.tenants.current(world.tenant)
    with pytest.raises(KeyDisabled, match="tenant"):
        await world.tenants.version(world.tenant, 1)


async def test_keys_of_fields_are_made_once_and_apart(world: World) -> None:
    others = [world.beside() for _ in range(4)]
    made = await asyncio.gather(*(each.fields.index_key(world.tenant, "ssn") for each in others))
    assert len({each.index(world.tenant, "ssn", "1", 40) for each in made}) == 1
    other = await world.fields.index_key(world.tenant, "card")
    assert other.index(world.tenant, "ssn", "1", 40) != made[0].index(world.tenant, "ssn", "1", 40)
    token = await world.fields.token_key(world.tenant, "ssn")
    assert (await world.fields.token_key_version(world.tenant, "ssn", 1)).version == token.version
    assert await world.count(INDEX_KEYS) == 3
    with pytest.raises(ValueUnopenable):
        await world.fields.token_key_version(world.tenant, "ssn", 2)
    assert [each.version for each in await world.fields.index_keys(world.tenant, "ssn")] == [1]


async def test_a_disabled_kms_key_takes_keys_of_fields_away(world: World) -> None:
    await world.fields.index_key(world.tenant, "ssn")
    world.fake.set_state("one", KmsKeyState.PENDING_DELETION)
    world.fields.revoke()
    with pytest.raises(KeyDisabled):
        await world.fields.index_key(world.tenant, "ssn")


async def test_versions_of_the_app_key_follow_their_states(world: World) -> None:
    assert await world.app.current(world.tenant) == 1
    await world.set(APP_KEYS, state="decrypt_only")
    assert await world.app.current(world.tenant) == 1
    world.app.forget(world.tenant)
    assert await world.app.current(world.tenant) is None
    assert await world.app.opening(world.tenant) == {1}
    await world.set(APP_KEYS, state="disabled")
    world.app.forget(world.tenant)
    assert await world.app.opening(world.tenant) == frozenset()
