"""One account collected, stored and checked by a real service: its calls, CPU, memory and time.

Run with ``python benchmarks/collection.py [--delay SECONDS]``. The endpoint and the service are
processes of their own. Counted are the service's own CPU and memory, as the kernel tells them, from
its start on, and the calls that reached the endpoint. Exits with 1 if one exceeds its limit.
The CPU of a call depends on the machine and on who else uses it.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from benchmarks.account.measuring import Usage, calls, usage
from benchmarks.account.population import populate
from benchmarks.account.processes import REGION, TENANT, Service, endpoint, inventory
from cli.sample.clients import ACCOUNT
from mesh.client import open_channel
from secmesh.inventory.v1 import (
    assessment_requests_pb2,
    compliance_service_pb2_grpc,
    ssp_requests_pb2,
    sync_service_pb2_grpc,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest, WatchSyncRequest

PACKAGE = "secmesh.inventory.v1"
PARENT = f"tenants/{TENANT}"
MAX_CALLS, MAX_CPU_SECONDS, MAX_MEGABYTES = 4000, 10.0, 200.0


@dataclass(frozen=True)
class Outcome:
    """What one run over the account took."""

    sync: Sync
    again: Sync
    """A second sync of the same account, unchanged."""
    calls: int
    """Of the first sync."""
    ready: Usage
    """After the start, before the first call."""
    synced: Usage
    checked: Usage
    """After the checks, before the second sync."""
    wall_seconds: float
    """Of the first sync."""


async def collect(service: Service) -> Sync:
    """Collect the account and give the run as it ended."""
    async with open_channel(service.address, package=PACKAGE, token=service.token) as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        wanted = Sync(cloud_account_id=ACCOUNT, regions=[REGION])
        run: Sync = await stub.StartSync(StartSyncRequest(parent=PARENT, sync=wanted))
        async for event in stub.WatchSync(WatchSyncRequest(name=run.name)):
            if event.WhichOneof("event") == "sync":
                run = event.sync
    return run


async def check(service: Service) -> None:
    """Weigh the sample plan against what was collected."""
    document = (files("cli.sample") / "ssp.json").read_bytes()
    async with open_channel(service.address, package=PACKAGE, token=service.token) as channel:
        stub = compliance_service_pb2_grpc.ComplianceServiceStub(channel)
        ssp = await stub.ImportSsp(
            ssp_requests_pb2.ImportSspRequest(parent=PARENT, ssp_id="bench", document=document)
        )
        async for _ in stub.Evaluate(assessment_requests_pb2.EvaluateRequest(ssp=ssp.name)):
            pass


async def measure(delay: float) -> Outcome:
    """Populate an account, collect and check it, and collect it again."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        async with endpoint(home, delay) as url:
            await asyncio.to_thread(populate, url, REGION)
            async with inventory(url, home) as service:
                before = sum(calls(url).values())
                ready = usage(service.pid)
                began = time.monotonic()
                sync = await collect(service)
                wall = time.monotonic() - began
                made = sum(calls(url).values()) - before
                synced = usage(service.pid)
                await check(service)
                checked = usage(service.pid)
                again = await collect(service)
    return Outcome(sync, again, made, ready, synced, checked, wall)


def main() -> int:
    """Print what it took and how it stands to the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds added to each call")
    outcome = asyncio.run(measure(parser.parse_args().delay))
    state = Sync.State.Name(outcome.sync.state)
    rows = outcome.sync.progress.rows_written
    print(f"{state}: {rows} records in {outcome.wall_seconds:.1f} s")
    print(f"a second sync wrote {outcome.again.progress.rows_written}")
    print_phases(outcome)
    whole = outcome.sync.state == Sync.STATE_SUCCEEDED and not outcome.again.progress.rows_written
    return 0 if print_limits(outcome) and whole else 1


def print_phases(outcome: Outcome) -> None:
    """Print what each phase added."""
    print(f"{'':24}{'CPU, s':>10}{'peak, MiB':>10}")
    spent = 0.0
    for name, found in (
        ("start", outcome.ready),
        ("sync", outcome.synced),
        ("checks", outcome.checked),
    ):
        print(f"{name:24}{found.cpu_seconds - spent:10.1f}{found.peak_megabytes:10.1f}")
        spent = found.cpu_seconds


def print_limits(outcome: Outcome) -> bool:
    """Print how all stands to the limits, and tell whether they are kept."""
    print(f"{'':24}{'measured':>10}{'limit':>10}{'ratio':>8}")
    measures = (
        ("calls", outcome.calls, MAX_CALLS),
        ("CPU, seconds", outcome.checked.cpu_seconds, MAX_CPU_SECONDS),
        ("peak memory, MiB", outcome.checked.peak_megabytes, MAX_MEGABYTES),
    )
    for name, measured, limit in measures:
        told = "" if measured <= limit else "  exceeded"
        print(f"{name:24}{measured:10.1f}{limit:10.1f}{measured / limit:8.2f}{told}")
    return all(measured <= limit for _, measured, limit in measures)


if __name__ == "__main__":
    sys.exit(main())
