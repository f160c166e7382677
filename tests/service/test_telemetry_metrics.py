"""What is measured below the calls: database connections, AWS calls, units of runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.embedded.aws_faults import Faults
from mesh.sql.engine import Pool, open_engine
from mesh.telemetry.prometheus import enable_metrics, exposition
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.inventory_store import inventory_store
from tests.service.collect_world import World
from tests.service.metric_samples import samples, total

ATTEMPTS = "aws_client_attempt_duration_seconds_count"


@pytest.fixture(autouse=True)
def measuring() -> None:
    enable_metrics()


def measured(name: str, **labels: str) -> float:
    return total(exposition().decode(), name, **labels)


async def test_a_full_pool_shows_who_waits(tmp_path: Path) -> None:
    engine = open_engine(inventory_store(tmp_path), Pool(name="full", size=1, overflow=1))

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(sa.select(1))

    def used() -> tuple[float, float, float]:
        count, waiting = "db_client_connection_count", "db_client_connection_pending_requests"
        return (
            measured(count, pool="full", state="used"),
            measured(count, pool="full", state="idle"),
            measured(waiting, pool="full"),
        )

    assert measured("db_client_connection_max", pool="full") == 2
    async with engine.connect(), engine.connect():
        asking = [asyncio.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert used() == (2, 0, 3)
    await asyncio.gather(*asking)
    assert used() == (0, 1, 0)
    await engine.dispose()


async def test_who_gives_up_waiting_waits_no_more(tmp_path: Path) -> None:
    pool = Pool(name="short", size=1, overflow=0, wait_seconds=0.05)
    engine = open_engine(inventory_store(tmp_path), pool)
    async with engine.connect():
        with pytest.raises(sa.exc.TimeoutError):
            async with engine.connect():
                pass
    assert measured("db_client_connection_pending_requests", pool="short") == 0
    await engine.dispose()


async def test_aws_calls_are_counted_by_outcome(collecting: World, faults: Faults) -> None:
    labels = {"service": "s3", "operation": "GetBucketVersioning"}
    read = measured(ATTEMPTS, **labels, outcome="read")
    denied = measured(ATTEMPTS, service="s3", operation="GetBucketLogging", outcome="denied")
    units = {"collection": "s3_buckets", "state": "done"}
    parts = measured("inventory_sync_units_total", **units, whole="false")
    faults.deny("s3:GetBucketLogging")
    sync = await collecting.sync("s3_buckets")
    assert sync.state == Sync.STATE_PARTIAL
    buckets = len(await collecting.rows("s3_buckets"))
    assert measured(ATTEMPTS, **labels, outcome="read") == read + buckets
    refused = measured(ATTEMPTS, service="s3", operation="GetBucketLogging", outcome="denied")
    assert refused == denied + buckets
    assert measured("inventory_sync_units_total", **units, whole="false") == parts + 1


async def test_waits_for_a_pace_are_counted(collecting: World, faults: Faults) -> None:
    waited = measured("aws_client_pace_wait_seconds_total", service="s3")
    faults.limit(20)
    await collecting.sync("s3_buckets")
    assert measured("aws_client_pace_wait_seconds_total", service="s3") > waited + 0.1
    throttled: list[Any] = [
        value
        for labels, value in samples(exposition().decode(), ATTEMPTS)
        if labels["outcome"] == "throttled"
    ]
    assert sum(throttled) > 0
