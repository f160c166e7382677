"""Values of people sealed and opened through gRPC, against libraries that do nothing else.

Run with ``python benchmarks/crypto.py [--turns N] [--profile FILE]``. The crypto service is a
process of its own with its default settings, its keys in files, on a PostgreSQL of its own with
durable commits. A call brings 500 values of 64 bytes: 10 fields of each of 50 users. It is
authenticated and authorized, held against the contract and what the tenant decided, each value is
bound to its place, and the audit holds an entry for each user before the answer leaves. What seals
the audit runs in the same process and is counted.

The peers are libraries in a loop, without any of that: AES-GCM, Fernet, Tink's AES256_GCM, and the
AWS Encryption SDK with its cache. All take turns of like length and the best turn of each counts,
so that neighbours on the machine weigh little. Ours is counted by the CPU time of the whole
process, user and system, as the kernel tells it; that of PostgreSQL stands beside it.

The goal is 50,000 values of tier 2 a second of CPU, sealed and opened, on a core on which AES-GCM
alone seals 1,040,000: a slower or busier one is asked for as much less. Exits with 1 if it is
missed, and with 2 if a peer did not run.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cpu import family, process_seconds
from benchmarks.peers.environment import PeerMissing
from benchmarks.sealing.load import BATCH, TIERS, Load
from benchmarks.sealing.peers import Peers, peers
from benchmarks.sealing.service import Sealing, sealing

OPERATIONS = ("encrypt", "decrypt")
GOAL, QUIET = 50_000, 1_040_000
"""Values of tier 2 a second of the service's CPU time, where AES-GCM alone seals so many."""
PACE = "AES-GCM"
"""The peer that says how fast the core is."""
TURNS = 6
CALLS = 60
"""Of one turn, which is long enough for what the service does each second beside them."""
_WARM = 20
"""Calls before the first turn."""


@dataclass
class Best:
    """The best turns of one of those that are measured."""

    seconds: float = float("inf")
    """CPU for a value."""
    database: float = float("inf")
    """The same of PostgreSQL."""

    def took(self, values: int, seconds: float, database: float = 0.0) -> None:
        """Keep a turn if it is the best yet."""
        self.seconds = min(self.seconds, seconds / values)
        self.database = min(self.database, database / values)

    @property
    def rate(self) -> float:
        """Values a second."""
        return 1 / self.seconds


Measured = dict[tuple[str, str], Best]
"""By who and operation."""


async def measure(service: Sealing, load: Load, libraries: Peers, turns: int) -> Measured:
    """Let all take turns."""
    best: Measured = {}
    for _ in range(turns):
        for operation in OPERATIONS:
            for tier in TIERS:
                before, database = process_seconds([service.pid]), _database(service)
                values = await load.run(operation, tier, CALLS)
                seconds = process_seconds([service.pid]) - before
                ours = best.setdefault((_ours(tier), operation), Best())
                ours.took(values, seconds, _database(service) - database)
            for name in libraries.names:
                turn = await libraries.turn(name, operation)
                best.setdefault((name, operation), Best()).took(*turn)
    return best


def _ours(tier: int) -> str:
    return f"tier {tier} through gRPC"


def _database(service: Sealing) -> float:
    return process_seconds(family(service.postgres_pid))


def report(best: Measured, names: list[str]) -> None:
    """Print values a second of CPU, and ratios of ours to each peer's."""
    ours = [_ours(tier) for tier in TIERS]
    print(f"values a second of CPU, calls of {BATCH}, best turn of each")
    print(f"  {'':22}" + "".join(f"{operation:>12}" for operation in OPERATIONS))
    for who in (*ours, *names):
        rates = "".join(f"{best[who, operation].rate:>12,.0f}" for operation in OPERATIONS)
        print(f"  {who:22}{rates}")
    print("microseconds of CPU for a value")
    for who in ours:
        told = (
            f"{operation} {best[who, operation].seconds * 1e6:5.1f} service "
            f"{best[who, operation].database * 1e6:5.1f} PostgreSQL"
            for operation in OPERATIONS
        )
        print(f"  {who:22}  " + "    ".join(told))
    print("ratio of ours to the peer's")
    for who in ours:
        for name in names:
            ratios = "".join(
                f"{best[who, operation].rate / best[name, operation].rate:>12.3f}"
                for operation in OPERATIONS
            )
            print(f"  {f'tier {who[5]} / {name}':28}{ratios}")


@contextlib.contextmanager
def profiled(pid: int, wanted: bool) -> Iterator[None]:
    """Profile the service within the block (``sealing/profiled.py``)."""
    if wanted:
        os.kill(pid, signal.SIGUSR1)
    yield
    if wanted:
        os.kill(pid, signal.SIGUSR2)


async def main(turns: int, profile: Path | None) -> int:
    """Measure, print, and give the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with peers() as libraries, sealing(Path(folder), profile) as service:
                load = Load(service)
                await load.prepare()
                for operation in OPERATIONS:
                    for tier in TIERS:
                        await load.run(operation, tier, _WARM)
                with profiled(service.pid, profile is not None):
                    best = await measure(service, load, libraries, turns)
                await load.close()
        except PeerMissing as error:
            print(f"a peer did not run: {error}", file=sys.stderr)
            return 2
    report(best, list(libraries.names))
    return 0 if reached(best) else 1


def reached(best: Measured) -> bool:
    """Print the goal and what became of it; tell whether it is reached."""
    pace = best[PACE, "encrypt"].rate / QUIET
    least = min(best[_ours(2), operation].rate for operation in OPERATIONS)
    print(
        f"goal: {GOAL:,} values of tier 2 a second, {GOAL * pace:,.0f} at this core's "
        f"{pace:.2f} of the speed; {least:,.0f} are reached"
    )
    return least >= GOAL * pace


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--profile", type=Path, help="profile the service into this file")
    asked = parser.parse_args()
    sys.exit(asyncio.run(main(asked.turns, asked.profile)))
