"""SuggestPolicy on a real server: what a full sync calls is what the policy allows."""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from mesh.aws.operations import action
from mesh.client import CallRefused, open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.inventory.v1 import sync_service_pb2_grpc
from secmesh.inventory.v1.policy_pb2 import SuggestPolicyRequest
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest, WatchSyncRequest
from services.inventory.__main__ import build_server
from services.inventory.collect.registry import REGISTRY
from tests.service.collect_world import CATALOGUE, SAMPLE_ACCOUNT, TENANT, settings

if TYPE_CHECKING:
    Stub = sync_service_pb2_grpc.SyncServiceAsyncStub

# AWS answers these to anyone. Source: AWS STS API Reference, GetCallerIdentity.
FREE = {"sts:GetCallerIdentity"}


def permits(documents: Iterable[str], wanted: str) -> bool:
    """Evaluate policies that only allow, as IAM does without wildcards."""
    return any(
        statement["Effect"] == "Allow" and wanted in statement["Action"]
        for document in documents
        for statement in json.loads(document)["Statement"]
    )


@pytest.fixture
async def stub(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator["Stub"]:
    """A service on the sample account, called by an administrator."""
    create_signing_key(tmp_path / "keys")
    server = await build_server(settings(aws, tmp_path))
    await server.start()
    token = sign_token(tmp_path / "keys", subject="ann", tenant="acme", roles=["admin"])
    async with open_channel(server.address, package=CATALOGUE.package, token=token) as channel:
        yield sync_service_pb2_grpc.SyncServiceStub(channel)
    faults.clear()
    await server.stop()


async def collected(stub: "Stub", *collections: str) -> Sync:
    sync = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=collections)
    started = await stub.StartSync(StartSyncRequest(parent=TENANT, sync=sync))
    events = [event async for event in stub.WatchSync(WatchSyncRequest(name=started.name))]
    return events[-2].sync


async def test_each_call_of_a_sync_needs_one_action_of_the_policy(
    stub: "Stub", faults: Faults
) -> None:
    documents = (await stub.SuggestPolicy(SuggestPolicyRequest(parent=TENANT))).documents
    sync = await collected(stub)
    assert sync.state == Sync.STATE_SUCCEEDED
    called = set(faults.calls) - FREE
    assert {each for each in called if not permits(documents, action(each))} == set()
    granted = {each for text in documents for each in json.loads(text)["Statement"][0]["Action"]}
    for removed in granted:
        less = [text.replace(f'"{removed}"', '"none:Such"') for text in documents]
        broken = {each for each in called if not permits(less, action(each))}
        assert {action(each) for each in broken} == {removed}


async def test_a_run_with_its_suggested_policy_lacks_nothing(stub: "Stub", faults: Faults) -> None:
    faults.deny("dynamodb:ListTables")
    lacking = await collected(stub, "dynamodb_tables", "kms_keys")
    assert lacking.state == Sync.STATE_PARTIAL
    answer = await stub.SuggestPolicy(SuggestPolicyRequest(parent=TENANT, sync=lacking.name))
    tables, keys = answer.collection_policies
    assert list(tables.denied) == ["dynamodb:ListTables"]
    assert set(tables.untried) == set(tables.actions) - set(tables.denied)
    assert not keys.document
    faults.clear()
    operations = REGISTRY.collectors["dynamodb_tables"].operations
    faults.deny(*(each for each in operations if not permits(answer.documents, action(each))))
    whole = await collected(stub, "dynamodb_tables", "kms_keys")
    assert whole.state == Sync.STATE_SUCCEEDED
    again = await stub.SuggestPolicy(SuggestPolicyRequest(parent=TENANT, sync=whole.name))
    assert not again.documents


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (
            SuggestPolicyRequest(parent=TENANT, collections=["nonsense"]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "COLLECTION_UNKNOWN",
        ),
        (
            SuggestPolicyRequest(parent=TENANT, sync=f"{TENANT}/syncs/none"),
            grpc.StatusCode.NOT_FOUND,
            "RESOURCE_NOT_FOUND",
        ),
        (
            SuggestPolicyRequest(parent=TENANT, sync="tenants/other/syncs/one"),
            grpc.StatusCode.NOT_FOUND,
            "RESOURCE_NOT_FOUND",
        ),
        (
            SuggestPolicyRequest(parent=TENANT, sync="one"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "FIELD_INVALID",
        ),
        (
            SuggestPolicyRequest(parent="tenants/other"),
            grpc.StatusCode.NOT_FOUND,
            "RESOURCE_NOT_FOUND",
        ),
    ],
)
async def test_what_cannot_be_suggested_is_refused(
    stub: "Stub", request_: SuggestPolicyRequest, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(CallRefused) as caught:
        await stub.SuggestPolicy(request_)
    assert (caught.value.code, caught.value.reason) == (code, reason)
