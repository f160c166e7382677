"""The embedded endpoint and the inventory service as processes of their own."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.sample.account import ANSWERS
from cli.sample.clients import ACCOUNT
from mesh.embedded.process import Child, Reaper
from mesh.identity.keys import JWKS_FILE, create_signing_key, sign_token

TENANT = "acme"
REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "embedded",
    "AWS_SECRET_ACCESS_KEY": "embedded",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Service:
    """A process that serves."""

    address: str
    pid: int
    token: str = ""


@asynccontextmanager
async def started(
    name: str, arguments: list[str], environment: dict[str, str], folder: Path
) -> AsyncIterator[tuple[dict[str, str], int]]:
    """Run a module until the block ends; gives where it listens and its process id."""
    reaper = Reaper()
    await reaper.start()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", *arguments]
    child = Child(name, command, kept | environment, folder / f"{name}.log")
    try:
        await child.start(reaper)
        yield await child.listening(), child.pid
    finally:
        await child.stop(reaper)
        await reaper.stop()


@asynccontextmanager
async def endpoint(folder: Path, delay: float = 0.0) -> AsyncIterator[str]:
    """Run the embedded endpoint; each call takes so many seconds longer."""
    arguments = ["mesh.embedded.aws", "--delay", str(delay), "--answers", str(ANSWERS)]
    async with started("aws", arguments, {}, folder) as (told, _):
        yield told["endpoint"]


@asynccontextmanager
async def inventory(endpoint_url: str, folder: Path) -> AsyncIterator[Service]:
    """Run the inventory service on an endpoint, its database and keys in a folder."""
    url = f"sqlite:///{folder / 'inventory.db'}"
    async with serving(url, folder, AWS_ENDPOINT_URL=endpoint_url) as service:
        yield service


@asynccontextmanager
async def serving(database: str, folder: Path, **more: str) -> AsyncIterator[Service]:
    """Run the inventory service on a database, its keys in a folder."""
    create_signing_key(folder)
    environment = {
        **CREDENTIALS,
        **more,
        "DATABASE_URL": database,
        "SECMESH_INVENTORY_LISTEN": "127.0.0.1:0",
        "SECMESH_INVENTORY_JWKS": str(folder / JWKS_FILE),
        "SECMESH_INVENTORY_ACCOUNTS": f"{TENANT}={ACCOUNT}",
    }
    arguments = ["services.inventory", "serve"]
    async with started("inventory", arguments, environment, folder) as (told, pid):
        token = sign_token(folder, subject="bench", tenant=TENANT, roles=["admin"])
        yield Service(told["address"], pid, token)
