"""Folders in memory: only where there is plenty, and none is left by who was killed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.memory_folder import PREFIX, quick_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.memory_folder import quick_folder
print(quick_folder(Path(sys.argv[1]), 0), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    mine = quick_folder(tmp_path, 0)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    left = Path(done.stdout.strip())
    assert left.parent == tmp_path
    assert left.is_dir()
    made = quick_folder(tmp_path, 0)
    assert {each.name for each in tmp_path.iterdir()} == {"others", mine.name, made.name}


@pytest.mark.parametrize("enough", [0, 1 << 60])
def test_without_memory_it_lies_on_the_disk(tmp_path: Path, enough: int) -> None:
    memory = tmp_path if enough else tmp_path / "none"
    made = quick_folder(memory, enough)
    assert made.parent == Path(tempfile.gettempdir())
    assert made.name.startswith(PREFIX)
    made.rmdir()
