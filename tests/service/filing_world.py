"""A tenant's inventory, and the security service in which its assessments are filed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from mesh.client import open_channel
from mesh.client.passing import callers_token
from secmesh.inventory.v1 import assessment_requests_pb2 as api
from secmesh.inventory.v1 import compliance_service_pb2_grpc as stubs
from secmesh.inventory.v1 import filing_pb2
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1.finding_service_pb2_grpc import FindingServiceStub
from services.inventory.compliance_servicer import ComplianceServicer
from services.inventory.filing.security import Security
from tests.service.compliance_world import (
    ACCOUNT,
    CATALOGUE,
    NOW,
    SSP,
    TENANT,
    new_world,
    tenant_checks,
)
from tests.service.compliance_world import World as Inventory
from tests.service.security_world import World as Records
from tests.service.server_fixtures import PACKAGE, Running, running

FILED = ("compliance_assessments", "cloud_accounts", "compliance_frameworks")
"""What is deleted to forget a filing; findings and assets go with their account."""


@dataclass
class World:
    """The two services, called as ann of acme."""

    inventory: Inventory
    records: Records
    server: Running
    stub: "stubs.ComplianceServiceAsyncStub"
    security: Security
    times: list[datetime] = field(default_factory=lambda: [NOW])

    def later(self, **difference: float) -> datetime:
        """Let time pass, an hour if nothing is said; give the moment."""
        self.times.append(self.times[-1] + timedelta(**(difference or {"hours": 1})))
        return self.times[-1]

    async def replace(self, name: str, body: Message, **envelope: Any) -> None:
        """Let a resource be found otherwise from now on."""
        await self.remove(name)
        collection = name.split("/")[2]
        (made,) = await self.inventory.add(collection, body, **envelope)
        store, moment = self.inventory.store, int(self.times[-1].timestamp() * 1_000_000)
        # As the resource that it was: the same id and ARN, from this moment on.
        identity, number = name.rpartition("/")[2], name.rpartition("/r")[2]
        table = store.target(collection).table
        arn = f"arn:aws:test:::{collection}/{number}"
        async with store.transaction() as connection:
            await connection.execute(
                store.update(collection, "acme")
                .where(table.c.id == made.rpartition("/")[2])
                .values(id=identity, arn=arn, valid_from=moment)
            )

    async def remove(self, name: str) -> None:
        """Let a resource be gone from now on."""
        collection, identity = name.split("/")[2:]
        store, moment = self.inventory.store, int(self.times[-1].timestamp() * 1_000_000)
        table = store.target(collection).table
        async with store.transaction() as connection:
            await connection.execute(
                store.update(collection, "acme")
                .where(table.c.id == identity)
                .values(valid_to=moment)
            )

    async def evaluate(self, *accounts: str) -> str:
        """Judge the plan; give the assessment's name."""
        request = api.EvaluateRequest(ssp=SSP, cloud_account_ids=accounts)
        events = [event async for event in self.stub.Evaluate(request)]
        (found,) = [each.assessment for each in events if each.HasField("assessment")]
        return str(found.name)

    async def file(self, *accounts: str, **more: Any) -> dict[str, dict[str, int]]:
        """Judge the plan and file it; give what was counted of each collection."""
        name = await self.evaluate(*accounts)
        return counted(
            await self.stub.FileAssessment(filing_pb2.FileAssessmentRequest(name=name, **more))
        )

    def listed(self, collection: str) -> list[Any]:
        """Give the security service's records."""
        request = ListRecordsRequest(parent=f"{TENANT}/{collection}", page_size=1000)
        return list(self.records.stub.ListRecords(request).records)

    def findings(self) -> dict[str, Any]:
        """Give the findings by the last part of their resource."""
        found = self.listed("misconfigurations")
        return {each.misconfiguration.evidence.detail.rpartition("/")[2]: each for each in found}

    def claim(self) -> Any:
        """Give the record of the only claim."""
        (found,) = self.listed("compliance_assessments")
        return found

    @property
    def life(self) -> Any:
        """The FindingService, called by an admin."""
        return self.records.stub_of("acme", FindingServiceStub, "admin")

    def forget(self) -> None:
        """Delete all that was filed."""
        for collection in FILED:
            for record in self.listed(collection):
                self.records.stub.DeleteRecord(DeleteRecordRequest(name=record.name))


def counted(answer: filing_pb2.FileAssessmentResponse) -> dict[str, dict[str, int]]:
    """Give the counts that are not 0, by collection."""
    assert not answer.rejections
    return {
        each.collection: {
            field.name: value for field, value in each.ListFields() if field.name != "collection"
        }
        for each in answer.counts
    }


@asynccontextmanager
async def filing(folder: Path, records: Records) -> AsyncIterator[World]:
    """Serve an empty inventory that files in a security service; the two trust one issuer."""
    times = [NOW]
    async with (
        new_world(folder) as inventory,
        open_channel(
            records.address, package="secmesh.security.v1", token=callers_token
        ) as to_security,
    ):
        security = Security(to_security)

        def register(server: grpc.aio.Server) -> None:
            servicer = ComplianceServicer(
                inventory.store, tenant_checks(inventory.store), lambda: times[-1], security
            )
            stubs.add_ComplianceServiceServicer_to_server(servicer, server)

        async with (
            running(records.keys.parent, catalogue=CATALOGUE, register=register) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            stub = stubs.ComplianceServiceStub(channel)
            world = World(inventory, records, server, stub, security, times)
            try:
                yield world
            finally:
                world.forget()


__all__ = ["ACCOUNT", "World", "counted", "filing"]
