"""The command ``retime-schedules``: schedules after a new release of the time zones."""

import argparse
import sys

from mesh.server.program import Command
from services.tenancy.assembly import open_parts
from services.tenancy.schedule_retiming import Retiming
from services.tenancy.settings import TenancySettings
from services.tenancy.timing.zones import TZDATA_VERSION


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only count what would move")


async def _run(settings: TenancySettings, arguments: argparse.Namespace) -> None:
    parts = open_parts(settings)
    try:
        retiming = Retiming(parts.store, parts.clock, settings.index_shards)
        counts = await retiming.run(dry_run=arguments.dry_run)
    finally:
        await parts.close()
    would = "would move" if arguments.dry_run else "moved"
    sys.stdout.write(
        f"time zones {TZDATA_VERSION}: {counts.looked_at} schedules wait, {counts.moved} {would}, "
        f"{counts.unreadable} of a zone that is not known any more\n"
    )


RETIME_SCHEDULES = Command(
    "retime-schedules",
    "compute anew for which moments schedules wait, after a new release of the time zones",
    _add_arguments,
    _run,
)
