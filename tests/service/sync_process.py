"""The inventory service as a process that may be killed, and what its store says afterwards."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import sign_token
from secmesh.inventory.v1 import sync_service_pb2_grpc
from secmesh_client import connect
from services.inventory.collect.registry import REGISTRY
from tests.inventory_store import store_variables
from tests.service.collect_world import CATALOGUE, SAMPLE_ACCOUNT, World, body_of

LEASE = 3.0
"""Seconds after which another process takes over what a killed one left."""


@contextmanager
def service(
    folder: Path, aws: AwsEndpoint, **more: str
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run the inventory service as a process, one unit at a time; gives its address.

    Keys are made in ``folder / "keys"`` before; ``more`` is added to its environment.
    """
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.inventory", "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={
                **os.environ,
                "SECMESH_HOME": str(folder),
                "AWS_ENDPOINT_URL": aws.url,
                "SECMESH_INVENTORY_ACCOUNTS": f"acme={SAMPLE_ACCOUNT}",
                "SECMESH_INVENTORY_LEASE_SECONDS": str(LEASE),
                "SECMESH_INVENTORY_UNITS": "1",
                **(store_variables(folder) if "DATABASE_URL" not in more else {}),
                **more,
            },
        )
        try:
            assert process.stdout is not None
            word, _, rest = process.stdout.readline().partition(" ")
            assert word == "LISTENING"
            yield process, json.loads(rest)["address"]
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@contextmanager
def stub_of(address: str, folder: Path) -> Iterator[sync_service_pb2_grpc.SyncServiceStub]:
    token = sign_token(folder / "keys", subject="ann", tenant="acme", roles=["operator"])
    with connect(address, token=token) as channel:
        yield sync_service_pb2_grpc.SyncServiceStub(channel)


async def content(made: World) -> dict[tuple[str, str], tuple[bytes, str, str, int]]:
    """Give what every current record says, but for times that move by themselves."""
    found = {}
    for collection in CATALOGUE.record_kinds:
        for name, record in (await made.rows(collection)).items():
            body = body_of(record)
            for field in REGISTRY.collectors[collection].heartbeats:
                body.ClearField(field)
            written = body.SerializeToString(deterministic=True)
            found[collection, name] = (written, record.arn, record.region, len(record.unread))
    return found
