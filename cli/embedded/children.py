"""The child processes of the embedded mesh, started and stopped together."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path

from cli.embedded.folder import Folder
from mesh.embedded.process import Child, ChildFailed, Reaper


class Children:
    """Starts processes, waits for what they say, and stops those that run."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._reaper = Reaper()
        self._running: dict[str, Child] = {}
        self._settings: dict[str, Mapping[str, str]] = {}

    async def open(self) -> None:
        """Begin; from now on none outlives this process."""
        await self._reaper.start()

    async def start(self, name: str, command: Sequence[str], settings: Mapping[str, str]) -> Child:
        """Start a process. It has the plain environment and these settings."""
        self._settings[name] = settings
        child = Child(name, command, self.environment_of(name), self._folder.log / f"{name}.log")
        # Before it is started, so that it is stopped whenever the user leaves.
        self._running[name] = child
        await child.start(self._reaper)
        return child

    async def serve(self, name: str, settings: Mapping[str, str], *module: str) -> dict[str, str]:
        """Start ``python -m MODULE ...`` and give what it says when it is ready."""
        child = await self.start(name, [sys.executable, "-m", *module], settings)
        return await child.listening()

    async def finish(self, name: str, settings: Mapping[str, str], *module: str) -> None:
        """Run ``python -m MODULE ...`` to its end; ChildFailed if it ends badly."""
        child = await self.start(name, [sys.executable, "-m", *module], settings)
        code = await child.ended()
        # Its end is no reason to end with it.
        del self._running[name]
        if code:
            raise ChildFailed(f"{name} ended with code {code}; its log: {child.log}")

    def has_ended(self, name: str) -> bool:
        """Tell whether a process that was started is over."""
        return self._running[name].has_ended

    def environment_of(self, name: str) -> dict[str, str]:
        """Give the environment of a process that was started, for a command of its own."""
        return {
            **plain_environment(),
            "SECMESH_HOME": str(self._folder.path),
            "GRPC_VERBOSITY": "NONE",  # the logs are JSON; gRPC's core would write plain text
            **self._settings[name],
        }

    @property
    def running(self) -> Sequence[Child]:
        """All that were started."""
        return list(self._running.values())

    async def stop(self, *waves: Sequence[str]) -> None:
        """Stop those of each wave at once, one wave after the other; all others at last."""
        rest = [name for name in self._running if not any(name in wave for wave in waves)]
        for wave in (*waves, rest):
            named = (self._running[name] for name in wave if name in self._running)
            await asyncio.gather(*(each.stop(self._reaper) for each in named))
        await self._reaper.stop()


async def together(*work: Awaitable[None]) -> None:
    """Do all at once; when one fails or the caller is cancelled, the others are over, too."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def plain_environment() -> dict[str, str]:
    """Give the own environment without AWS settings, which belong to real accounts."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def envoy_command(config: Path) -> list[str]:
    """Give the command that runs Envoy from its wheel.

    Raises ChildFailed if the wheel has no build for this platform.
    """
    program = Path(sys.executable).parent / "envoy"
    if not program.exists():
        raise ChildFailed(
            "Envoy's wheel has no build for this platform; docs/DEPENDENCIES.md lists those it has"
        )
    return [str(program), "-c", str(config), "--log-level", "warning", "--use-dynamic-base-id"]
