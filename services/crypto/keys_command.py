"""The command ``create-keys``: makes the files of keys that the settings name."""

import argparse
import sys

from mesh.server.deployable import Command
from services.crypto.assembly import create_app_keys
from services.crypto.audit_keys import create_audit_keys
from services.crypto.settings import CryptoSettings


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Settings alone say what is made."""


async def _run(settings: CryptoSettings, _arguments: argparse.Namespace) -> None:
    """Make each file that is not there, and say so. OSError."""
    for path, create in (
        (settings.app_key_file, create_app_keys),
        (settings.audit_key_file, create_audit_keys),
    ):
        made = create(path)
        sys.stdout.write(f"{'made' if made else 'kept'} {path}\n")


CREATE_KEYS = Command("create-keys", "make the files of keys that are missing", _no_arguments, _run)
