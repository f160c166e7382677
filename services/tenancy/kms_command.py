"""The command ``setup-kms``: the keys of secrets and tables, renewed by AWS each year."""

import argparse
import sys
from functools import partial

import boto3

from mesh.server.program import Command, CommandFailed, in_thread
from services.tenancy.kms_setup import KeyDone, KeySetup, KeysFailed, WantedKey
from services.tenancy.settings import TenancySettings


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Take the settings alone."""


async def _run(settings: TenancySettings, _arguments: argparse.Namespace) -> None:
    for done in await in_thread(partial(keys_set_up, settings)):
        sys.stdout.write(f"{done}\n")


def keys_set_up(settings: TenancySettings) -> list[KeyDone]:
    """Make what is missing of the keys; blocks. Raises CommandFailed."""
    wanted = [WantedKey(settings.secrets_kms_key, "Credentials of tenants in Secrets Manager")]
    if settings.tables_kms_key:
        wanted.append(WantedKey(settings.tables_kms_key, "Tables of the tenancy service"))
    client = boto3.client(
        "kms",
        region_name=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url or None,
    )
    try:
        return KeySetup(client).run(wanted)
    except KeysFailed as error:
        raise CommandFailed(str(error)) from error
    finally:
        client.close()


SETUP_KMS = Command(
    "setup-kms",
    "make the KMS keys of secrets and tables, or what is missing of them: yearly rotation, aliases",
    _no_arguments,
    _run,
)
