"""The peers' own environments, apart from ours: made once, made anew for another version."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".venv-peers"
PEER = "prowler"
VERSION = "5.46.0"
_MADE = "made-of"


class PeerMissing(Exception):
    """The peer cannot be run; the message says why."""


def peer(folder: Path = FOLDER, requirement: str = f"{PEER}=={VERSION}") -> Path:
    """Give the peer's program, installed from the package index if it is not yet.

    Raises PeerMissing with the installer's last words.
    """
    return installed(folder, (requirement,), PEER)


def installed(folder: Path, requirements: Sequence[str], program: str = "python") -> Path:
    """Give a program of an environment of exactly these requirements; PeerMissing."""
    wanted, found, made = " ".join(requirements), folder / "bin" / program, folder / _MADE
    if found.is_file() and made.is_file() and made.read_text() == wanted:
        return found
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise PeerMissing("uv is not installed: it comes with the extra `dev`")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {wanted} into {folder.name} ...", flush=True)
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *requirements])
    if not found.is_file():
        raise PeerMissing(f"{wanted} brings no program {program}")
    made.write_text(wanted)
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerMissing(f"{' '.join(command[1:3])} failed:\n{done.stderr.strip()[-2000:]}")
