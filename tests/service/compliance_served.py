"""The compliance service over a tenant's store, for tests of its calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import open_channel
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2, ssp_pb2, ssp_requests_pb2
from secmesh.inventory.v1 import compliance_service_pb2_grpc as stubs
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.compliance.narration import Model
from services.inventory.compliance_servicer import ComplianceServicer
from tests.service.compliance_world import (
    CATALOGUE,
    NOW,
    SSP,
    TENANT,
    World,
    document,
    new_world,
    requirement,
    tenant_checks,
)
from tests.service.server_fixtures import PACKAGE, Running, running


@dataclass
class Served:
    """The service over a tenant's store."""

    world: World
    server: Running
    stub: "stubs.ComplianceServiceAsyncStub"

    async def import_ssp(self, content: bytes, **more: Any) -> ssp_pb2.Ssp:
        request = ssp_requests_pb2.ImportSspRequest(
            parent=TENANT, ssp_id="main", document=content, **more
        )
        return await self.stub.ImportSsp(request)

    async def evaluate(self, **more: Any) -> list[assessment_requests_pb2.EvaluateResponse]:
        request = assessment_requests_pb2.EvaluateRequest(ssp=SSP, **more)
        return [event async for event in self.stub.Evaluate(request)]

    async def assessment(self) -> pb.Assessment:
        (found,) = [
            event.assessment for event in await self.evaluate() if event.HasField("assessment")
        ]
        return found


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as made:
        yield made


@asynccontextmanager
async def serving(tmp_path: Path, model: Model | None = None) -> AsyncIterator[Served]:
    """Serve; ``model`` narrates."""
    async with new_world(tmp_path) as world:
        checks = tenant_checks(world.store)

        def register(server: grpc.aio.Server) -> None:
            servicer = ComplianceServicer(world.store, checks, lambda: NOW, model=model)
            stubs.add_ComplianceServiceServicer_to_server(servicer, server)

        async with (
            running(tmp_path, catalogue=CATALOGUE, register=register) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            yield Served(world, server, stubs.ComplianceServiceStub(channel))


async def estate(served: Served) -> None:
    """A bad and a good bucket, and a plan with three claims."""
    await served.world.sync(["s3_buckets"])
    await served.world.add(
        "s3_buckets",
        S3Bucket(encryption="NONE", https_only=True),
        S3Bucket(encryption="AES256", https_only=True),
    )
    await served.import_ssp(
        document(requirement("sc-28.1"), requirement("sc-8"), requirement("at-2"))
    )
