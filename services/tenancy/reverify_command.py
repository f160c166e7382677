"""The command ``reverify``: one pass over all accounts, at once."""

import argparse
import sys

from mesh.server.program import Command, CommandFailed
from services.tenancy.assembly import open_parts
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings
from services.tenancy.upkeep.job import BrokenOff
from services.tenancy.upkeep.jobs import verifications

_HOUR = 3600


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than",
        type=float,
        default=24,
        metavar="HOURS",
        help="verify accounts whose last verification is so long ago (24)",
    )


async def _run(settings: TenancySettings, arguments: argparse.Namespace) -> None:
    parts = open_parts(settings)
    try:
        sys.stdout.write(await reverify(parts, arguments.older_than))
    finally:
        await parts.close()


async def reverify(parts: Parts, hours: float) -> str:
    """Verify again what is due, and say how much that was; CommandFailed without credentials."""
    if parts.verifier is None:
        raise CommandFailed("this process has no credentials of AWS")
    try:
        done = await verifications(parts, parts.verifier, hours * _HOUR).run()
    except BrokenOff as broken:
        raise CommandFailed(
            f"{broken.tally.done} accounts were verified again, then: {broken.reason}"
        ) from broken
    return f"{done.done} accounts were verified again, {done.failed} could not be\n"


REVERIFY = Command("reverify", "verify again the accounts whose turn it is", _add_arguments, _run)
