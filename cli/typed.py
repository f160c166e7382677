"""Text from a file or from standard input, so that no secret stands on a command line."""

import sys
from pathlib import Path

from cli.connection import UsageProblem

_STDIN = Path("-")


def read_text(path: Path) -> str:
    """Read a file, or standard input for ``-``; UsageProblem says only what went wrong."""
    try:
        return sys.stdin.read() if path == _STDIN else path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageProblem(f"{path} cannot be read: {type(problem).__name__}") from None
