"""The command ``reshard``: all that waits, moved into another number of shards."""

import argparse
import asyncio
import sys

from mesh.server.program import Command, CommandFailed
from services.tenancy.assembly import open_parts
from services.tenancy.scheduling.sharding import WATCH_SECONDS, Resharding, ShardsDiffer
from services.tenancy.settings import TenancySettings

_MARGIN = 2
"""By which the wait exceeds the time after which running processes have noticed."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--all-are-stopped",
        action="store_true",
        help=f"do not wait {WATCH_SECONDS * _MARGIN:.0f} s for processes that still run to notice",
    )


async def _run(settings: TenancySettings, arguments: argparse.Namespace) -> None:
    parts = open_parts(settings)
    try:
        resharding = Resharding(parts.store, settings.index_shards)
        before = await resharding.announce()
        if not arguments.all_are_stopped:
            await asyncio.sleep(WATCH_SECONDS * _MARGIN)
        moved = await resharding.run(before)
    except ShardsDiffer as problem:
        raise CommandFailed(str(problem)) from problem
    finally:
        await parts.close()
    sys.stdout.write(
        f"{settings.index_shards} shards, {moved.before or 'nobody said how many'} before: "
        f"{moved.schedules} schedules and {moved.executions} executions moved\n"
    )


RESHARD = Command(
    "reshard",
    "move what waits into SECMESH_TENANCY_INDEX_SHARDS shards; end all other processes first",
    _add_arguments,
    _run,
)
