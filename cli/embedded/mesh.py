"""The processes of a mesh on one machine, started and stopped in order."""

import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx
import orjson

from cli.embedded.database import Database
from mesh.embedded.process import Child, ChildFailed, Reaper
from mesh.identity.keys import create_signing_key, sign_token
from mesh.sealing.keyring import create_keys

TENANT = "acme"
API_KEYS_FILE = "api_keys.json"
"""In the folder of the keys."""
REGION = "us-east-1"
ACCOUNT = "123456789012"
"""The account that the embedded AWS endpoint answers for."""
TOKEN_LIFETIME = timedelta(hours=12)
READY_TRIES = 600
READY_PAUSE_SECONDS = 0.1
PII_SERVICE_ROLES = ("pii_write", "pii_audit", "pii_audit_append")
"""Roles of the crypto service's database that the service joins."""
PII_ROLES = ("pii_read", *PII_SERVICE_ROLES)
# The embedded endpoint takes any credentials; real ones must not reach it.
EMBEDDED_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "embedded",
    "AWS_SECRET_ACCESS_KEY": "embedded",
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class PortTaken(Exception):
    """Another program listens where the mesh should."""


class HomeTaken(Exception):
    """Another mesh uses the same folder."""


@dataclass(frozen=True)
class Ports:
    """Where the mesh listens on loopback; 0 means any free port."""

    gateway: int = 8080
    inventory: int = 0
    security: int = 0
    crypto: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        def port(name: str, default: int) -> int:
            text = environment.get(f"SECMESH_{name}_PORT", str(default))
            if not text.isdecimal() or int(text) > 65535:
                raise PortTaken(f"SECMESH_{name}_PORT is {text!r}, which is no port")
            return int(text)

        services = (port(name, 0) for name in ("INVENTORY", "SECURITY", "CRYPTO"))
        return cls(port("GATEWAY", cls.gateway), *services)


def free_port(wanted: int, name: str) -> int:
    """Give the port if nothing listens there, or any free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise PortTaken(
                f"port {wanted} is taken ({error.strerror}); choose another by "
                f"SECMESH_{name}_PORT, 0 for any"
            ) from None
        port: int = probe.getsockname()[1]
        return port


class EmbeddedMesh:
    """AWS endpoint, PostgreSQL, services, edge and Envoy, with their keys and state."""

    def __init__(self, home: Path, ports: Ports) -> None:
        self.home = home.absolute()
        self._ports = ports
        self._reaper = Reaper()
        self._children: list[Child] = []
        self._database = Database(self.home / "postgres")
        self._lock: IO[str] | None = None
        self.aws_endpoint = ""
        self.gateway = ""
        self.people_database = ""
        """URL of the crypto service's database, as the owner of its tables."""
        self._settings: dict[str, dict[str, str]] = {}
        self.services: dict[str, str] = {}
        """Address of each service by its name."""
        self.admin: dict[str, dict[str, str]] = {}
        """Where operators look, by service and purpose."""

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    @property
    def token_file(self) -> Path:
        return self.home / "token"

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
        self._prepare_home()
        try:
            await self._reaper.start()
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
                    (self.home / "ready.json").write_bytes(orjson.dumps(self.description))
                    return
                await asyncio.sleep(READY_PAUSE_SECONDS)
        raise ChildFailed(f"{url} does not turn healthy; logs: {self.home / 'log'}")

    async def first_death(self) -> str:
        """Wait until a child ends by itself; give a sentence that names it and its log."""
        watched: list[Child | Database] = [*self._children, self._database]
        waiting = {asyncio.create_task(each.ended()): each for each in watched}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        task = next(iter(done))
        child = waiting[task]
        return f"{child.name} ended with code {task.result()}; its log: {child.log}"

    def _prepare_home(self) -> None:
        for folder in (self.home, self.home / "log"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (self.home / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise HomeTaken(
                f"another `secmesh up` uses {self.home}; give this one its own SECMESH_HOME"
            ) from None
        try:
            create_signing_key(self.keys)
        except ValueError:
            raise ChildFailed(
                f"{self.keys} holds no usable signing key; remove it to have another made"
            ) from None
        token = sign_token(
            self.keys,
            subject="operator",
            tenant=TENANT,
            roles=["admin", "platform"],
            lifetime=TOKEN_LIFETIME,
        )
        descriptor = os.open(self.token_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.fchmod(descriptor, 0o600)  # whatever mode an older file had
        with os.fdopen(descriptor, "w") as file:
            file.write(token)

    async def _start_all(self) -> None:
        gateway_port = free_port(self._ports.gateway, "GATEWAY")
        inventory_port = free_port(self._ports.inventory, "INVENTORY")
        security_port = free_port(self._ports.security, "SECURITY")
        crypto_port = free_port(self._ports.crypto, "CRYPTO")
        aws = await self._start("aws", [sys.executable, "-m", "mesh.embedded.aws"], {})
        await self._database.start()
        security = await self._start_service("security", security_port, await self._security())
        crypto = await self._start_service("crypto", crypto_port, await self._crypto())
        self.aws_endpoint = (await aws.listening())["endpoint"]
        inventory = await self._start_service(
            "inventory", inventory_port, self._inventory(f"127.0.0.1:{security_port}")
        )
        for child in (inventory, security, crypto):
            listening = await child.listening()
            self.services[child.name] = listening.pop("address")
            self.admin[child.name] = listening
        named = [f"{name}={address}" for name, address in self.services.items()]
        edge = await self._start(
            "edge",
            [sys.executable, "-m", "gateway", "serve"],
            {
                "SECMESH_GATEWAY_SERVICES": ",".join(named),
                "SECMESH_GATEWAY_JWKS": str(self.keys / "jwks.json"),
                "SECMESH_GATEWAY_SIGNING_KEYS": str(self.keys),
                "SECMESH_GATEWAY_API_KEYS": str(self.keys / API_KEYS_FILE),
            },
        )
        self.gateway = f"127.0.0.1:{gateway_port}"
        config = await self._render(await edge.listening())
        await self._start("envoy", envoy_command(config), {})

    def _inventory(self, security: str) -> dict[str, str]:
        """Give the settings of the inventory service that no other has."""
        return {
            **EMBEDDED_CREDENTIALS,
            "AWS_ENDPOINT_URL": self.aws_endpoint,
            "DATABASE_URL": f"sqlite:///{self.home / 'inventory.db'}",
            "SECMESH_INVENTORY_ACCOUNTS": f"{TENANT}={ACCOUNT}",
            "SECMESH_INVENTORY_SECURITY_ADDRESS": security,
        }

    async def _security(self) -> dict[str, str]:
        """Give the settings of the security service that no other has."""
        access = await self._database.open("security")
        sealing = self.keys / "sealing.keys"
        create_keys(sealing)
        return {
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
            "SECMESH_SECURITY_SEALING_KEYS": str(sealing),
        }

    async def _crypto(self) -> dict[str, str]:
        """Give the settings of the crypto service that no other has; it makes its keys itself."""
        access = await self._database.open("crypto", PII_ROLES, PII_SERVICE_ROLES)
        self.people_database = access.owner
        return {"DATABASE_URL": access.application, "DATABASE_MIGRATE_URL": access.owner}

    async def _start_service(self, name: str, port: int, settings: dict[str, str]) -> Child:
        prefix = f"SECMESH_{name.upper()}"
        common = {
            f"{prefix}_LISTEN": f"127.0.0.1:{port}",
            f"{prefix}_JWKS": str(self.keys / "jwks.json"),
            f"{prefix}_ADMIN": "127.0.0.1:0",
            f"{prefix}_CHANNELZ": "127.0.0.1:0",
        }
        command = [sys.executable, "-m", f"services.{name}", "serve"]
        return await self._start(name, command, common | settings)

    def environment_of(self, name: str) -> dict[str, str]:
        """Give the environment of a process that was started, for a command of its own."""
        return {
            **_plain_environment(),
            "SECMESH_HOME": str(self.home),
            "GRPC_VERBOSITY": "NONE",  # the logs are JSON; gRPC's core would write plain text
            **self._settings[name],
        }

    async def _start(self, name: str, command: list[str], settings: dict[str, str]) -> Child:
        self._settings[name] = settings
        log = self.home / "log" / f"{name}.log"
        child = Child(name, command, self.environment_of(name), log)
        await child.start(self._reaper)
        self._children.append(child)
        return child

    async def _render(self, edge: Mapping[str, str]) -> Path:
        """Have the gateway write Envoy's configuration into the home."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "render", "--into", str(self.home)),
            *(f"--service={name}={address}" for name, address in self.services.items()),
            *("--edge-authz", edge["authz"], "--edge-http", edge["http"]),
            *("--listen", self.gateway),
            env=_plain_environment(),
            stderr=asyncio.subprocess.PIPE,
        )
        _, problem = await process.communicate()
        if process.returncode:
            raise ChildFailed(f"the gateway's configuration: {problem.decode(errors='replace')}")
        return self.home / "envoy.yaml"

    async def _stop_all(self) -> None:
        # The front door first, so that nothing is asked of what has gone already.
        for child in reversed(self._children):
            await child.stop(self._reaper)
        await self._database.stop()
        await self._reaper.stop()
        (self.home / "ready.json").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


async def _healthy(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _plain_environment() -> dict[str, str]:
    """The own environment without AWS settings, which belong to real accounts."""
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
