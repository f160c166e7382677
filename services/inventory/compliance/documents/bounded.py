"""Foreign documents are taken apart in a process of their own, with a bound on time and memory.

A library that hangs or grows on a crafted file takes that process down and nothing else.
"""

import json
import os
import subprocess
import sys
from typing import Any

from services.inventory.compliance.documents.blocks import Block, DocumentRefused, Extract
from services.inventory.compliance.documents.limits import CPU_SECONDS, MEMORY_BYTES, WALL_SECONDS

_PROGRAM = "services.inventory.compliance.documents.take_apart"


def extract_bounded(kind: str, content: bytes) -> Extract:
    """Draw a document into blocks; ``kind`` is the format's name in the contract.

    Raises DocumentRefused if it cannot be read, or not within the bounds.
    """
    told = _run(kind, content)
    extract = Extract(told["title"])
    extract.notes = [(place, problem) for place, problem in told["notes"]]
    extract.blocks = [
        Block(place, tuple(cells), table, level) for place, cells, table, level in told["blocks"]
    ]
    return extract


def yaml_bounded(content: bytes) -> Any:
    """Read YAML into what JSON would be; raises DocumentRefused."""
    return _run("SSP_FORMAT_OSCAL_YAML", content)["document"]


def _run(kind: str, content: bytes) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", _PROGRAM, kind],
            input=content,
            capture_output=True,
            # No secret of this process is in reach of what reads a stranger's file.
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DocumentRefused(f"it could not be read within {WALL_SECONDS} seconds") from None
    if done.returncode:
        raise DocumentRefused(
            f"it could not be read within {CPU_SECONDS} seconds of computing "
            f"and {MEMORY_BYTES >> 20} MiB of memory"
        )
    told: dict[str, Any] = json.loads(done.stdout)
    if "problem" in told:
        raise DocumentRefused(told["problem"], told["place"])
    return told
