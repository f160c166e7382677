"""A server in a process of its own, for tests of signals and ports.

Run as `python -m tests.service.server_process KEYS_FOLDER LISTEN GRACE_SECONDS`; GetRecord takes
the seconds that its record id names, StartSync none.
"""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE
from mesh.identity.token import TokenVerifier
from mesh.server.log import configure_logging
from mesh.server.serve import ListenError, Server
from mesh.server.settings import ServerSettings
from secmesh.inventory.v1 import record_pb2, record_service_pb2_grpc
from tests.service.server_fixtures import PACKAGE, Records, Syncs, always_ready


async def _sleep(request: Any, _context: Any) -> Any:
    if seconds := float(request.name.rpartition("/")[2]):
        print("BEGUN", flush=True)  # noqa: T201 - what the test waits for
        await asyncio.sleep(seconds)
    return record_pb2.Record(name=request.name)


async def _dispose() -> None:
    print("DISPOSED", flush=True)  # noqa: T201 - what the test waits for


def _register(server: grpc.aio.Server) -> None:
    records = Records(get=_sleep)  # type: ignore[abstract]  # abstract in its stub only
    record_service_pb2_grpc.add_RecordServiceServicer_to_server(records, server)
    Syncs().add_to(server)


def _server() -> Server:
    keys, listen, grace, *drain = sys.argv[1:]
    return Server(
        ServerSettings(
            listen=listen,
            drain_seconds=float(*drain or ["0.2"]),
            grace_seconds=float(grace),
        ),
        load_catalogue(PACKAGE),
        TokenVerifier(Path(keys) / JWKS_FILE, ISSUER, AUDIENCE),
        _register,
        always_ready,
        _dispose,
    )


async def _serve() -> None:
    await _server().run_until_signal()


if __name__ == "__main__":
    configure_logging()
    try:
        asyncio.run(_serve())
    except ListenError as error:
        logging.getLogger("mesh").exception("%s", error.args[0])
        sys.exit(1)
