"""Verifies an exported audit offline: ``python -m services.crypto.audit verify FOLDER --key KEY``.

It needs neither a database nor any other part of the service.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from services.crypto.audit.bundle import BundleBroken, read_bundle
from services.crypto.audit.note import NoteBroken, PublicKey
from services.crypto.audit.report import add_output, printed
from services.crypto.audit.verifier import verify

_NOTES = "*.note"
_WHOLE, _TAMPERED, _UNUSABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Verify and print; 0 if nothing was tampered with, 1 if something was, 2 if it cannot be."""
    arguments = _parser().parse_args(argv)
    try:
        notes = [
            path.read_text() for folder in arguments.anchors for path in sorted(folder.glob(_NOTES))
        ]
        report = verify(read_bundle(arguments.folder), arguments.key, notes)
    except (BundleBroken, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return _UNUSABLE
    sys.stdout.write(printed(report, arguments.output))
    return _WHOLE if report.is_whole else _TAMPERED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.crypto.audit", description="Verifies an exported audit offline."
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("verify", help="name what was done to the audit, if anything")
    command.add_argument("folder", type=Path, help="folder of an exported audit")
    command.add_argument(
        "--key",
        type=_key,
        action="append",
        required=True,
        help="public key that vouches for the audit, name+id+base64; any number of times",
    )
    command.add_argument(
        "--anchors",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder of checkpoints that were kept elsewhere; any number of times",
    )
    add_output(command)
    return parser


def _key(text: str) -> PublicKey:
    try:
        return PublicKey.decoded(text)
    except NoteBroken as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
