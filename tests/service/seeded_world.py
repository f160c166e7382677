"""A security service on a database that the command ``seed`` filled."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh.embedded.postgres import Access
from tests.databases import security_database
from tests.service.security_world import World, served


class SeededWorld:
    """The service, its database, and commands of its operator."""

    def __init__(self, world: World, access: Access, home: Path) -> None:
        self.world = world
        self.access = access
        self.home = home
        self.environment = {
            **os.environ,
            "DATABASE_URL": access.application,
            "DATABASE_MIGRATE_URL": access.owner,
            "SECMESH_HOME": str(home),
            "SECMESH_SECURITY_SEALING_KEYS": str(home / "sealing.keys"),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the service and wait for its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Give the words of a command."""
        return [sys.executable, "-m", "services.security", *arguments]


@contextmanager
def seeded(home: Path, *tenants: str, records: int) -> Iterator[SeededWorld]:
    """Serve a database in which these tenants have records of every kind."""
    with security_database() as access, served(access, home) as world:
        made = SeededWorld(world, access, home)
        for tenant in tenants:
            done = made.run("seed", "--tenant", tenant, "--records", str(records), *UNTIL)
            assert done.returncode == 0, done.stderr
        yield made


UNTIL = ("--until", "2026-11-01")
