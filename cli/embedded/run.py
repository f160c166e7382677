"""Runs the embedded mesh until the user leaves or a child dies."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import orjson

from cli.connection import home
from cli.embedded.errors import StoryFailed
from cli.embedded.folder import HomeTaken
from cli.embedded.mesh import EmbeddedMesh
from cli.embedded.ports import Ports, PortTaken
from cli.embedded.story import tell
from cli.exit_codes import ExitCode
from cli.output import talk
from mesh.embedded.process import ChildFailed


def run(*, story: bool) -> ExitCode:
    """Start, show the main job, serve; give the exit code."""
    os.umask(0o077)  # state, logs and configuration are the user's alone, those of children too
    try:
        return asyncio.run(_run(story))
    except (PortTaken, HomeTaken, ChildFailed, StoryFailed) as problem:
        talk.print(str(problem), style="bold red", markup=False)
        return ExitCode.REFUSED
    except KeyboardInterrupt:  # before the mesh was up
        return ExitCode.DONE


async def _run(story: bool) -> ExitCode:
    ports = Ports.from_environment(os.environ)
    async with EmbeddedMesh(home(), ports) as mesh:
        leave = asyncio.create_task(_signal())
        died = asyncio.create_task(mesh.first_death())
        try:
            await _unless(died, leave, mesh.ready())
            if story and not leave.done():
                await _unless(died, leave, asyncio.to_thread(tell, mesh))
            if not leave.done():
                _announce(mesh)
            await asyncio.wait({leave, died}, return_when=asyncio.FIRST_COMPLETED)
            if died.done() and not leave.done():
                raise ChildFailed(died.result())
        finally:
            for task in (leave, died):
                task.cancel()
        talk.print("stopping", style="dim")
    return ExitCode.DONE


async def _unless(
    died: asyncio.Task[str], leave: asyncio.Task[None], work: Coroutine[Any, Any, None]
) -> None:
    """Do the work, but no longer than until a child dies or the user leaves."""
    task = asyncio.create_task(work)
    await asyncio.wait({task, died, leave}, return_when=asyncio.FIRST_COMPLETED)
    if died.done() and not leave.done():
        task.cancel()
        raise ChildFailed(died.result())
    if task.done():
        task.result()
    else:
        task.cancel()


async def _signal() -> None:
    """Wait for Ctrl-C or a request to end."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()


def _announce(mesh: EmbeddedMesh) -> None:
    """Write the one line that scripts wait for."""
    line = b"READY " + orjson.dumps(mesh.description)
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
