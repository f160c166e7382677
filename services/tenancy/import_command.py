"""The command ``import-postgres``: the old system brought over, compared, written back."""

import argparse
from pathlib import Path

from mesh.server.program import Command
from services.tenancy.settings import TenancySettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fernet-keys",
        type=Path,
        required=True,
        metavar="FILE",
        help="file of its owner alone with the old system's keys, one in a line, the newest first",
    )
    parser.add_argument(
        "--ledger",
        type=Path,
        default=Path("tenancy-migration.ledger"),
        metavar="FILE",
        help="how far each row is; keep it until the old system is gone (default: %(default)s)",
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument(
        "--dry-run", action="store_true", help="read, decrypt and judge all rows; write none"
    )
    modes.add_argument(
        "--shadow", action="store_true", help="compare both systems and count the differences"
    )
    modes.add_argument(
        "--activate", action="store_true", help="have the imported schedules fire from now on"
    )
    modes.add_argument(
        "--export",
        action="store_true",
        help="the way back: write what is here into the old tables, in place of rows of its ids",
    )


async def _run(settings: TenancySettings, arguments: argparse.Namespace) -> None:
    """Do what is asked, and say what came of it. CommandFailed for rows that did not come."""
    # Only who comes from the old system pays for the driver of its database.
    from services.tenancy.import_run import run_import

    await run_import(settings, arguments)


IMPORT_POSTGRES = Command(
    "import-postgres",
    "bring the old system's tenants, accounts, credentials and schedules over; run it as often "
    "as it takes",
    _add_arguments,
    _run,
)
