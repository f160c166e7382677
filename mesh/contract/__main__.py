"""Commands over the contracts: ``python -m mesh.contract errors``."""

import argparse
import sys
from collections.abc import Sequence

from mesh.contract.reasons import COMMITTED, ReasonUndocumented, reference


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0 done, 1 refused, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m mesh.contract", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    errors = commands.add_parser("errors", help="print the reference of all error reasons")
    action = errors.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write it to docs/errors.md")
    action.add_argument("--check", action="store_true", help="fail if the committed one differs")
    arguments = parser.parse_args(argv)
    try:
        wanted = reference()
    except ReasonUndocumented as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    if arguments.write:
        COMMITTED.write_text(wanted)
    elif not arguments.check:
        sys.stdout.write(wanted)
    elif not COMMITTED.exists() or COMMITTED.read_text() != wanted:
        sys.stderr.write("docs/errors.md is old; run: python -m mesh.contract errors --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
