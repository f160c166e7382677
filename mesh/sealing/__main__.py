"""Makes a file of sealing keys: ``python -m mesh.sealing FILE``."""

import argparse
import sys
from pathlib import Path

from mesh.sealing.keyring import KeyRingError, create_keys, read_keys


def main() -> int:
    """Make the file unless it is there, and give the exit code: 1 if it is no file of keys."""
    parser = argparse.ArgumentParser(
        prog="python -m mesh.sealing", description="Makes a file of keys."
    )
    parser.add_argument("file", type=Path, help="is left as it is if it is there")
    path = parser.parse_args().file
    try:
        create_keys(path)
        read_keys(path)
    except (KeyRingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
