"""What holds for each of the four rotations alike: under traffic, by late writers, in numbers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from mesh.sealing.secret_file import create_secret_file
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from services.crypto.custody.key_file import FileKey, KeyFile, write_key_file
from services.crypto.rotation.runner import Pace
from services.crypto.tables import (
    ENCRYPTION_METADATA,
    INDEX_KEYS,
    ROTATION_WORK,
    TENANT_KEYS,
    USER_KEYS,
)
from tests.databases import crypto_database
from tests.service.crypto_world import KMS_KEY, World, crypto_world
from tests.service.rotation_story import (
    ADDRESS,
    SSN,
    change,
    end_lease,
    end_window,
    get,
    plan,
    read,
    roll_back,
    run,
    store,
)
from tests.unit.fake_kms import FakeKms

PACE = Pace(batch=24, quiet_batch=6)
NEW_KMS_KEY = "two"
IBAN = "DE89370400440532013000"
KINDS = [
    key_pb2.KEY_TYPE_KMS_CMK,
    key_pb2.KEY_TYPE_TENANT_KEK,
    key_pb2.KEY_TYPE_USER_DEK,
    key_pb2.KEY_TYPE_APP_KEY,
]
_BY_ACTIVE_KEY = sa.exists().where(
    USER_KEYS.c.tenant_id == ENCRYPTION_METADATA.c.tenant_id,
    USER_KEYS.c.user_id == ENCRYPTION_METADATA.c.user_id,
    USER_KEYS.c.version == ENCRYPTION_METADATA.c.key_version,
    USER_KEYS.c.state == "active",
)
_STALE = {
    key_pb2.KEY_TYPE_KMS_CMK: [
        (table, table.c.kms_key_id != NEW_KMS_KEY)
        for table in (TENANT_KEYS, INDEX_KEYS, ENCRYPTION_METADATA)
    ],
    key_pb2.KEY_TYPE_TENANT_KEK: [(USER_KEYS, USER_KEYS.c.tenant_key_version == 1)],
    key_pb2.KEY_TYPE_USER_DEK: [(ENCRYPTION_METADATA, ~_BY_ACTIVE_KEY)],
    key_pb2.KEY_TYPE_APP_KEY: [(ENCRYPTION_METADATA, ENCRYPTION_METADATA.c.app_key_version == 1)],
}
"""Rows that are not as a first rotation of the kind leaves them."""


@dataclass
class Site:
    """A tenant served by two processes; the second rotates a key."""

    kind: "key_pb2.KeyType.ValueType"
    serving: World
    rotating: World

    async def stale(self) -> int:
        """Count rows by the old version."""
        count = 0
        async with self.serving.transactions.connection(self.serving.tenant) as connection:
            for table, chosen in _STALE[self.kind]:
                mine = sa.and_(table.c.tenant_id == self.serving.tenant, chosen)
                found = sa.select(sa.func.count()).select_from(table).where(mine)
                count += await connection.scalar(found) or 0
        return count


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture(params=KINDS, ids=key_pb2.KeyType.Name)
async def site(
    access: Access, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    kms = FakeKms(KMS_KEY, NEW_KMS_KEY)
    kms_key = NEW_KMS_KEY if request.param == key_pb2.KEY_TYPE_KMS_CMK else KMS_KEY
    async with crypto_world(access, tmp_path, kms=kms, pace=PACE) as serving:
        # What another test's tenants left hangs from another KMS.
        await change(serving, sa.delete(ROTATION_WORK))
        keys = KeyFile(tmp_path / "app.keys").keys()
        write_key_file(tmp_path / "app.keys", {**keys, "v2": FileKey(True, b"2" * 32)})
        home = tmp_path / "rotating"
        create_secret_file(home / "app.keys", (tmp_path / "app.keys").read_text().splitlines(True))
        async with crypto_world(access, home, kms=kms, kms_key_id=kms_key, pace=PACE) as rotating:
            rotating.tenant = serving.tenant
            yield Site(request.param, serving, rotating)


async def write(world: World, name: str) -> None:
    """Write a person's values anew."""
    wanted = User(name=name, address=ADDRESS, ssn=SSN)
    await world.users().UpdateUser(users.UpdateUserRequest(user=wanted))


async def make(world: World, bank_account: str | None = None) -> str:
    user = User(address=ADDRESS, ssn=SSN, bank_account=bank_account)
    made = await world.users().CreateUser(users.CreateUserRequest(parent=world.parent, user=user))
    return str(made.name)


async def test_a_run_and_its_rollback_write_as_many_rows_as_were_counted(site: Site) -> None:
    names = await store(site.serving, 7)
    before = await site.stale()
    planned = await plan(site.rotating, site.kind)
    assert await site.stale() == before
    done = await run(site.rotating, site.kind)
    assert (done.status, done.error) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, "")
    assert done.affected_count == done.planned_count == planned.planned_count > 0
    assert await site.stale() == 0
    assert await read(site.serving, names[0]) == (ADDRESS, SSN)
    undoing = await roll_back(site.rotating, done.name)
    assert (undoing.status, undoing.error) == (key_pb2.KEY_ROTATION_STATUS_COMPLETED, "")
    assert undoing.affected_count == undoing.planned_count == planned.planned_count
    assert (await get(site.rotating, done.name)).status == key_pb2.KEY_ROTATION_STATUS_ROLLED_BACK
    assert await site.stale() == before
    assert await read(site.serving, names[0]) == (ADDRESS, SSN)


async def test_no_call_fails_while_a_key_is_rotated_and_rolled_back(site: Site) -> None:
    names = await store(site.serving, 8)
    ended = asyncio.Event()
    calls = 0

    async def traffic(place: int) -> None:
        nonlocal calls
        world = (site.serving, site.rotating)[place % 2]
        while not ended.is_set():
            name = names[(place * 5 + calls) % len(names)]
            assert await read(world, name) == (ADDRESS, SSN)
            await write(world, name)
            await make(world)
            calls += 3

    async def more_calls() -> None:
        seen = calls
        async with asyncio.timeout(60):
            while calls == seen:
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(traffic(place)) for place in range(2)]
    await more_calls()
    done = await run(site.rotating, site.kind)
    await more_calls()
    undoing = await roll_back(site.rotating, done.name)
    await more_calls()
    ended.set()
    await asyncio.gather(*tasks)
    assert done.status == undoing.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert done.skipped_count == undoing.skipped_count == 0
    for name in names:
        assert await read(site.serving, name) == (ADDRESS, SSN)


async def test_what_is_written_late_by_the_old_version_is_written_anew_soon_after(
    site: Site,
) -> None:
    [name] = await store(site.serving, 1)
    await write(site.serving, name)
    await site.serving.news.close()
    done = await run(site.rotating, site.kind)
    assert await site.stale() == 0
    # This process remembers the old version, or its settings name the old KMS key.
    await write(site.serving, name)
    late = await make(site.serving, bank_account=IBAN)
    assert await site.stale() > 0
    await end_lease(site.rotating)
    await site.rotating.runner.look()
    assert await site.stale() == 0
    swept = await get(site.rotating, done.name)
    assert swept.status == key_pb2.KEY_ROTATION_STATUS_COMPLETED
    assert swept.affected_count > done.affected_count
    assert await site.rotating.runner.look() == 0
    await end_window(site.rotating)
    await site.rotating.runner.look()
    for each in (name, late):
        assert await read(site.rotating, each) == (ADDRESS, SSN)


async def test_a_rotation_that_another_followed_leaves_its_rows_alone(site: Site) -> None:
    names = await store(site.serving, 3)
    if site.kind == key_pb2.KEY_TYPE_APP_KEY:
        for world in (site.serving, site.rotating):
            keys = KeyFile(world.home / "app.keys").keys()
            write_key_file(world.home / "app.keys", {**keys, "v3": FileKey(True, b"3" * 32)})
    first = await run(site.rotating, site.kind)
    # Back to the KMS key of before, by the process whose settings name it.
    second = await run(site.serving, site.kind)
    assert second.affected_count == first.affected_count
    await end_lease(site.rotating)
    assert await site.rotating.runner.look() == 2
    for each in (first, second):
        assert (await get(site.rotating, each.name)).affected_count == each.affected_count
    assert await read(site.serving, names[0]) == (ADDRESS, SSN)
