"""The crypto service as a process of its own, on a PostgreSQL of its own with durable commits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.account.processes import started
from mesh.embedded.postgres import PostgresServer
from mesh.identity.keys import create_signing_key, sign_token
from services.crypto.migrations.roles import ROLES, SERVICE

TENANT = "acme"


@dataclass(frozen=True)
class Sealing:
    """A crypto service that serves, with the keys of its users in files."""

    address: str
    token: str
    pid: int
    postgres_pid: int


@asynccontextmanager
async def sealing(folder: Path, profile: Path | None = None) -> AsyncIterator[Sealing]:
    """Serve until the block ends, with the settings that it has by default.

    With ``profile`` under cProfile (``profiled.py``), which writes its findings there.
    """
    create_signing_key(folder / "keys")
    with PostgresServer(folder / "data") as postgres:
        access = postgres.create_isolated_database("crypto", groups=ROLES, joins=SERVICE)
        environment = {
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
            "SECMESH_HOME": str(folder),
        }
        module = "services.crypto" if profile is None else "benchmarks.sealing.profiled"
        if profile is not None:
            environment["PROFILE"] = str(profile)
        async with started("crypto", [module, "serve"], environment, folder) as (told, pid):
            token = sign_token(folder / "keys", subject="bench", tenant=TENANT, roles=["admin"])
            yield Sealing(told["address"], token, pid, postgres.pid)
