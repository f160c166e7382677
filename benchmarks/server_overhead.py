"""CPU of a unary call through every interceptor, against a bare grpc.aio server.

Run with ``python benchmarks/server_overhead.py``. Each server is a process of its own and reports
its own CPU time; the servers take turns, and what counts is the middle one of the ratios to the
bare server in the same turn: neighbours on the machine make both dearer. Both answer the same call
with the same bytes; the caller sends a token and a request id to both. Exits with 1 beyond the
goal.
"""

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE, create_signing_key, sign_token
from mesh.identity.token import TokenVerifier
from mesh.server.log import configure_logging
from mesh.server.serve import Server
from mesh.server.settings import ServerSettings
from secmesh.inventory.v1 import record_pb2, record_service_pb2_grpc
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest

PACKAGE = "secmesh.inventory.v1"
ROUNDS, CALLS, IN_FLIGHT = 40, 400, 16
GOAL_RATIO = 1.5
VARIANTS = {
    "bare grpc.aio": "bare",
    "all interceptors": "INFO",
    "all interceptors, no call log": "WARNING",
}
_REQUEST = GetRecordRequest(name="tenants/acme/iam_users/u1")


class _Servicer(record_service_pb2_grpc.RecordServiceServicer):
    async def GetRecord(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the contract's name
        return record_pb2.Record(name=request.name)


def _register(server: grpc.aio.Server) -> None:
    servicer: Any = _Servicer()  # type: ignore[abstract] # the other methods are not called
    record_service_pb2_grpc.add_RecordServiceServicer_to_server(servicer, server)


async def _ready() -> bool:
    return True


async def serve(variant: str, keys: Path) -> None:
    """Serve until standard input ends; answer each line on it with the CPU seconds used."""
    if variant == "bare":
        bare = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        _register(bare)
        port = bare.add_insecure_port("127.0.0.1:0")
        await bare.start()
    else:
        configure_logging(variant)
        verifier = TokenVerifier(keys / JWKS_FILE, ISSUER, AUDIENCE)
        catalogue = load_catalogue(PACKAGE)
        full = Server(ServerSettings(), catalogue, verifier, _register, _ready)
        port = await full.start()
    print(port, flush=True)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer() -> None:
        for _ in sys.stdin:
            print(time.process_time(), flush=True)
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=answer, daemon=True).start()
    await done.wait()


class Peer:
    """A server process, seen from the caller."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._ask(""))
        self.microseconds: list[float] = []
        """CPU per call, of each turn."""

    def cpu_seconds(self) -> float:
        return float(self._ask("cpu\n"))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def peer(variant: str, keys: Path) -> Iterator[Peer]:
    """Start a server process and stop it."""
    command = [sys.executable, __file__, variant, str(keys)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield Peer(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


async def one_round(to: Peer, metadata: tuple[tuple[str, str], ...]) -> None:
    """Call one server, and note its CPU per call."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{to.port}") as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)

        async def work(calls: int) -> None:
            for _ in range(calls):
                await stub.GetRecord(_REQUEST, metadata=metadata, timeout=30)

        await work(20)
        before = to.cpu_seconds()
        await asyncio.gather(*(work(CALLS // IN_FLIGHT) for _ in range(IN_FLIGHT)))
        used = to.cpu_seconds() - before
    calls = CALLS // IN_FLIGHT * IN_FLIGHT
    to.microseconds.append(used / calls * 1e6)


def ratio(of: Peer, to: Peer) -> float:
    """Compare the CPU of two servers turn by turn; give the ratio in the middle."""
    return float(median(map(truediv, of.microseconds, to.microseconds)))


def main() -> int:
    """Measure and print; the goal is that of everything a call goes through, its log included."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        keys = Path(folder)
        create_signing_key(keys)
        token = sign_token(keys, subject="bench", tenant="acme", roles=["viewer"])
        metadata = (("authorization", f"Bearer {token}"), ("x-request-id", "bench-1"))
        peers = {title: stack.enter_context(peer(how, keys)) for title, how in VARIANTS.items()}
        for _ in range(ROUNDS):
            for each in peers.values():
                asyncio.run(one_round(each, metadata))
        base = peers["bare grpc.aio"]
        print(f"server CPU per unary call, {ROUNDS} turns of {CALLS} calls")
        for title, each in peers.items():
            least, middle = min(each.microseconds), median(each.microseconds)
            print(
                f"  {title:32} least {least:7.1f} us, middle {middle:7.1f} us, "
                f"{ratio(each, base):5.2f} times the bare server in the same turn"
            )
        print(f"  goal: at most {GOAL_RATIO}")
        return 0 if ratio(peers["all interceptors"], base) <= GOAL_RATIO else 1


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
    else:
        sys.exit(main())
