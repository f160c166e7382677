"""A security service on a database of made-up records."""

import argparse
import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

from mesh.embedded.postgres import Access
from mesh.server.deployable import Deployable, awaited, close_store, open_store
from services.security.__main__ import SECURITY
from services.security.seeding.records import Chance
from services.security.seeding.seeder import Seeder
from services.security.settings import SecuritySettings
from tests.databases import security_database
from tests.derived import tables_of
from tests.service.security_world import CATALOGUE, World, served

AUDITED = {"audit_chains", "iam_audit_logs"}
UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
TABLES = tables_of(CATALOGUE, isolated=True)


class SeededWorld:
    """The service, its database, and commands of its operator."""

    def __init__(self, world: World, access: Access, home: Path) -> None:
        self.world = world
        self.access = access
        self.home = home

    @property
    def settings(self) -> SecuritySettings:
        return settings_of(self.access, self.home)

    def run(
        self, *arguments: str, access: Access | None = None, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of the service within this process, which is faster than one of its own."""
        command = next(each for each in SECURITY.commands if each.name == arguments[0])
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        settings = settings_of(access or self.access, self.home, **more)
        status, told, problem = 0, io.StringIO(), ""
        with redirect_stdout(told):
            try:
                asyncio.run(awaited(command.run(settings, parser.parse_args(arguments[1:]))))
            except Deployable.failures as error:
                status, problem = 1, str(error)
        return subprocess.CompletedProcess(arguments, status, told.getvalue(), problem)

    def process(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command as its operator does."""
        return subprocess.run(
            [sys.executable, "-m", "services.security", *arguments],
            env=environment_of(self.access, self.home),
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    def content(self, tenant: str, access: Access | None = None) -> dict[str, tuple[int, str]]:
        """Give number and digest of a tenant's rows, by table of records.

        Not of the audit log, which the service goes on to write.
        """
        found = {}
        content = SQL(
            "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) "
            "FROM {} t WHERE tenant_id = %s"
        )
        with owned(access or self.access) as connection:
            for name in sorted(CATALOGUE.kinds.keys() - AUDITED):
                row = connection.execute(content.format(Identifier(name)), [tenant]).fetchone()
                assert row is not None
                if row[0]:
                    found[name] = (row[0], row[1])
        return found


def environment_of(access: Access, home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": access.application,
        "DATABASE_MIGRATE_URL": access.owner,
        "SECMESH_HOME": str(home),
        "SECMESH_SECURITY_SEALING_KEYS": str(home / "sealing.keys"),
    }


def settings_of(access: Access, home: Path, **more: str) -> SecuritySettings:
    given = {
        "DATABASE_URL": access.application,
        "DATABASE_MIGRATE_URL": access.owner,
        "SECMESH_HOME": str(home),
        "sealing_keys": str(home / "sealing.keys"),
    }
    return SecuritySettings.model_validate(given | more)


@contextmanager
def owned(access: Access) -> Iterator[psycopg.Connection]:
    """Look at the database as the owner of its tables."""
    url = sa.make_url(access.owner).set(drivername="postgresql")
    with closing(psycopg.connect(url.render_as_string(hide_password=False))) as connection:
        yield connection


def settle(access: Access) -> None:
    """Leave the service nothing to do by itself: incidents that wait too long are escalated."""
    with owned(access) as connection:
        connection.execute("UPDATE incidents SET detect_time = now() + interval '1 year'")
        connection.commit()


async def seed(settings: SecuritySettings, tenant: str, records: int) -> None:
    """Fill a tenant as the command does."""
    store = await open_store(settings, CATALOGUE, isolated=True)
    try:
        chance = Chance(1, int(UNTIL.timestamp()), records)
        report = await Seeder(store, CATALOGUE, tenant, chance).run(lambda *_: None)
        assert not report.problems
    finally:
        await close_store(store)


@contextmanager
def seeded(home: Path, *tenants: str, records: int, upkeep: bool = True) -> Iterator[SeededWorld]:
    """Serve a database in which these tenants have records of every kind; see ``served``."""
    with security_database() as access, served(access, home, upkeep=upkeep) as world:
        for tenant in tenants:
            asyncio.run(seed(settings_of(access, home), tenant, records))
        yield SeededWorld(world, access, home)
