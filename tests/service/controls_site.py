"""Both services of compliance over one store, and a control for tests of them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.client import CallRefused, open_channel
from mesh.sql.answers import Answers
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2 as compliance
from secmesh.inventory.v1 import compliance_service_pb2_grpc, control_service_pb2_grpc
from secmesh.inventory.v1 import control_service_pb2 as api
from secmesh.inventory.v1.control_pb2 import Control
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.compliance_servicer import ComplianceServicer
from services.inventory.control_servicer import ControlServicer
from services.inventory.controls.control_store import ControlStore
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

NAME = f"{TENANT}/controls/kms-only"


@dataclass
class Site:
    """Both services over one store."""

    world: World
    server: Running
    stub: "control_service_pb2_grpc.ControlServiceAsyncStub"
    compliance: "compliance_service_pb2_grpc.ComplianceServiceAsyncStub"

    async def create(self, control: Control, control_id: str = "kms-only", **more: Any) -> Control:
        request = api.CreateControlRequest(
            parent=TENANT, control_id=control_id, control=control, **more
        )
        return await self.stub.CreateControl(request)

    async def update(self, control: Control, *paths: str) -> Control:
        mask = FieldMask(paths=paths)
        request = api.UpdateControlRequest(control=control, update_mask=mask)
        return await self.stub.UpdateControl(request)

    async def assess(self) -> tuple[pb.Assessment, dict[str, pb.CheckResult]]:
        """Evaluate the plan; give the results of sc-28.1 by check."""
        request = compliance.EvaluateRequest(ssp=SSP)
        events = [event async for event in self.compliance.Evaluate(request)]
        (made,) = [each.assessment for each in events if each.HasField("assessment")]
        listed = await self.compliance.ListVerdicts(
            compliance.ListVerdictsRequest(parent=made.name, filter='control_id == "sc-28.1"')
        )
        (verdict,) = listed.verdicts
        return made, {each.check_id: each for each in verdict.check_results}


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    async with new_world(tmp_path, database) as world:
        checks = tenant_checks(world.store)

        def register(server: grpc.aio.Server) -> None:
            controls = ControlServicer(ControlStore(world.store), checks, lambda: NOW)
            control_service_pb2_grpc.add_ControlServiceServicer_to_server(controls, server)
            servicer = ComplianceServicer(world.store, checks, lambda: NOW)
            compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server(servicer, server)

        async with (
            running(
                tmp_path, catalogue=CATALOGUE, register=register, answers=Answers(world.store)
            ) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            yield Site(
                world,
                server,
                control_service_pb2_grpc.ControlServiceStub(channel),
                compliance_service_pb2_grpc.ComplianceServiceStub(channel),
            )


def control(**changes: Any) -> Control:
    """Buckets are encrypted by KMS, with an example for each outcome."""
    written: dict[str, Any] = {
        "description": "Ours *alone*.",
        "check": {
            "title": "Buckets are encrypted by KMS",
            "collection": "s3_buckets",
            "scope": "CHECK_SCOPE_RESOURCE",
            "condition": 'encryption == "AWS_KMS"',
            "severity": "SEVERITY_HIGH",
            "grade": "EVIDENCE_GRADE_DIRECT",
            "controls": [{"control_id": "sc-28.1"}],
            "remediation": "Set default encryption to aws:kms.",
        },
        "fixtures": [
            fixture("EVIDENCE_OUTCOME_PASS", {"encryption": "AWS_KMS"}),
            fixture("EVIDENCE_OUTCOME_FAIL", {"encryption": "NONE"}),
            fixture("EVIDENCE_OUTCOME_UNREAD", {}, "encryption"),
        ],
    }
    check = {**written["check"], **changes.pop("check", {})}
    made: Control = json_format.ParseDict({**written, "check": check, **changes}, Control())
    return made


def fixture(outcome: str, body: dict[str, Any], *unread: str) -> dict[str, Any]:
    return {"title": "x", "outcome": outcome, "records": [{"body": body, "unread": [*unread]}]}


async def estate(site: Site) -> None:
    """Three buckets, one of each encryption, and a plan that claims sc-28.1."""
    await site.world.sync(["s3_buckets"])
    await site.world.add(
        "s3_buckets",
        *(S3Bucket(encryption=each, https_only=True) for each in ("NONE", "AES256", "AWS_KMS")),
    )
    await site.world.plan(document(requirement("sc-28.1")))


async def refusal(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await call
    return refused.value
