"""Scheduled backups: when they are due, who makes them, what is kept, and how they fail."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mesh.sql.backup.backups import Backups
from mesh.sql.backup.errors import BackupsBusy
from mesh.sql.backup.folder import BackupFolder, Origin, now_micros
from mesh.sql.backup.progress import Progress
from mesh.sql.backup.schedule import BackupSchedule
from mesh.sql.store import Store
from secmesh.inventory.v1.backup_pb2 import Backup
from secmesh.inventory.v1.backup_service_pb2 import ListBackupsRequest
from secmesh.inventory.v1.store_service_pb2 import GetStatsRequest, StoreStats
from services.inventory.__main__ import open_store
from services.inventory.settings import InventorySettings
from tests.inventory_store import inventory_store, store_away
from tests.service.collect_world import CATALOGUE
from tests.service.store_world import TENANT, Kept, fill, kept

HOUR = timedelta(hours=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    url = inventory_store(tmp_path)
    made = await open_store(InventorySettings(home=tmp_path, database_url=url), CATALOGUE)
    yield made
    await made.engine.dispose()


class Clock:
    """The backups' own times are of now; this one runs ahead of them by hours."""

    ahead = timedelta()

    def __call__(self) -> int:
        return now_micros() + self.ahead // timedelta(microseconds=1)


def schedule(store: Store, folder: Path, clock: Clock, keep: int = 2) -> BackupSchedule:
    backups = Backups(store, BackupFolder(folder), "digest")
    return BackupSchedule(backups, HOUR, keep, clock)


async def test_a_backup_is_made_when_it_is_due(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    one, other = (schedule(store, tmp_path / "b", clock) for _ in range(2))
    made = await one.look()
    assert made is not None
    assert made.origin is Origin.SCHEDULED
    # The other process finds it done.
    assert await other.look() is None
    clock.ahead = HOUR
    assert await other.look() is not None
    assert (await one.health()).failure is None


async def test_only_one_of_two_does_it(store: Store, tmp_path: Path) -> None:
    both = [schedule(store, tmp_path / "b", Clock()) for _ in range(2)]
    done = await asyncio.gather(*(each.look() for each in both), return_exceptions=True)
    made = [each for each in done if each is not None and not isinstance(each, BackupsBusy)]
    assert len(made) == 1
    assert len(BackupFolder(tmp_path / "b").all()) == 1


async def test_only_its_own_old_ones_are_removed(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    scheduled = schedule(store, tmp_path / "b", clock)
    by_hand = await Backups(store, BackupFolder(tmp_path / "b"), "digest").create(
        Origin.REQUESTED, Progress()
    )
    made = []
    for hours in range(4):
        clock.ahead = hours * HOUR
        made.append(await scheduled.look())
    known = {each.id for each in BackupFolder(tmp_path / "b").all()}
    assert known == {by_hand.id, *(each.id for each in made[-2:] if each is not None)}
    assert len(list((tmp_path / "b").glob("*.backup"))) == 3


async def test_a_failure_is_seen_by_all_until_it_is_over(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = (schedule(store, tmp_path / "b", Clock()) for _ in range(2))
    await store.engine.dispose()
    with store_away(tmp_path):
        assert await one.look() is None
        assert "a scheduled backup failed" in caplog.text
        for each in (one, other):
            health = await each.health()
            assert health.failure is not None
            assert health.failure.problem
            assert health.last is None
    assert await one.look() is not None
    for each in (one, other):
        health = await each.health()
        assert (health.failure, health.last is None) == (None, False)


async def stats(world: Kept) -> StoreStats:
    answer = await world.ask("GetStats", GetStatsRequest(parent=TENANT))
    assert isinstance(answer, StoreStats)
    return answer


async def test_the_server_backs_up_by_itself(database: str, tmp_path: Path) -> None:
    async with kept(database, tmp_path, backup_hours=0.0002, backup_keep=2) as world:
        await fill(world)
        async with asyncio.timeout(60):
            while not (await stats(world)).backup_schedule.HasField("last_time"):
                await asyncio.sleep(0.1)
            first = (await stats(world)).backup_schedule.last_time
            while (await stats(world)).backup_schedule.last_time == first:
                await asyncio.sleep(0.1)
        seen = (await stats(world)).backup_schedule
        assert seen.interval.ToTimedelta() == timedelta(hours=0.0002)
        assert not seen.failure
        found = await world.ask("ListBackups", ListBackupsRequest(), roles=["platform"])
        assert {each.origin for each in found.backups} == {Backup.ORIGIN_SCHEDULED}
    assert not list((tmp_path / "backups").glob("*.partial"))


async def test_without_a_schedule_none_is_made(tmp_path: Path) -> None:
    async with kept(inventory_store(tmp_path), tmp_path) as world:
        assert not (await stats(world)).backup_schedule.interval.ToTimedelta()
        assert not (await stats(world)).backup_schedule.HasField("last_time")
    assert not (tmp_path / "backups").exists()
