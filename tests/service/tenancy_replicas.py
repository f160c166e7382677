"""Schedulers and executors as real processes on one embedded store, to be killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy.clock import SystemClock
from services.tenancy.schedules import ACTIVE, item_of
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Item, Put
from services.tenancy.store.tables import Table
from services.tenancy.timing.zones import TZDATA_VERSION
from tests.service.tenancy_stores import REGION

SHARDS = 2
LEASE = 6.0
"""Seconds. Beats come each quarter of it: a busy machine must not lose three of them."""
SCHEDULER = ["services.tenancy", "scheduler"]


@dataclass
class Replicas:
    """Starts processes, and ends those that are left."""

    endpoint: str
    names: dict[Table, str]
    lease: float = LEASE
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start ``python -m COMMAND``."""
        settings = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SECMESH_TENANCY_INDEX_SHARDS": str(SHARDS),
            "SECMESH_TENANCY_LEASE_SECONDS": str(self.lease),
            **{table.variable: name for table, name in self.names.items()},
        }
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process with -9."""
        process.kill()
        process.wait()
        self.running.remove(process)


@contextmanager
def replicas(endpoint: str, names: dict[Table, str]) -> Iterator[Replicas]:
    """Give a place to start processes in; those that are left are ended."""
    made = Replicas(endpoint, names)
    try:
        yield made
    finally:
        for process in made.running:
            process.terminate()
        for process in made.running:
            process.wait(20)


async def add_due(store: DynamoDbStore, tenant: str, schedule_id: str) -> None:
    """Add a schedule that is due at this moment, once."""
    now = SystemClock().now() // 1_000_000
    moment = datetime.fromtimestamp(now - 1, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    schedule = Schedule(
        name=f"tenants/{tenant}/schedules/{schedule_id}",
        account_id=f"account-{schedule_id}",
        expression=f"at({moment})",
        state=ACTIVE,
        tzdata_version=TZDATA_VERSION,
    )
    schedule.create_time.seconds = now - 60
    schedule.next_fire_time.seconds = now - 1
    key = TenantScope(tenant).schedule(schedule_id)
    await store.write(Put(key, item_of(schedule, 1, SHARDS)))


async def executions_of(store: DynamoDbStore, tenant: str, schedule_ids: list[str]) -> list[Item]:
    """Give the executions of these schedules."""
    found: list[Item] = []
    for schedule_id in schedule_ids:
        query = TenantScope(tenant).executions_of_schedule(schedule_id)
        found += (await store.query(query)).items
    return found


async def results_of(store: DynamoDbStore, tenant: str, schedule_ids: list[str]) -> list[Item]:
    """Give the scan results of these schedules."""
    found: list[Item] = []
    for schedule_id in schedule_ids:
        query = TenantScope(tenant).scan_results_of_account(f"account-{schedule_id}")
        found += (await store.query(query)).items
    return found
