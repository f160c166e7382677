"""The commands ``verify-audit``, ``export-audit`` and ``audit-keys``."""

import argparse
import sys
import tempfile
from pathlib import Path

from mesh.server.deployable import Command, CommandFailed, open_owner
from services.crypto.audit.anchors import CHECKPOINTS, AnchorFailed
from services.crypto.audit.bundle import read_bundle
from services.crypto.audit.dump_store import dump_audit
from services.crypto.audit.report import add_output, printed
from services.crypto.audit.verifier import verify
from services.crypto.audit_upkeep import open_anchors, open_audit_keys
from services.crypto.settings import CryptoSettings


async def _verify(settings: CryptoSettings, arguments: argparse.Namespace) -> None:
    """Verify the database's audit; CommandFailed if it was tampered with."""
    keys, anchors = open_audit_keys(settings), open_anchors(settings)
    try:
        kept = await anchors.notes(CHECKPOINTS) if anchors else []
    except AnchorFailed as error:
        raise CommandFailed(str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        await _dump(settings, Path(folder))
        report = verify(read_bundle(Path(folder)), keys.public, kept)
    sys.stdout.write(printed(report, arguments.output))
    if not report.is_whole:
        raise CommandFailed("the audit was tampered with")


async def _export(settings: CryptoSettings, arguments: argparse.Namespace) -> None:
    """Write all that is needed to verify the audit elsewhere. CommandFailed, OSError."""
    folder: Path = arguments.folder
    _make(folder)
    count = await _dump(settings, folder)
    sys.stdout.write(f"{count} entries in {folder}\n")


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CommandFailed(f"{folder} is not empty")


async def _dump(settings: CryptoSettings, folder: Path) -> int:
    owner = open_owner(settings)
    if owner is None:
        raise CommandFailed("DATABASE_MIGRATE_URL is not set: the owner alone reads all entries")
    try:
        return await dump_audit(owner, folder)
    finally:
        await owner.dispose()


async def _keys(settings: CryptoSettings, _arguments: argparse.Namespace) -> None:
    """Print the public keys, for who verifies elsewhere. CommandFailed."""
    for key in open_audit_keys(settings).public:
        sys.stdout.write(f"{key.encoded()}\n")


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Settings alone say what is printed."""


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where to write; empty, or made")


AUDIT_COMMANDS = [
    Command("verify-audit", "name what was done to the audit, if anything", add_output, _verify),
    Command("export-audit", "write the audit for verification elsewhere", _folder, _export),
    Command("audit-keys", "print the public keys of the audit", _no_arguments, _keys),
]
