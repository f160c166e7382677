"""All checks over an estate by a real service, against the same conditions as bare SQL.

Run with ``python benchmarks/evaluation.py [--resources N ...]``. Estates of a seed are evaluated on
SQLite and PostgreSQL, over gRPC, by a process of its own: its time from the call to the stored
assessment, and its memory as the kernel tells it. The peer is the statements of the same checks
without evidence and without what is unread, sent one by one in the same run. Exits with 1
if time exceeds ``MAX_RATIO`` of the bare SQL over the largest estate, memory its limit, or if time
grows faster than the estate.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import psycopg
import sqlalchemy as sa

from benchmarks.account.measuring import usage
from benchmarks.account.processes import Service, serving
from benchmarks.estate.bare import Counts, statements
from benchmarks.estate.filling import TENANT, fill
from benchmarks.estate.resources import NOW
from mesh.client import open_channel
from mesh.contract.catalogue import load_catalogue
from mesh.embedded.postgres import PostgresServer
from mesh.sql.engine import open_engine
from mesh.sql.schema import require_schema
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from secmesh.inventory.v1 import (
    assessment_requests_pb2,
    compliance_service_pb2_grpc,
    ssp_requests_pb2,
)
from services.inventory.compliance.check_catalogue import CheckCatalogue, load_checks

PACKAGE = "secmesh.inventory.v1"
SIZES = (10_000, 100_000, 1_000_000)
MAX_RATIO, MAX_MEGABYTES, MAX_GROWTH = 1.5, 500.0, 1.2
GOAL_SECONDS = 60.0
CATALOGUE = load_catalogue(PACKAGE)


@cache
def shipped() -> CheckCatalogue:
    """Give the checks that come with the service."""
    return load_checks(CATALOGUE)


@dataclass(frozen=True)
class Measured:
    """What one estate took on one database."""

    database: str
    resources: int
    bare_seconds: float
    seconds: float
    megabytes: float
    checks: int

    @property
    def ratio(self) -> float:
        """Time of the service for each second of bare SQL."""
        return self.seconds / self.bare_seconds


def plan() -> bytes:
    """Write a plan that claims every control that a check looks at."""
    requirements = [
        {"uuid": str(uuid5(NAMESPACE_URL, control)), "control-id": control, "props": _implemented()}
        for control in sorted(shipped().by_control)
    ]
    document = {
        "uuid": str(uuid5(NAMESPACE_URL, "plan")),
        "metadata": {"title": "All", "version": "1", "oscal-version": "1.1.2"},
        "import-profile": {"href": "FedRAMP_rev5_HIGH-baseline_profile.json"},
        "system-implementation": {"components": []},
        "control-implementation": {"implemented-requirements": requirements},
    }
    return json.dumps({"system-security-plan": document}).encode()


def _implemented() -> list[dict[str, str]]:
    namespace = "https://fedramp.gov/ns/oscal"
    return [{"name": "implementation-status", "ns": namespace, "value": "implemented"}]


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Give the URL of an empty database of each kind."""
    with PostgresServer(folder / "postgres", durable=False) as server:
        yield {
            "sqlite": f"sqlite:///{folder / 'store.db'}",
            "postgresql": server.create_database("estate"),
        }


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """Open a store, its tables made if they are missing."""
    engine, tables = open_engine(url), Tables(CATALOGUE)
    try:
        await require_schema(engine, tables)
        yield Store(engine, tables, page_key=b"k" * 32)
    finally:
        await engine.dispose()


def bare(url: str, counts: Sequence[Counts]) -> float:
    """Run the statements and read all rows, twice; gives the seconds of the faster turn."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    times = []
    with engine.connect() as connection:
        for _ in range(2):
            began = time.monotonic()
            for statement in counts:
                connection.execute(statement).all()
            times.append(time.monotonic() - began)
    engine.dispose()
    return min(times)


async def evaluated(service: Service) -> tuple[float, int]:
    """Evaluate the plan twice; gives the seconds of the faster and the checks that were run."""
    async with open_channel(service.address, package=PACKAGE, token=service.token) as channel:
        stub = compliance_service_pb2_grpc.ComplianceServiceStub(channel)
        wanted = ssp_requests_pb2.ImportSspRequest(
            parent=f"tenants/{TENANT}", ssp_id="all", document=plan()
        )
        ssp = await stub.ImportSsp(wanted)
        times = []
        checks = 0
        for _ in range(2):
            began = time.monotonic()
            async for event in stub.Evaluate(
                assessment_requests_pb2.EvaluateRequest(ssp=ssp.name), timeout=3600
            ):
                checks = max(checks, event.progress.checks_done)
            times.append(time.monotonic() - began)
    return min(times), checks


async def measure(database: str, url: str, resources: int, folder: Path) -> Measured:
    """Fill a database and evaluate it, as bare SQL first."""
    async with opened(url) as store:
        number = await fill(store, CATALOGUE, shipped(), resources)
        counts = statements(store, shipped(), NOW)
    if database != "sqlite":
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ANALYZE")
    taken = bare(url, counts)
    async with serving(url, folder) as service:
        seconds, checks = await evaluated(service)
        peak = usage(service.pid).peak_megabytes
    return Measured(database, number, taken, seconds, peak, checks)


async def measured(sizes: list[int]) -> list[Measured]:
    """Measure each size on each database."""
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as place, databases(Path(place)) as urls:
            for database, url in urls.items():
                folder = Path(place) / f"{database}-service"
                folder.mkdir()
                found.append(await measure(database, url, size, folder))
                print_row(found[-1])
    return found


def print_row(found: Measured) -> None:
    """Print what one took."""
    print(
        f"{found.database:12}{found.resources:>10,}{found.bare_seconds:10.2f}{found.seconds:10.2f}"
        f"{found.ratio:8.2f}{found.megabytes:10.0f}",
        flush=True,
    )


def kept(found: list[Measured]) -> bool:
    """Tell whether the largest estate keeps the limits and time grows no faster than estates."""
    good = True
    for database in ("sqlite", "postgresql"):
        own = [each for each in found if each.database == database]
        small, large = own[0], own[-1]
        # What an estate of any size costs is no growth.
        growth = (large.seconds / large.resources) / (small.seconds / small.resources)
        print(
            f"{database}: ratio {large.ratio:.2f} (limit {MAX_RATIO}), memory {large.megabytes:.0f}"
            f" MiB (limit {MAX_MEGABYTES:.0f}), growth {growth:.2f} (limit {MAX_GROWTH}),"
            f" {large.seconds:.0f} s (goal {GOAL_SECONDS:.0f})"
        )
        good &= large.ratio <= MAX_RATIO and large.megabytes <= MAX_MEGABYTES
        good &= growth <= MAX_GROWTH
    return good


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resources", type=int, nargs="+", default=SIZES, help="sizes of estates")
    print(f"{'':12}{'resources':>10}{'bare, s':>10}{'ours, s':>10}{'ratio':>8}{'peak, MiB':>10}")
    found = asyncio.run(measured(sorted(parser.parse_args().resources)))
    return 0 if kept(found) else 1


if __name__ == "__main__":
    sys.exit(main())
