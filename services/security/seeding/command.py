"""``python -m services.security seed``: fills a tenant with made-up records of every kind."""

import argparse
import sys
from datetime import UTC, datetime

from mesh.contract.catalogue import load_catalogue
from mesh.server.deployable import CommandFailed, close_store, open_store
from services.security.command_arguments import tenant_argument
from services.security.seeding.records import Chance, SeedProblem
from services.security.seeding.seeder import Report, Seeder
from services.security.settings import PACKAGE, SecuritySettings

_MOST = 100_000_000


def add_seed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--tenant", required=True, type=tenant_argument, help="whose records they are"
    )
    parser.add_argument(
        "--records",
        type=_count,
        default=1000,
        metavar="N",
        help="records in all, at least one of each kind; findings and logs have the most (1000)",
    )
    parser.add_argument("--seed", type=int, default=1, help="another number, other records (1)")
    parser.add_argument(
        "--until",
        type=_day,
        default=None,
        metavar="DAY",
        help="the day, such as 2026-11-30, before which all of it happened (today)",
    )


async def run_seed(settings: SecuritySettings, arguments: argparse.Namespace) -> None:
    """Write the records, and tell how far that is; CommandFailed if some were refused."""
    now = datetime.now(UTC)
    until = arguments.until or now.replace(hour=0, minute=0, second=0, microsecond=0)
    chance = Chance(arguments.seed, int(until.timestamp()), arguments.records)
    catalogue = load_catalogue(PACKAGE)
    store = await open_store(settings, catalogue, isolated=True)
    try:
        seeder = Seeder(store, catalogue, arguments.tenant, chance)
        report = await _with_bar(seeder)
    except SeedProblem as problem:
        raise CommandFailed(str(problem)) from problem
    finally:
        await close_store(store)
    counts = ", ".join(f"{count} {word}" for word, count in sorted(report.outcomes.items()))
    sys.stdout.write(f"{arguments.tenant}: {counts}\n")
    if report.problems:
        raise CommandFailed("\n".join(report.problems))


async def _with_bar(seeder: Seeder) -> Report:
    # A process that serves never shows a bar.
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description:<32}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=sum(seeder.shares.values()))

        def told(collection: str, count: int) -> None:
            bar.update(task, description=collection, advance=count)

        return await seeder.run(told)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {_MOST}")
    return int(text)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day such as 2026-11-30") from None
