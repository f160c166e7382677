"""Child processes that end with their parent, even when it is killed."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LISTENING = "LISTENING "
WORKING = "WORKING "
"""In place of LISTENING, of a process that serves nobody."""
START_SECONDS = 180.0
STOP_SECONDS = 10.0


class ChildFailed(Exception):
    """A child ended or never came up; the message says which, and where its log is."""


class ChildSilent(ChildFailed):
    """It does not say that it is ready, and has not ended: whatever it holds it may hold still."""


class Reaper:
    """A small process that stops the children should this process be killed.

    It reads process ids from a pipe; the pipe's end without a farewell means
    that the parent is gone.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mesh.embedded.reaper",
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def adopt(self, pid: int) -> None:
        await self._tell(f"adopt {pid}\n")

    async def release(self, pid: int) -> None:
        await self._tell(f"release {pid}\n")

    async def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    async def _tell(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the reaper is not running")
        self._process.stdin.write(line.encode())
        await self._process.stdin.drain()


class Child:
    """One child process with its log file.

    Args:
        name: What the user calls it.
        command: Program and arguments; no shell is involved.
        environment: The whole environment of the child.
        log: File that receives its standard error, made anew with mode 0600.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None
        self._listening: asyncio.Future[dict[str, str]] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it was started and is over."""
        return self._process is not None and self._process.returncode is not None

    async def start(self, reaper: Reaper) -> None:
        descriptor = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=descriptor,
                # Ctrl-C reaches the parent alone, so that children stop in order.
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        await reaper.adopt(self._process.pid)
        self._listening = asyncio.get_running_loop().create_future()
        self._drain = asyncio.create_task(self._read_output(self._process))

    async def listening(self) -> dict[str, str]:
        """Wait until the child says where it listens, or that it works, and give its words.

        Raises ChildFailed if it ends first, ChildSilent if it says nothing for 180 s.
        """
        if self._listening is None:
            raise RuntimeError(f"{self.name} is not running")
        try:
            async with asyncio.timeout(START_SECONDS):
                return await asyncio.shield(self._listening)
        except TimeoutError:
            raise ChildSilent(f"{self.name} did not come up; its log: {self.log}") from None

    async def ended(self) -> int:
        """Wait for the child's end and give its exit code."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return await self._process.wait()

    async def stop(self, reaper: Reaper) -> None:
        """Ask the child to end; kill it if it takes longer than 10 s."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._drain is not None:
            await self._drain
        await reaper.release(process.pid)

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        """Read standard output to its end, so that the child never blocks on it."""
        if process.stdout is None or self._listening is None:
            raise RuntimeError(f"{self.name} has no output to read")
        async for raw in process.stdout:
            line = raw.decode(errors="replace")
            if line.startswith((LISTENING, WORKING)) and not self._listening.done():
                told = json.loads(line.partition(" ")[2])
                self._listening.set_result({name: str(each) for name, each in told.items()})
        if not self._listening.done():
            await process.wait()
            self._listening.set_exception(ChildFailed(self._last_words()))
            self._listening.exception()  # read here, for nobody may be waiting

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()[-5:]
        said = "\n  ".join(lines) or "(it said nothing)"
        return f"{self.name} ended before it was ready; its log, {self.log}, ends with:\n  {said}"
