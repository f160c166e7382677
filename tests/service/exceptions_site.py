"""Exceptions and compliance over one store, called by two people."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused, open_channel
from mesh.identity.keys import sign_token
from mesh.sql.answers import Answers
from secmesh.inventory.v1 import (
    compliance_service_pb2_grpc,
    exception_service_pb2_grpc,
)
from secmesh.inventory.v1 import exception_service_pb2 as api
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from services.inventory.compliance_servicer import ComplianceServicer
from services.inventory.exception_servicer import ExceptionServicer
from services.inventory.exceptions.exception_store import ExceptionStore
from tests.service.compliance_world import (
    CATALOGUE,
    NOW,
    TENANT,
    World,
    new_world,
    tenant_checks,
)
from tests.service.server_fixtures import PACKAGE, Running, running

CHECK = "s3.encryption"


@dataclass
class Clock:
    """The time of the services."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Site:
    """The services, and what the two people do there."""

    world: World
    server: Running
    clock: Clock
    stub: "exception_service_pb2_grpc.ExceptionServiceAsyncStub"
    compliance: "compliance_service_pb2_grpc.ComplianceServiceAsyncStub"

    def by(self, subject: str, tenant: str = "acme", role: str = "admin") -> Any:
        token = sign_token(self.server.keys, subject=subject, tenant=tenant, roles=[role])
        return (("authorization", f"Bearer {token}"),)

    async def propose(
        self, exception_id: str = "public-site", by: str = "ann", **fields: Any
    ) -> CheckException:
        made = CheckException(**{"check_id": CHECK, "reason": "It is public.", **fields})
        if not made.HasField("expire_time"):
            made.expire_time.FromDatetime(self.clock.now + timedelta(days=30))
        request = api.CreateCheckExceptionRequest(
            parent=TENANT, check_exception_id=exception_id, check_exception=made
        )
        return await self.stub.CreateCheckException(request, metadata=self.by(by))

    async def approve(self, name: str, by: str = "bob", etag: str = "") -> CheckException:
        request = api.ApproveCheckExceptionRequest(name=name, etag=etag)
        return await self.stub.ApproveCheckException(request, metadata=self.by(by))

    async def revoke(self, name: str, by: str = "ann", etag: str = "") -> CheckException:
        request = api.RevokeCheckExceptionRequest(name=name, etag=etag)
        return await self.stub.RevokeCheckException(request, metadata=self.by(by))

    async def get(self, name: str) -> CheckException:
        request = api.GetCheckExceptionRequest(name=name)
        return await self.stub.GetCheckException(request, metadata=self.by("ann"))

    async def accept(self, exception_id: str = "public-site", **fields: Any) -> CheckException:
        """Propose and approve."""
        return await self.approve((await self.propose(exception_id, **fields)).name)


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    async with new_world(tmp_path, database) as world:
        checks, clock = tenant_checks(world.store), Clock()

        def register(server: grpc.aio.Server) -> None:
            exceptions = ExceptionServicer(ExceptionStore(world.store), checks, clock)
            exception_service_pb2_grpc.add_ExceptionServiceServicer_to_server(exceptions, server)
            servicer = ComplianceServicer(world.store, checks, clock)
            compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server(servicer, server)

        answers = Answers(world.store)
        async with (
            running(tmp_path, catalogue=CATALOGUE, register=register, answers=answers) as server,
            open_channel(server.address, package=PACKAGE) as channel,
        ):
            yield Site(
                world,
                server,
                clock,
                exception_service_pb2_grpc.ExceptionServiceStub(channel),
                compliance_service_pb2_grpc.ComplianceServiceStub(channel),
            )


async def refusal(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await call
    return refused.value
