"""Stats, samples and resets on a real server, on each database."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from mesh.contract.digest import contract_digest
from mesh.embedded.aws import AwsEndpoint
from secmesh.inventory.v1.store_service_pb2 import (
    GetStatsRequest,
    ReloadAccountRequest,
    ResetAccountRequest,
    SampleRecordsRequest,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.inventory_store import inventory_store
from tests.service.collect_world import CATALOGUE, SAMPLE_ACCOUNT
from tests.service.store_world import ONE, TENANT, TWO, Kept, fill, kept, run, user


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with kept(database, tmp_path) as made:
        await fill(made)
        yield made


def reset(account: str, again: str = "", *, only: bool = False) -> ResetAccountRequest:
    return ResetAccountRequest(
        parent=TENANT,
        cloud_account_id=account,
        confirm_cloud_account_id=again,
        validate_only=only,
    )


async def test_stats_count_the_tenants_own_rows(world: Kept) -> None:
    stats = await world.ask("GetStats", GetStatsRequest(parent=TENANT))
    collections = {each.collection: each for each in stats.collections}
    assert set(collections) == set(CATALOGUE.kinds)
    users = collections["iam_users"]
    assert (users.current_rows, users.past_rows) == (3, 1)
    assert (users.oldest_time.seconds, users.newest_time.seconds) == (10, 25)
    assert users.content_bytes > 4 * len("user-a")
    assert (collections["syncs"].current_rows, collections["syncs"].past_rows) == (3, 0)
    assert not collections["syncs"].HasField("oldest_time")
    assert not collections["vpc"].HasField("oldest_time")
    one, two = stats.accounts
    assert (one.cloud_account_id, one.current_rows, one.past_rows, one.runs) == (ONE, 2, 1, 2)
    assert one.last_sync.name == f"{TENANT}/syncs/s2"
    assert (two.cloud_account_id, two.current_rows, two.runs) == (TWO, 1, 1)
    assert stats.database == world.store.database
    assert int(stats.database_version.split(".")[0]) >= 3
    assert stats.store_bytes > 0
    assert stats.contract_digest == contract_digest(CATALOGUE)


async def test_stats_of_another_tenant_are_not_there(world: Kept) -> None:
    error = await world.refused("GetStats", GetStatsRequest(parent="tenants/beta"))
    assert error.code is grpc.StatusCode.NOT_FOUND


async def test_a_sample_follows_from_its_seed(world: Kept) -> None:
    await world.put("iam_users", *(user(f"{4 * n:02x}" * 16, 50) for n in range(64)))

    async def names(seed: int, size: int = 5) -> list[str]:
        request = SampleRecordsRequest(parent=f"{TENANT}/iam_users", size=size, seed=seed)
        answer = await world.ask("SampleRecords", request)
        return [record.name for record in answer.records]

    assert await names(1) == await names(1)
    assert len(set(await names(1))) == 5
    assert len({tuple(await names(seed)) for seed in range(6)}) > 3
    everything = await names(3, 100)
    assert len(set(everything)) == len(everything) == 67
    assert all(name.startswith(f"{TENANT}/") for name in everything)


async def test_a_sample_of_all_collections(world: Kept) -> None:
    answer = await world.ask("SampleRecords", SampleRecordsRequest(parent=f"{TENANT}/-", size=1))
    assert [record.WhichOneof("body") for record in answer.records] == ["iam_user"]
    unknown = SampleRecordsRequest(parent=f"{TENANT}/moons")
    assert (await world.refused("SampleRecords", unknown)).reason == "KIND_UNKNOWN"
    few = SampleRecordsRequest(parent=f"{TENANT}/-")
    error = await world.refused(
        "SampleRecords", few, roles=[], permissions=["inventory.iam_users.list"]
    )
    assert error.reason == "PERMISSION_MISSING"


async def test_reset_needs_the_account_twice(world: Kept) -> None:
    for again in ("", TWO, f"{ONE} "):
        error = await world.refused("ResetAccount", reset(ONE, again))
        assert (error.code, error.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "CONFIRMATION_MISSING",
        )
        assert error.metadata["field"] == "confirm_cloud_account_id"
    assert await world.count("iam_users") == 4


async def test_reset_deletes_one_account_of_one_tenant(world: Kept) -> None:
    wanted = {"iam_users": 3, "manifest_entries": 2, "syncs": 2}
    counted = await world.ask("ResetAccount", reset(ONE, only=True))
    assert {each.collection: each.rows for each in counted.deleted} == wanted
    assert counted.validate_only
    assert await world.count("iam_users") == 4
    done = await world.ask("ResetAccount", reset(ONE, ONE))
    assert {each.collection: each.rows for each in done.deleted} == wanted
    assert await world.count("iam_users") == 1
    assert await world.count("syncs") == 1
    assert await world.count("manifest_entries") == 1
    assert await world.count("iam_users", "beta") == 1
    assert await world.count("manifest_entries", "beta") == 1
    assert (await world.refused("ResetAccount", reset(ONE, ONE))).reason == "RESOURCE_NOT_FOUND"


async def test_reset_reaches_no_other_tenant(world: Kept) -> None:
    error = await world.refused("ResetAccount", reset(ONE, ONE), tenant="beta")
    assert error.code is grpc.StatusCode.NOT_FOUND
    unknown = await world.refused("ResetAccount", reset("9" * 12, "9" * 12))
    assert unknown.reason == "RESOURCE_NOT_FOUND"
    assert await world.count("iam_users") == 4
    operator = await world.refused("ResetAccount", reset(ONE, ONE), roles=["operator"])
    assert operator.reason == "PERMISSION_MISSING"


async def test_an_account_that_is_being_read_is_not_reset(world: Kept) -> None:
    await world.put("syncs", run("live", 40, state=Sync.STATE_RUNNING))
    error = await world.refused("ResetAccount", reset(ONE, ONE))
    assert (error.reason, error.metadata["sync"]) == ("SYNC_RUNNING", f"{TENANT}/syncs/live")
    assert await world.count("iam_users") == 4


async def test_reload_refuses_what_was_never_read(world: Kept) -> None:
    request = ReloadAccountRequest(parent=TENANT, cloud_account_id="9" * 12)
    assert (await world.refused("ReloadAccount", request)).reason == "RESOURCE_NOT_FOUND"


async def test_reload_reads_all_wherever_it_was_read(aws: AwsEndpoint, tmp_path: Path) -> None:
    async with kept(inventory_store(tmp_path), tmp_path, aws_endpoint_url=aws.url) as world:
        await world.put("syncs", run("s1", 10, account=SAMPLE_ACCOUNT, regions=["eu-west-1"]))
        await world.put("syncs", run("s2", 11, account=SAMPLE_ACCOUNT))
        request = ReloadAccountRequest(parent=TENANT, cloud_account_id=SAMPLE_ACCOUNT)
        sync = await world.ask("ReloadAccount", request)
        assert list(sync.regions) == ["eu-west-1", "us-east-1"]
        assert set(sync.collections) == set(CATALOGUE.record_kinds)
        # One run at a time, as with any other.
        assert (await world.refused("ReloadAccount", request)).reason == "SYNC_RUNNING"
