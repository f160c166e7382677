"""The command ``reseal`` of the security service."""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping

import orjson

from mesh.contract.catalogue import load_catalogue
from mesh.server.deployable import Command, CommandFailed, close_store, open_keys, open_store
from mesh.sql.resealing import Resealing
from services.security.settings import PACKAGE, SecuritySettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="tell what is left of older keys, and change nothing"
    )


async def _run(settings: SecuritySettings, arguments: argparse.Namespace) -> None:
    """Seal anew, and print what is left; CommandFailed if something cannot be opened."""
    catalogue = load_catalogue(PACKAGE)
    keys = open_keys(settings, catalogue)
    if keys is None:
        raise CommandFailed("there are no keys")
    store = await open_store(settings, catalogue, isolated=True)
    try:
        resealing = Resealing(store, keys)
        broken = 0 if arguments.check else await _with_bar(resealing)
        left = {
            "sealed_by_older_keys": _some(await resealing.waiting()),
            "hashed_by_older_keys": _some(await resealing.hashed()),
        }
    finally:
        await close_store(store)
    sys.stdout.write(orjson.dumps(left).decode() + "\n")
    if broken:
        raise CommandFailed(f"{broken} records have values that no key of the file opens")


async def _with_bar(resealing: Resealing) -> int:
    """Seal anew, tell how far that is, and give how many records cannot be opened."""
    # A process that serves never shows a bar.
    from rich import progress
    from rich.console import Console

    waiting, broken = await resealing.waiting(), Counter[str]()
    columns = (
        progress.TextColumn("{task.description:<32}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=sum(waiting.values()))
        async for step in resealing.run():
            broken[step.collection] += step.broken
            bar.update(task, description=step.collection, advance=step.sealed + step.broken)
    return broken.total()


def _some(counted: Mapping[str, int]) -> Mapping[str, int]:
    return {collection: count for collection, count in counted.items() if count}


RESEAL = Command(
    name="reseal",
    help="seal what older keys sealed by the first one of the file, as the owner of the tables",
    add_arguments=_add_arguments,
    run=_run,
)
