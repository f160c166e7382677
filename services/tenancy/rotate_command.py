"""The command ``rotate-credentials``: one pass over all credentials, at once."""

import argparse
import sys
from collections import Counter

from mesh.server.program import Command, CommandFailed, no_arguments
from services.tenancy.assembly import open_parts
from services.tenancy.credentials.scheduled_rotation import Outcome
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings
from services.tenancy.upkeep.job import BrokenOff
from services.tenancy.upkeep.jobs import rotations


async def _run(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    parts = open_parts(settings)
    try:
        counts = await rotate_credentials(parts)
    finally:
        await parts.close()
    done = ", ".join(
        f"{counts[each]} {each.value}" for each in Outcome if each is not Outcome.NOTHING
    )
    if counts[Outcome.FAILED]:
        raise CommandFailed(f"keys: {done}; each credential says why, and is tried again")
    sys.stdout.write(f"keys: {done}\n")


async def rotate_credentials(parts: Parts) -> Counter[Outcome]:
    """Do what is due in all active tenants; any number of processes may at a time.

    Gives what came of the credentials that were due. CommandFailed without credentials of AWS,
    and when what it needs does not answer.
    """
    if parts.credentials is None or parts.credentials.scheduled is None:
        raise CommandFailed("this process has no credentials of AWS")
    try:
        tally, counts = await rotations(parts, parts.credentials.scheduled).counted()
    except BrokenOff as broken:
        raise CommandFailed(f"{broken.reason}: what is left is due the next time") from broken
    counts[Outcome.FAILED] = tally.failed
    return +counts


ROTATE_CREDENTIALS = Command(
    "rotate-credentials", "change the access keys whose turn it is", no_arguments, _run
)
