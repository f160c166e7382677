"""The libraries that ours is held against, in a process and an environment of their own."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.environment import PeerMissing, installed

REQUIREMENTS = (
    "aws-encryption-sdk==4.0.7",
    "tink==1.16.1",
    # What both stand on, and AES-GCM and Fernet are of, is the version that ours stands on.
    f"cryptography=={version('cryptography')}",
)
FOLDER = Path(__file__).parents[2] / ".venv-peers-crypto"
_SCRIPT = Path(__file__).with_name("peer_libraries.py")


class Peers:
    """The libraries, loaded and ready."""

    def __init__(self, process: asyncio.subprocess.Process, names: Sequence[str]) -> None:
        self._process = process
        self.names = names

    async def turn(self, name: str, operation: str) -> tuple[int, float]:
        """Let one seal or open values; give how many, and the CPU seconds. PeerMissing."""
        told = await _asked(self._process, f"{name} {operation}\n")
        return int(told["values"]), float(told["seconds"])


@asynccontextmanager
async def peers(folder: Path = FOLDER) -> AsyncIterator[Peers]:
    """Load the libraries until the block ends. Raises PeerMissing if one of them does not run."""
    python = await asyncio.to_thread(installed, folder, REQUIREMENTS)
    process = await asyncio.create_subprocess_exec(
        str(python),
        "-I",
        str(_SCRIPT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Peers(process, await _asked(process, ""))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _asked(process: asyncio.subprocess.Process, line: str) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line.encode())
    answer = await process.stdout.readline()
    if not answer:
        raise PeerMissing("a peer's library ended; what it said stands above")
    return json.loads(answer)
