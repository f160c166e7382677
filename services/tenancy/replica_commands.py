"""The commands ``scheduler`` and ``executor``: replicas that work until they are told to end."""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import orjson

from mesh.server.operations import Operations
from mesh.server.program import Command, CommandFailed, no_arguments
from secmesh_client.aio import Tls, connect
from services.tenancy.assembly import open_parts
from services.tenancy.parts import Parts
from services.tenancy.scheduling.attempt import ExecutorPace
from services.tenancy.scheduling.executor import Executor
from services.tenancy.scheduling.scan_work import ScanWork
from services.tenancy.scheduling.scheduler import Scheduler, SchedulerPace
from services.tenancy.scheduling.sharding import WATCH_SECONDS, Sharding, ShardsDiffer
from services.tenancy.scheduling.shards import Replica
from services.tenancy.scheduling.telemetry import measure
from services.tenancy.scheduling.work import Work
from services.tenancy.service_work import TOKEN_SETTINGS, open_tokens
from services.tenancy.settings import PREFIX, TenancySettings
from services.tenancy.store.port import StoreUnavailable, Throttled

_LOG = logging.getLogger(__name__)
_BEATS = 4
"""In a lease: three may be lost."""


async def run_scheduler(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    """Claim what is due until SIGTERM or SIGINT."""
    parts = open_parts(settings)
    pace = SchedulerPace(shards=settings.index_shards, max_attempts=settings.max_attempts)
    scheduler = Scheduler(parts.store, parts.clock, parts.chance, _replica(settings), pace)
    measure("scheduler", scheduler.counts)
    await _until_signal(parts, scheduler.run)
    _LOG.info("the scheduler ends: %s", scheduler.counts)


async def _run_executor(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    """Run executions until SIGTERM or SIGINT; what runs then goes back to the queue."""
    tokens = open_tokens(settings)
    if not settings.inventory_address or tokens is None:
        raise CommandFailed(
            f"{PREFIX}INVENTORY_ADDRESS and {PREFIX}INVENTORY_TOKEN_FILE, or {TOKEN_SETTINGS} in "
            "place of the file, are needed: executors have the inventory service read accounts"
        )
    try:
        channel = connect(settings.inventory_address, token=tokens.token, tls=_tls(settings))
    except ValueError as problem:
        raise CommandFailed(f"{PREFIX}INVENTORY_ADDRESS: {problem}") from problem
    parts = open_parts(settings)
    try:
        scans = ScanWork(parts.store, parts.clock, parts.gate, channel)
        await run_executor(parts, tokens.over(scans))
    finally:
        await tokens.close()
        await channel.close()


async def run_executor(parts: Parts, work: Work) -> None:
    """Do work until SIGTERM or SIGINT."""
    settings = parts.settings
    pace = ExecutorPace(
        shards=settings.index_shards,
        slots=settings.executor_slots,
        per_tenant=min(settings.executor_slots_per_tenant, settings.executor_slots),
        lease=settings.lease_seconds,
        beat=settings.lease_seconds / _BEATS,
    )
    # Another process, also of the same number on this host, must have another name.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"[:128]
    executor = Executor(
        parts.store, parts.clock, parts.chance, work, name, _replica(settings), pace
    )
    measure("executor", executor.counts)
    await _until_signal(parts, executor.run)
    _LOG.info("the executor ends: %s", executor.counts)


async def _until_signal(parts: Parts, run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    operations = Operations(parts.settings)
    sharding = Sharding(parts.store, parts.settings.index_shards)
    try:
        await operations.start()
        # Before the store has said so, nothing is claimed and nothing run.
        while not (await _agreed(sharding) or stopping.is_set()):
            await parts.clock.sleep(1)
        operations.show_ready(True)
        told = {"process": os.getpid(), **operations.addresses}
        sys.stdout.write(f"WORKING {orjson.dumps(told).decode()}\n")
        sys.stdout.flush()
        watch = asyncio.create_task(_watch(sharding, stopping))
        try:
            await run(stopping)
        finally:
            watch.cancel()
        # It has ended by itself if it stopped the work.
        if watch.done():
            await watch
    finally:
        await operations.stop()
        await parts.close()


async def _agreed(sharding: Sharding) -> bool:
    """Compare the number of shards; tells whether the store answered. CommandFailed."""
    try:
        await sharding.agree()
    except ShardsDiffer as problem:
        raise CommandFailed(str(problem)) from problem
    except (StoreUnavailable, Throttled):
        return False
    return True


async def _watch(sharding: Sharding, stopping: asyncio.Event) -> None:
    """Stop the work once the number of shards is another one, and say so."""
    try:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await _agreed(sharding)
    except CommandFailed:
        stopping.set()
        raise


def _tls(settings: TenancySettings) -> Tls | None:
    """Give how the inventory service is met; a certificate is shown if there is one."""
    if settings.inventory_ca is None:
        return None
    return Tls(settings.inventory_ca, settings.tls_certificate, settings.tls_key)


def _replica(settings: TenancySettings) -> Replica:
    return Replica(settings.replica % settings.replicas, settings.replicas)


SCHEDULER = Command("scheduler", "claim what is due", no_arguments, run_scheduler)
EXECUTOR = Command("executor", "run what was claimed", no_arguments, _run_executor)
