"""Syncs of an account that changes, while the service and PostgreSQL are killed at random."""

import asyncio
import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from mesh.client import CallRefused
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.embedded.postgres import PostgresServer
from mesh.identity.keys import create_signing_key
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import GetSyncRequest, StartSyncRequest
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from tests.service.collect_world import TENANT, World, world
from tests.service.sync_process import content, service, stub_of
from tests.soak.soak_world import ACCOUNT, ChangingAccount, check_buckets, check_versions, grants

COLLECTIONS = ["cloudtrail_trails", "iam_users", "s3_buckets", "security_groups"]
SEED = 20_261_122
RUN_SECONDS = 120.0
"""Longest that a run may take, kills included."""


class Estate:
    """The service and its database, each killed and started again by turns."""

    def __init__(self, folder: Path, aws: AwsEndpoint, postgres: PostgresServer, url: str) -> None:
        self._folder, self._aws, self._postgres, self._url = folder, aws, postgres, url
        self._running = ExitStack()
        self._process: subprocess.Popen[str]
        self.stub: Any
        self.kills = 0

    def start(self) -> None:
        self._running = ExitStack()
        environment = grants(DATABASE_URL=self._url)
        self._process, address = self._running.enter_context(
            service(self._folder, self._aws, **environment)
        )
        self.stub = self._running.enter_context(stub_of(address, self._folder))

    def stop(self) -> None:
        self._running.close()

    def kill_service(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)
        self._running.close()
        self.start()
        self.kills += 1

    def kill_database(self) -> None:
        self._postgres.kill()
        self._postgres.start()
        self.kills += 1

    def kill_both(self) -> None:
        self._postgres.kill()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)
        self._running.close()
        self._postgres.start()
        self.start()
        self.kills += 1

    def call(self, ask: Callable[[], Sync], until: float) -> Sync:
        """Ask until there is an answer; a database that is gone is UNAVAILABLE and no other."""
        while True:
            try:
                return ask()
            except CallRefused as refused:
                if refused.code != grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
                    raise
                time.sleep(0.2)


def collect(estate: Estate, chance: random.Random, number: int) -> str:
    """Run one sync to its end, with kills in the middle of it; gives its name."""
    until = time.monotonic() + RUN_SECONDS
    name = f"{TENANT}/syncs/soak-{number}"
    # The id makes the call one that can be repeated.
    request = StartSyncRequest(
        parent=TENANT,
        sync=Sync(cloud_account_id=ACCOUNT, collections=COLLECTIONS),
        sync_id=f"soak-{number}",
    )
    estate.call(lambda: estate.stub.StartSync(request), until)
    time.sleep(chance.uniform(0, 1.5))
    if number % 4:
        chance.choice([estate.kill_service, estate.kill_database, estate.kill_both])()
    while True:
        sync = estate.call(lambda: estate.stub.GetSync(GetSyncRequest(name=name)), until)
        if sync.state != Sync.STATE_RUNNING:
            assert sync.state == Sync.STATE_SUCCEEDED, sync
            return name
        assert time.monotonic() < until, sync
        time.sleep(0.2)


async def check_units(made: World, name: str) -> None:
    """Check that each unit ended once, and its listing was written once."""
    units = await made.runner.units(name)
    assert sorted(unit.collection for unit in units) == COLLECTIONS
    assert all(unit.state != SyncUnit.STATE_PENDING for unit in units)
    entries = await made.manifest(await made.runner.get(name))
    keys = [(each.collection, each.region, each.operation) for each in entries]
    assert len(set(keys)) == len(keys)


async def test_kills_lose_nothing_and_write_nothing_twice(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, minutes: float
) -> None:
    create_signing_key(tmp_path / "keys")
    account, chance = ChangingAccount(aws, SEED), random.Random(SEED)
    with (
        PostgresServer(tmp_path / "postgres", durable=True) as postgres,
        contextlib.ExitStack() as ends,
    ):
        ends.callback(account.clear)
        url, calm = postgres.create_database("soak"), postgres.create_database("undisturbed")
        estate = Estate(tmp_path, aws, postgres, url)
        await asyncio.to_thread(estate.start)
        ends.callback(lambda: estate.stop())
        until, number = time.monotonic() + minutes * 60, 0
        while time.monotonic() < until:
            await asyncio.to_thread(account.change)
            name = await asyncio.to_thread(collect, estate, chance, number)
            number += 1
            async with world(aws, tmp_path, database_url=url) as made:
                await check_buckets(made, account.buckets)
                await check_units(made, name)
                for collection in COLLECTIONS:
                    await check_versions(made, collection)
                found = await content(made)
        async with world(aws, tmp_path, database_url=calm) as made:
            await made.sync(*COLLECTIONS, account=ACCOUNT)
            assert await content(made) == found
        assert estate.kills
        print(f"{number} syncs, {estate.kills} kills, {len(found)} records")  # noqa: T201  # the result
