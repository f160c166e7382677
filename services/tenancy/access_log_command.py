"""The command ``prune-access-logs``: one pass over the access logs of all tenants, at once."""

import argparse
import sys

from mesh.server.program import Command, CommandFailed, no_arguments
from services.tenancy.assembly import open_parts
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings
from services.tenancy.upkeep.job import BrokenOff
from services.tenancy.upkeep.jobs import prunings


async def _run(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    parts = open_parts(settings)
    try:
        sys.stdout.write(await prune_access_logs(parts))
    finally:
        await parts.close()


async def prune_access_logs(parts: Parts) -> str:
    """Remove what is over from the logs of all active tenants, and say how much that was.

    Any number of processes may. CommandFailed without credentials of AWS, when what it needs
    does not answer, and for logs that are broken or could not be reached.
    """
    if parts.credentials is None:
        raise CommandFailed("this process has no credentials of AWS")
    pruning = prunings(parts, parts.credentials.retention)
    try:
        tally = await pruning.run()
    except BrokenOff as broken:
        problem = f"{pruning.entries} entries were removed, then: {broken.reason}"
        raise CommandFailed(problem) from broken
    told = f"{pruning.entries} entries of {tally.done} access logs were removed"
    if tally.failed:
        raise CommandFailed(f"{told}; {tally.failed} logs failed, which the log of this tells")
    return f"{told}\n"


PRUNE_ACCESS_LOGS = Command(
    "prune-access-logs", "remove entries of access logs whose time is over", no_arguments, _run
)
