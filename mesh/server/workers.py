"""Several processes on one port: started by exec, watched, drained together.

The kernel gives each connection to one of them (SO_REUSEPORT, Linux). A caller of few connections
reaches few workers, so Envoy's are capped, and replicas with ports of their own share load better.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mesh.server.operations import ListenError
from mesh.server.settings import ServerSettings

LISTENING = "LISTENING "
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
"""Before a worker that died is started again; twice as long each time it dies young."""
YOUNG_SECONDS = 60.0
END_SECONDS = 10.0
"""Beyond drain and grace, until a worker that does not end is killed."""

_LOG = logging.getLogger(__name__)


class WorkerFailed(Exception):
    """A worker did not come up."""


class Workers:
    """The parent: it serves nothing itself, and the port is its own as long as it lives."""

    def __init__(
        self,
        settings: ServerSettings,
        command: Sequence[str],
        prefix: str,
        shared: Mapping[str, str],
    ) -> None:
        """Run ``command`` with settings of this ``prefix``, and what all workers share."""
        self._settings = settings
        self._command = tuple(command)
        self._prefix = prefix
        self._shared = dict(shared)
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = False

    async def run_until_signal(self) -> None:
        """Start all, say so in one line, restart who dies; drain all at SIGTERM or SIGINT.

        Raises ListenError, or WorkerFailed if one does not come up at first.
        """
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, signals.put_nowait, each)
        host, _, port = self._settings.listen.rpartition(":")
        with _reserved(host, int(port)) as taken:
            address = f"{host}:{taken}"
            numbers = range(self._settings.workers)
            try:
                said = await asyncio.gather(*(self._start(each, address) for each in numbers))
                line = {"address": address, "workers": said}
                print(LISTENING + json.dumps(line), flush=True)  # noqa: T201 - the start-up protocol
                watchers = [asyncio.create_task(self._keep(each, address)) for each in numbers]
                await signals.get()
                await self._stop(signals, watchers)
            finally:
                self._kill()

    async def _start(self, number: int, address: str) -> dict[str, str]:
        """Start a worker and give where its operators look. Raises WorkerFailed."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment(number, address),
            # Its end tells the worker that the parent is gone.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Signals of the terminal reach the parent, which drains in order.
            start_new_session=True,
        )
        self._running[number] = process
        if process.stdout is None:
            raise WorkerFailed(f"worker {number} has no output")
        line = (await process.stdout.readline()).decode()
        if not line.startswith(LISTENING):
            raise WorkerFailed(f"worker {number} ended with code {await process.wait()}")
        said: dict[str, str] = json.loads(line.removeprefix(LISTENING))
        del said["address"]
        return {"pid": str(process.pid), **said}

    def _environment(self, number: int, address: str) -> dict[str, str]:
        own = {"LISTEN": address, "WORKERS": "1", "SHARE_PORT": "true"}
        for purpose in ("admin", "channelz"):
            host, _, port = getattr(self._settings, purpose).rpartition(":")
            if port not in ("", "0"):
                own[purpose.upper()] = f"{host}:{int(port) + number}"
        prefixed = {self._prefix + name: value for name, value in own.items()}
        return {**os.environ, **self._shared, **prefixed}

    async def _keep(self, number: int, address: str) -> None:
        """Start a worker again whenever it ends by itself."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            born = time.monotonic()
            code = await self._running[number].wait()
            if self._stopping:
                return
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - born > YOUNG_SECONDS else pause
            fields = {"worker": number, "code": code, "pause_seconds": pause}
            _LOG.error("a worker died", extra={"fields": fields})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            if not self._stopping:
                with contextlib.suppress(WorkerFailed, OSError):  # then the loop waits longer
                    await self._start(number, address)

    async def _stop(
        self, signals: "asyncio.Queue[signal.Signals]", watchers: "Sequence[asyncio.Task[None]]"
    ) -> None:
        self._stopping = True
        self._send(signal.SIGTERM)
        waiting = asyncio.gather(*(each.wait() for each in self._running.values()))
        again = asyncio.create_task(signals.get())
        first: list[asyncio.Future[Any]] = [waiting, again]
        longest = self._settings.drain_seconds + self._settings.grace_seconds + END_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if again.done():  # a second signal stops at once
                    self._send(signal.SIGTERM)
                await waiting
        for task in (again, *watchers):
            task.cancel()
        await asyncio.gather(again, *watchers, return_exceptions=True)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)

    def _kill(self) -> None:
        self._send(signal.SIGKILL)


@contextlib.contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """Keep a port for our workers alone, without listening; give its number."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bare = host.removeprefix("[").removesuffix("]")
    with socket.socket(family) as probe, socket.socket(family) as kept:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Fails beside any other server, while sharing would succeed beside our like.
            probe.bind((bare, port))
            chosen = probe.getsockname()[1]
            probe.close()
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind((bare, chosen))
        except OSError as error:
            raise ListenError(f"{host}:{port}") from error
        yield chosen


def end_with_parent() -> None:
    """Drain this process when its standard input ends: the parent has died."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
