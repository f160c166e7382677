"""Memory of the service over many syncs, and over many calls through Envoy."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from gateway.policy import Policy
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from tests.mesh.gateway_fixtures import Gateway, running_gateway
from tests.service.collect_world import TENANT
from tests.service.inventory_story import story
from tests.service.sync_process import service
from tests.soak.soak_world import ACCOUNT, ChangingAccount, grants, resident_megabytes

SYNCS_A_MINUTE, CALLS_A_MINUTE = 20, 10_000
"""200 syncs and 100,000 calls in the 10 minutes that are the default."""
WARM = 0.2
"""Part of the work after which caches and pools are full."""
MOST_GROWTH = 0.15
"""Of the memory held then, until the end."""
IN_FLIGHT = 16
TOKEN_CALLS = 100
"""Calls of one caller with one token, which lives for minutes only."""
UNLIMITED = Policy(requests_per_second=0)
SEED = 7


def held(pid: int, before: float | None, done: int) -> float:
    now = resident_megabytes(pid)
    print(f"{done}: {now:.1f} MiB" + (f", was {before:.1f}" if before else ""))  # noqa: T201  # the result
    return now


def test_memory_stays_over_many_syncs(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, minutes: float
) -> None:
    create_signing_key(tmp_path / "keys")
    account = ChangingAccount(aws, SEED)
    syncs = max(10, int(SYNCS_A_MINUTE * minutes))
    warm = 0.0
    try:
        with (
            service(tmp_path, aws, **grants()) as (process, address),
            story(address, tmp_path, ACCOUNT) as told,
        ):
            for number in range(1, syncs + 1):
                account.change()
                assert told.collect("s3_buckets", "iam_users").state == Sync.STATE_SUCCEEDED
                if number == int(syncs * WARM):
                    warm = held(process.pid, None, number)
            end = held(process.pid, warm, syncs)
    finally:
        account.clear()
    assert end <= warm * (1 + MOST_GROWTH)


async def call_often(gateway: Gateway, calls: int) -> None:
    """Make calls through Envoy, a fixed number in flight; each must be answered."""
    request = ListRecordsRequest(parent=f"{TENANT}/s3_buckets", page_size=10)
    left = iter(range(calls))

    async def caller(stub: Any) -> None:
        for turn, _ in enumerate(left):
            if not turn % TOKEN_CALLS:
                bearer = gateway.bearer()
            answer: Message = await stub.ListRecords(request, metadata=bearer)
            assert answer.IsInitialized()

    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stub = RecordServiceStub(channel)
        await asyncio.gather(*(caller(stub) for _ in range(IN_FLIGHT)))


async def test_memory_stays_over_many_calls_through_envoy(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, minutes: float
) -> None:
    create_signing_key(tmp_path / "keys")
    account = ChangingAccount(aws, SEED)
    calls = max(2_000, int(CALLS_A_MINUTE * minutes))
    try:
        with service(tmp_path, aws, **grants()) as (process, address):
            with story(address, tmp_path, ACCOUNT) as told:
                account.change(10)
                await asyncio.to_thread(told.collect, "s3_buckets")
            with running_gateway({"inventory": address}, tmp_path, policy=UNLIMITED) as gateway:
                began = time.monotonic()
                await call_often(gateway, int(calls * WARM))
                warm = held(process.pid, None, int(calls * WARM))
                await call_often(gateway, calls - int(calls * WARM))
                end = held(process.pid, warm, calls)
                print(f"{calls / (time.monotonic() - began):.0f} calls a second")  # noqa: T201  # the result
    finally:
        account.clear()
    assert end <= warm * (1 + MOST_GROWTH)
