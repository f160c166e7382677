"""Refuse contracts that break callers of the last release.

Run as ``python protos/breaking.py``. Compares the contracts of this tree with
those of the newest tag ``v*`` by ``buf breaking``; without such a tag there is
nothing to break. Exits with buf's own code.
"""

import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from generate import PROTOS, build_image

ROOT = PROTOS.parent


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def last_release() -> str | None:
    tags = git("tag", "--merged", "HEAD", "--list", "v*", "--sort=-version:refname").decode()
    return next(iter(tags.split()), None)


def compare(current: Path, released: Path, work: Path) -> int:
    """Compare two folders of contracts; 0 if nothing breaks."""
    build_image(work / "current.binpb", current)
    build_image(work / "released.binpb", released)
    buf = Path(sys.executable).parent / "buf"
    return subprocess.run(
        [
            str(buf),
            "breaking",
            str(work / "current.binpb"),
            "--against",
            str(work / "released.binpb"),
            "--config",
            str(ROOT / "buf.yaml"),
        ],
        check=False,
    ).returncode


def main() -> int:
    tag = last_release()
    if tag is None:
        print("no release yet: nothing to break")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with tarfile.open(fileobj=BytesIO(git("archive", tag, "protos"))) as archive:
            archive.extractall(work, filter="data")
        return compare(PROTOS, work / "protos", work)


if __name__ == "__main__":
    sys.exit(main())
