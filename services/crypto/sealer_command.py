"""The command ``sealer``: the process that keeps the app key, apart from the service."""

import argparse

from pydantic import ValidationError

from mesh.server.deployable import Command, CommandFailed
from mesh.server.log import configure_logging
from services.crypto.custody.key_file import KeyFileError
from services.crypto.custody.process_hardening import forbid_memory_dumps
from services.crypto.custody.sealer_server import SealerInUse, SealerServer
from services.crypto.custody.sealer_settings import PREFIX, SealerSettings
from services.crypto.settings import CryptoSettings


def _add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It has no arguments: its settings are its own."""


async def _run(_settings: CryptoSettings, _arguments: argparse.Namespace) -> None:
    """Serve until a signal; CommandFailed for settings and files that cannot be used."""
    forbid_memory_dumps()
    try:
        settings = SealerSettings()
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        listed = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems]
        raise CommandFailed(f"settings {PREFIX}*: {'; '.join(listed)}") from error
    configure_logging(settings.log_level)
    try:
        await SealerServer(settings).run_until_signal()
    except (KeyFileError, SealerInUse) as error:
        raise CommandFailed(str(error)) from error


SEALER: Command[CryptoSettings] = Command(
    "sealer",
    f"keep the app key of tier 3 behind a UNIX socket; settings {PREFIX}SOCKET, "
    f"{PREFIX}APP_KEYS, {PREFIX}ENVIRONMENT, {PREFIX}VALUES_PER_SECOND, {PREFIX}TLS_*",
    _add_arguments,
    _run,
)
