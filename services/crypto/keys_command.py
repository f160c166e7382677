"""The command ``create-keys``: makes files of keys, or the next version of the app key."""

import argparse
import sys

from mesh.server.deployable import Command, CommandFailed
from services.crypto.assembly import create_app_keys
from services.crypto.audit_keys import create_audit_keys
from services.crypto.custody.key_file import KeyFileError
from services.crypto.custody.next_app_key import add_to_file, add_to_secret
from services.crypto.settings import CryptoSettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--next-app-key",
        action="store_true",
        help="add the next version of the app key to its file or secret, for a rotation; all that "
        "is there stays",
    )


async def _run(settings: CryptoSettings, arguments: argparse.Namespace) -> None:
    """Make what is wanted, and say so. OSError, CommandFailed."""
    if arguments.next_app_key:
        try:
            sys.stdout.write(f"added {_next_app_key(settings)}\n")
        except KeyFileError as error:
            raise CommandFailed(str(error)) from error
        return
    for path, create in (
        (settings.app_key_file, create_app_keys),
        (settings.audit_key_file, create_audit_keys),
    ):
        made = create(path)
        sys.stdout.write(f"{'made' if made else 'kept'} {path}\n")


def _next_app_key(settings: CryptoSettings) -> str:
    """Add it where the settings say; give its id and that place."""
    if settings.app_key_secret:
        import boto3  # takes a tenth of a second to load

        client = boto3.client(
            "secretsmanager",
            region_name=settings.aws_region,
            endpoint_url=settings.aws_endpoint or None,
        )
        try:
            return f"{add_to_secret(client, settings.app_key_secret)} to the secret"
        finally:
            client.close()
    if settings.sealer_socket is not None and settings.app_keys is None:
        raise CommandFailed("the sealer keeps the app keys: name its file, SECMESH_CRYPTO_APP_KEYS")
    return f"{add_to_file(settings.app_key_file)} to {settings.app_key_file}"


CREATE_KEYS = Command(
    "create-keys",
    "make the files of keys that are missing, or the next version of the app key",
    _add_arguments,
    _run,
)
