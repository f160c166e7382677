"""The commands ``create-tables`` and ``plan``: the six tables as they are to be."""

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from mesh.server.program import Command, CommandFailed, in_thread
from services.tenancy.settings import TenancySettings
from services.tenancy.store.create import Made, Tables, TablesFailed
from services.tenancy.store.dynamodb_client import EMBEDDED_READ_SECONDS, dynamodb_client
from services.tenancy.store.table_shapes import Step

T = TypeVar("T")


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Take the settings alone."""


async def _create(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    made = await in_thread(partial(created_tables, settings))
    _tell("done", made.done)
    _tell("not on this endpoint", made.refused)
    if not made.done:
        sys.stdout.write("the tables are as they are to be\n")


def created_tables(settings: TenancySettings) -> Made:
    """Make what is missing of the tables and wait; blocks. Raises CommandFailed."""
    return _with_tables(settings, Tables.create)


async def _plan(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    missing = await in_thread(partial(_with_tables, settings, Tables.plan))
    _tell("missing", missing)
    if not missing:
        sys.stdout.write("the tables are as they are to be\n")


def _with_tables(settings: TenancySettings, work: Callable[[Tables], T]) -> T:
    # Tables are made in seconds, which is long for a call.
    client = dynamodb_client(
        settings.aws_region,
        settings.store_endpoint,
        connections=1,
        read_seconds=EMBEDDED_READ_SECONDS,
    )
    tables = Tables(
        client,
        settings.table_names,
        kms_key=settings.tables_kms_key,
        lenient=bool(settings.store_endpoint),
    )
    try:
        return work(tables)
    except TablesFailed as error:
        raise CommandFailed(str(error)) from error
    finally:
        client.close()


def _tell(what: str, steps: Iterable[Step]) -> None:
    for step in steps:
        sys.stdout.write(f"{what}: {step}\n")


CREATE_TABLES = Command(
    "create-tables",
    "make the tables, or what is missing of them, and wait until they are there",
    _no_arguments,
    _create,
)
PLAN = Command("plan", "show what create-tables would do, and change nothing", _no_arguments, _plan)
TABLE_COMMANDS = (CREATE_TABLES, PLAN)
