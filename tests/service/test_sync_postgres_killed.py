"""PostgreSQL is killed in the middle of a run: it goes on where it stood, and ends the same."""

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.embedded.postgres import PostgresServer
from mesh.errors import DependencyUnavailable
from mesh.identity.keys import create_signing_key
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from secmesh.inventory.v1.sync_service_pb2 import GetSyncRequest, StartSyncRequest
from tests.service.collect_world import SAMPLE_ACCOUNT, TENANT, World, world
from tests.service.sync_process import content, service, stub_of

HELD = "s3:GetBucketAcl"
"""Asked by the buckets' unit alone; some units end before it, some begin after."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server of these tests that keeps what it confirmed, whatever happens to it."""
    # At its start, any pytest closes its folders to PostgreSQL's user.
    with (
        tempfile.TemporaryDirectory(prefix="secmesh-killed-") as folder,
        PostgresServer(Path(folder) / "postgres", durable=True) as server,
    ):
        yield server


@dataclass(frozen=True)
class Undisturbed:
    """What a run gives that nothing disturbs."""

    sync: Sync
    entries: list[ManifestEntry]
    content: dict[Any, Any]


@pytest.fixture(scope="module")
def undisturbed(
    aws: AwsEndpoint, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Undisturbed:
    """A whole run into a database of its own."""
    folder = tmp_path_factory.mktemp("undisturbed")
    url = postgres.create_database("undisturbed")

    async def run() -> Undisturbed:
        async with world(aws, folder) as made:
            # The first report takes a call more than those after it.
            await made.sync("iam_users")
        async with world(aws, folder, database_url=url) as made:
            sync = await made.sync()
            return Undisturbed(sync, await made.manifest(sync), await content(made))

    aws.faults.clear()
    return asyncio.run(run())


async def answered(stub: Any, name: str, *, wanted: set[int], seconds: float = 60) -> Sync:
    """Wait until a run has one of these states; while the store is down, calls say so."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                sync: Sync = stub.GetSync(GetSyncRequest(name=name))
            except CallRefused as refused:
                if refused.code != grpc.StatusCode.UNAVAILABLE:
                    raise
            else:
                if sync.state in wanted:
                    return sync
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("service_too", [False, True], ids=["database", "database and service"])
async def test_a_killed_database_loses_only_the_units_in_flight(
    aws: AwsEndpoint,
    faults: Faults,
    tmp_path: Path,
    postgres: PostgresServer,
    undisturbed: Undisturbed,
    service_too: bool,
) -> None:
    create_signing_key(tmp_path / "keys")
    url = postgres.create_database(f"killed_{int(service_too)}")
    whole = undisturbed.sync
    faults.clear()
    gate = faults.hold(HELD)
    with ExitStack() as running:
        process, address = running.enter_context(service(tmp_path, aws, DATABASE_URL=url))
        stub = running.enter_context(stub_of(address, tmp_path))
        wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT)
        request = StartSyncRequest(parent=TENANT, sync=wanted, sync_id="cut")
        name = stub.StartSync(request).name
        async with asyncio.timeout(60):
            # What is read before the held unit is written while that waits.
            done = stub.GetSync(GetSyncRequest(name=name)).progress.units_done
            while not faults.calls[HELD] or done < 3:
                await asyncio.sleep(0.05)
                done = stub.GetSync(GetSyncRequest(name=name)).progress.units_done
        async with world(aws, tmp_path, database_url=url) as made:
            units = await made.runner.units(name)
        ended = {unit.collection for unit in units if unit.HasField("end_time")}
        assert 3 <= len(ended) < whole.progress.units
        first = Counter(faults.calls)

        postgres.kill()
        if service_too:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
        gate.set()
        if not service_too:
            with pytest.raises(CallRefused) as refused:
                stub.GetSync(GetSyncRequest(name=f"{TENANT}/syncs/other"), timeout=20)
            assert refused.value.code == grpc.StatusCode.UNAVAILABLE
            assert process.poll() is None
        postgres.start()
        if service_too:
            process, address = running.enter_context(service(tmp_path, aws, DATABASE_URL=url))
            stub = running.enter_context(stub_of(address, tmp_path))
        after = await answered(stub, name, wanted={Sync.STATE_SUCCEEDED, Sync.STATE_PARTIAL})
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert after.state == whole.state == Sync.STATE_SUCCEEDED
    once: Counter[str] = Counter()
    for entry in undisturbed.entries:
        once[entry.operation] += entry.calls
    of_ended = {each.operation for each in undisturbed.entries if each.collection in ended} - {
        each.operation for each in undisturbed.entries if each.collection not in ended
    }
    assert of_ended
    for operation in of_ended:
        # Read before the crash, and not again after it.
        assert faults.calls[operation] == first[operation] == once[operation], operation
    for field in ("units_done", "resources", "rows_written", "rows_closed", "calls", "denied"):
        assert getattr(after.progress, field) == getattr(whole.progress, field), field
    async with world(aws, tmp_path, database_url=url) as made:
        assert await content(made) == undisturbed.content
        for collection in {entry.collection for entry in undisturbed.entries}:
            versions = await made.versions(collection)
            assert len({version.name for version in versions}) == len(versions), collection


async def until(made: World, name: str, state: str) -> Sync | None:
    """Wait until a run has a state; "GONE" once nobody executes it and no store answers."""
    async with asyncio.timeout(120):
        while True:
            try:
                sync = await made.runner.get(name)
            except DependencyUnavailable:
                if state == "GONE":
                    return None
            else:
                if Sync.State.Name(sync.state) == f"STATE_{state}":
                    return sync
            await asyncio.sleep(0.2)


async def test_a_run_is_left_while_its_store_is_gone_and_goes_on_afterwards(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create_database("gone")
    held, others = "iam_password_policy", {"s3_account_settings", "security_groups"}
    gate = faults.hold("iam:GetAccountSummary")
    async with world(aws, tmp_path, database_url=url, lease_seconds=2, runs=1) as made:
        await made.runner.recover()
        wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=[held, *others])
        name = (await made.runner.start(TENANT, wanted, "")).name
        waiting = Sync(cloud_account_id="310000000001", collections=["s3_account_settings"])
        second = (await made.runner.start(TENANT, waiting, "")).name
        async with asyncio.timeout(60):
            while (await made.runner.get(name)).progress.units_done < len(others):
                await asyncio.sleep(0.05)
        read = faults.calls["ec2:DescribeSecurityGroups"]
        postgres.kill()
        gate.set()
        # What was read cannot be written, and nobody holds on to the run.
        await until(made, name, "GONE")
        postgres.start()
        after = await until(made, name, "SUCCEEDED")
        assert after is not None
        assert not after.HasField("error")
        assert after.progress.units_done == after.progress.units == len(others) + 1
        assert faults.calls["ec2:DescribeSecurityGroups"] == read
        assert await made.rows(held)
        await until(made, second, "SUCCEEDED")
