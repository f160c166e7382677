"""A service as a process: its command ``serve``, those of its own, and what all begin with."""

import argparse
import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from pydantic import ValidationError

from mesh.errors import Refusal
from mesh.identity.jwks import JwksInvalid
from mesh.server.garbage import kept_for_good
from mesh.server.log import configure_logging
from mesh.server.process_settings import ProcessSettings
from mesh.server.serve import ListenError, Server
from mesh.server.workers import WorkerFailed, Workers, end_with_parent
from mesh.telemetry.tracing import enable_tracing, wants_tracing
from mesh.tls import TlsInvalid

Settings = TypeVar("Settings", bound=ProcessSettings)
T = TypeVar("T")


class CommandFailed(Exception):
    """A command did not do what it was asked for; the message says why, without data."""


@dataclass(frozen=True)
class Command(Generic[Settings]):
    """A command of one service, beside those that all have."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Settings, argparse.Namespace], Awaitable[None]]
    """Does it; CommandFailed, and what else ends a command with one message."""


@dataclass(frozen=True)
class Program(Generic[Settings]):
    """What makes one service differ from another on the command line."""

    failures: ClassVar[tuple[type[Exception], ...]] = (
        OSError,
        CommandFailed,
        JwksInvalid,
        ListenError,
        Refusal,
        TlsInvalid,
        WorkerFailed,
    )
    """What ends a command with one message."""

    module: str
    """Python package that ``-m`` runs, such as ``services.inventory``."""
    package: str
    """Package of its contracts, such as ``secmesh.inventory.v1``."""
    purpose: str
    """What it does, in a sentence for ``--help``."""
    settings: type[Settings]
    build_server: Callable[[Settings], Awaitable[Server]]
    """Puts the service together, ready to start."""
    commands: Sequence[Command[Settings]] = ()

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run a command; give its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
        arguments = self._parser().parse_args(argv)
        commands = {each.name: each for each in (*self._shared(), *self.commands)}
        try:
            settings = self.settings()
        except ValidationError as error:
            for problem in self.settings.problems(error):
                sys.stderr.write(f"{problem}\n")
            return 2
        configure_logging(settings.log_level)
        if wants_tracing():
            enable_tracing(self.module.rpartition(".")[2])
        try:
            asyncio.run(awaited(commands[arguments.command].run(settings, arguments)))
        except self.failures as error:
            sys.stderr.write(f"{error}\n")
            return 1
        except KeyboardInterrupt:  # before it served, or in a command
            return 130
        return 0

    def _shared(self) -> Sequence[Command[Settings]]:
        """Give the commands that all services of this sort have."""
        return [
            Command("serve", "serve gRPC until SIGTERM or SIGINT", no_arguments, self._serve),
        ]

    async def _prepare(self, settings: Settings) -> None:
        """Find out what would keep every worker from serving."""

    def _parser(self) -> argparse.ArgumentParser:
        """Make the command line, whose every --help lists the settings."""
        shown: dict[str, Any] = {
            "epilog": f"settings, from the environment:\n{self.settings.describe()}",
            "formatter_class": argparse.RawDescriptionHelpFormatter,
        }
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}", description=self.purpose, **shown
        )
        commands = parser.add_subparsers(dest="command", required=True)
        for each in (*self._shared(), *self.commands):
            each.add_arguments(commands.add_parser(each.name, help=each.help, **shown))
        return parser

    async def _serve(self, settings: Settings, _arguments: argparse.Namespace) -> None:
        """Serve until a signal, then drain."""
        if settings.workers > 1:
            await self._serve_by_workers(settings)
            return
        with kept_for_good():
            server = await self.build_server(settings)
        if settings.share_port:
            end_with_parent()
        await server.run_until_signal()

    async def _serve_by_workers(self, settings: Settings) -> None:
        """Serve by several processes, which share the port and the key of page tokens."""
        await self._prepare(settings)
        prefix = settings.prefix()
        shared: Mapping[str, str] = {
            f"{prefix}PAGE_KEY": settings.page_key or secrets.token_hex(32)
        }
        command = [sys.executable, "-m", self.module, "serve"]
        await Workers(settings, command, prefix, shared).run_until_signal()


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add none: for commands that take no options."""


async def awaited(work: Awaitable[None]) -> None:
    """Do the work of a command, which asyncio takes as a coroutine alone."""
    await work


async def in_thread(work: Callable[[], T]) -> T:
    """Do what blocks, in a thread that the process does not wait for when it is interrupted."""
    # asyncio's own threads are waited for at the end of the loop.
    threads = ThreadPoolExecutor(1, "command")
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    finally:
        threads.shutdown(wait=False)


def end_process(status: int) -> NoReturn:
    """End at once: clean-up of threads that still wait for others must not hold up the end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
