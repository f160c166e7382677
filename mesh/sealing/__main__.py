"""Makes a file of sealing keys, or changes one: ``python -m mesh.sealing FILE``."""

import argparse
import sys
from pathlib import Path

from mesh.sealing.keyring import KeyRingError, add_key, create_keys, put_first, read_keys


def main() -> int:
    """Make the file unless it is there, and give the exit code: 1 if it is no file of keys."""
    parser = argparse.ArgumentParser(
        prog="python -m mesh.sealing", description="Makes a file of keys, or changes one."
    )
    parser.add_argument("file", type=Path, help="is left as it is if it is there")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--new-key", action="store_true", help="add a key that seals, last")
    change.add_argument("--new-pepper", action="store_true", help="add a key that hashes, last")
    change.add_argument("--first", metavar="KEY_ID", help="let this key seal, or hash, from now on")
    arguments = parser.parse_args()
    path = arguments.file
    try:
        if arguments.new_key or arguments.new_pepper:
            sys.stdout.write(f"{add_key(path, hashes=arguments.new_pepper)}\n")
            return 0
        if arguments.first:
            put_first(path, arguments.first)
            return 0
        create_keys(path)
        read_keys(path)
    except (KeyRingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
