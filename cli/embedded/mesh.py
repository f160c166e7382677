"""The embedded mesh: all processes on one machine, started at once and stopped in order."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import orjson

from cli.embedded.children import Children, envoy_command, plain_environment, together
from cli.embedded.database import Database
from cli.embedded.folder import Folder
from cli.embedded.platform import platform_credentials
from cli.embedded.ports import Ports
from cli.embedded.service_credentials import create_credentials
from cli.embedded.settings import PII_ROLES, PII_SERVICE_ROLES, Settings
from cli.sample.account import ANSWERS
from mesh.embedded.process import Child, ChildFailed, ChildSilent

READY_TRIES = 600
READY_PAUSE_SECONDS = 0.1
_STOPPED = (("envoy",), ("edge",), ("executor", "scheduler"), ("tenancy", "inventory"))
"""The front door first, so that nothing is asked of what has gone already; then who asks others."""


class EmbeddedMesh:
    """AWS endpoint, PostgreSQL, services, edge and Envoy, with their keys and state."""

    def __init__(self, home: Path, ports: Ports) -> None:
        self.folder = Folder(home)
        self._ports = ports
        self._children = Children(self.folder)
        self._database = Database(self.folder.path / "postgres")
        self.aws_endpoint = ""
        self.gateway = ""
        self.people_database = ""
        """URL of the crypto service's database, as the owner of its tables."""
        self.services: dict[str, str] = {}
        """Address of each service by its name."""
        self.admin: dict[str, dict[str, str]] = {}
        """Where operators look, by process and purpose."""

    @property
    def home(self) -> Path:
        """The folder of the state."""
        return self.folder.path

    @property
    def token_file(self) -> Path:
        """The user's token."""
        return self.folder.token

    @property
    def description(self) -> dict[str, object]:
        """What the READY line says."""
        return {
            "gateway": f"http://{self.gateway}",
            "grpc": self.gateway,
            "token_file": str(self.token_file),
            "services": self.services,
            "admin": self.admin,
        }

    async def __aenter__(self) -> Self:
        self.folder.take()
        try:
            await self._children.open()
            await self._start_all()
        except BaseException:  # a user who leaves now too must leave no process behind
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop_all()

    async def ready(self) -> None:
        """Wait until the gateway answers that every service serves.

        Raises ChildFailed after 60 s.
        """
        url = f"http://{self.gateway}/healthz"
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(READY_TRIES):
                if await _healthy(client, url):
                    self.folder.ready.write_bytes(orjson.dumps(self.description))
                    return
                await asyncio.sleep(READY_PAUSE_SECONDS)
        raise ChildFailed(f"{url} does not turn healthy; logs: {self.folder.log}")

    async def first_death(self) -> str:
        """Wait until a child ends by itself; give a sentence that names it and its log."""
        watched: list[Child | Database] = [*self._children.running, self._database]
        waiting = {asyncio.create_task(each.ended()): each for each in watched}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        task = next(iter(done))
        child = waiting[task]
        return f"{child.name} ended with code {task.result()}; its log: {child.log}"

    def environment_of(self, name: str) -> dict[str, str]:
        """Give the environment of a process that was started, for a command of its own."""
        return self._children.environment_of(name)

    async def _start_all(self) -> None:
        addresses = self._ports.addresses()
        self.gateway = addresses["gateway"]
        settings = Settings(self.folder, addresses)
        self.services = settings.services()
        config = self.home / "envoy.yaml"
        await together(
            self._start_with_aws(settings),
            self._start_with_database(settings),
            self._start_edge(settings),
        )
        await self._children.start("envoy", envoy_command(config), {})

    async def _start_with_aws(self, settings: Settings) -> None:
        """Start the AWS endpoint, and what needs no more than that."""
        aws = await self._children.serve("aws", {}, "mesh.embedded.aws", "--answers", str(ANSWERS))
        self.aws_endpoint = endpoint = aws["endpoint"]
        await together(
            self._serve("inventory", settings.inventory(endpoint)), self._start_tenancy(settings)
        )

    async def _start_tenancy(self, settings: Settings) -> None:
        endpoint = self.aws_endpoint
        session = await asyncio.to_thread(platform_credentials, endpoint)
        await self._serve("tenancy", settings.tenancy(endpoint, session))
        await asyncio.to_thread(create_credentials, self.folder, self.services["tenancy"])
        # These find the tables that the service has made.
        await together(
            self._work("scheduler", settings.scheduler(endpoint, session)),
            self._work("executor", settings.executor(endpoint, session)),
        )

    async def _start_with_database(self, settings: Settings) -> None:
        """Start PostgreSQL, and the services that keep their data there."""
        await self._database.start()
        security = await self._database.open("security")
        crypto = await self._database.open("crypto", PII_ROLES, PII_SERVICE_ROLES)
        self.people_database = crypto.owner
        await together(
            self._serve_current("security", settings.security(security)),
            self._serve_current("crypto", settings.crypto(crypto)),
        )

    async def _start_edge(self, settings: Settings) -> None:
        edge = await self._children.serve("edge", settings.edge(), "gateway", "serve")
        await self._render(edge, settings)

    async def _serve(self, name: str, settings: Mapping[str, str]) -> None:
        told = await self._children.serve(name, settings, f"services.{name}", "serve")
        self.services[name] = told.pop("address")
        self.admin[name] = told

    async def _serve_current(self, name: str, settings: Mapping[str, str]) -> None:
        """Serve; a database that an earlier release left is brought to this one first.

        Elsewhere that is its operator's decision. Here nobody else uses it, and it can be
        reached no other way. Nothing that loses data is done.
        """
        try:
            await self._serve(name, settings)
        except ChildSilent:
            raise
        except ChildFailed as first:
            if not self._children.has_ended(name):
                raise  # it is slow: another one would meet it
            migrate = (f"services.{name}", "migrate", "--apply")
            try:
                await self._children.finish(f"{name}-migrate", settings, *migrate)
            except ChildFailed:
                raise first from None
            await self._serve(name, settings)

    async def _work(self, name: str, settings: Mapping[str, str]) -> None:
        """Start a worker of the tenancy service, which is called by its command."""
        told = await self._children.serve(name, settings, "services.tenancy", name)
        told.pop("process")
        self.admin[name] = told

    async def _render(self, edge: Mapping[str, str], settings: Settings) -> None:
        """Have the gateway write Envoy's configuration into the home."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "render", "--into", str(self.home)),
            *(f"--service={each}" for each in settings.named_services()),
            *("--issuers", settings.issuers),
            *("--edge-authz", edge["authz"], "--edge-http", edge["http"]),
            *("--listen", self.gateway),
            env=plain_environment(),
            stderr=asyncio.subprocess.PIPE,
        )
        _, problem = await process.communicate()
        if process.returncode:
            raise ChildFailed(f"the gateway's configuration: {problem.decode(errors='replace')}")

    async def _stop_all(self) -> None:
        await self._children.stop(*_STOPPED)
        await self._database.stop()
        self.folder.leave()


async def _healthy(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
