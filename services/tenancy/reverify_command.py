"""The command ``reverify``: one pass over all accounts, to be run each day."""

import argparse
import sys

from mesh.server.program import Command, CommandFailed
from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_ACTIVE
from services.tenancy.assembly import open_parts
from services.tenancy.onboarding.daily import reverify_all
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings

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
    tenants = parts.tenants.listed(TENANT_STATUS_ACTIVE)
    done = await reverify_all(parts.store, parts.verifier, tenants, hours * _HOUR)
    return f"{done.accounts} accounts of {done.tenants} tenants were verified again\n"


REVERIFY = Command("reverify", "verify again the accounts whose turn it is", _add_arguments, _run)
