"""A process killed in a backup or a restore, beside one that serves the same store."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.store_world import Kept, fill, kept, user
from tests.service.test_store_backups import backup, listed, restore

ACT = """
import asyncio, os, signal, sys
from mesh.contract.catalogue import load_catalogue
from mesh.contract.digest import contract_digest
from mesh.sql.backup import postgres, sqlite
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.folder import BackupFolder, Origin
from mesh.sql.backup.progress import Phase, Progress
from services.inventory.__main__ import PACKAGE, open_store
from services.inventory.settings import InventorySettings

sqlite.STEP_PAGES = 4
postgres._STEP_SECONDS = 0.001
phase = Phase[sys.argv[1]]

class Killed(Progress):
    def move(self, done, total):
        super().move(done, total)
        if self.phase is phase and (done or phase is Phase.WRITING):
            os.kill(os.getpid(), signal.SIGKILL)

async def nothing():
    pass

async def main():
    settings, catalogue = InventorySettings(), load_catalogue(PACKAGE)
    store = await open_store(settings, catalogue)
    backups = Backups(store, BackupFolder(settings.backups), contract_digest(catalogue))
    if phase is Phase.WRITING:
        await backups.create(Origin.REQUESTED, Killed())
    else:
        await backups.restore(sys.argv[2], Killed(), nothing, validate_only=False)

asyncio.run(main())
"""


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(database, tmp_path) as made:
        await fill(made)
        yield made


def killed(world: Kept, *arguments: str) -> bool:
    url = world.store.engine.url.set(drivername=world.store.database)
    environment = {
        **os.environ,
        "SECMESH_HOME": str(world.home),
        "DATABASE_URL": url.render_as_string(hide_password=False),
    }
    command = [sys.executable, "-c", ACT, *arguments]
    done = subprocess.run(command, env=environment, check=False, timeout=50)
    return done.returncode == -signal.SIGKILL


async def test_a_killed_restore_and_a_killed_backup_leave_the_store_whole(world: Kept) -> None:
    made = await backup(world)
    saved = await world.content()
    await world.put("iam_users", *(user(f"u{n}", 50) for n in range(300)))
    before = await world.content()
    assert killed(world, "RESTORING", made.name.removeprefix("backups/"))
    assert await world.content() == before
    known = await listed(world)
    assert killed(world, "WRITING")
    assert await listed(world) == known
    await world.put("iam_users", user("later", 95))
    await restore(world, made.name)
    assert await world.content() == saved
    assert not list((world.home / "backups").glob("*.partial"))
