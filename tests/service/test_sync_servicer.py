"""SyncService over gRPC, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from mesh.client import CallRefused, open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key, sign_token
from mesh.server.serve import Server
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1 import record_service_pb2_grpc, sync_service_pb2_grpc
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import (
    CancelSyncRequest,
    GetSyncRequest,
    ListManifestEntriesRequest,
    ListSyncsRequest,
    StartSyncRequest,
    WatchSyncRequest,
    WatchSyncResponse,
)
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from services.inventory.__main__ import build_server
from services.inventory.collect.draft import timestamp
from services.inventory.collect.registry import REGISTRY
from tests.derived import tables_of
from tests.inventory_store import inventory_store
from tests.service.collect_world import CATALOGUE, SAMPLE_ACCOUNT, TENANT, settings

if TYPE_CHECKING:
    Stub = sync_service_pb2_grpc.SyncServiceAsyncStub


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The folder of the issuer's key, where the settings look for its public half."""
    create_signing_key(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
async def server(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, keys: Path
) -> AsyncIterator[Server]:
    """The inventory service as its process builds it."""
    made = await build_server(settings(aws, tmp_path))
    await made.start()
    yield made
    faults.clear()
    await made.stop()


def channel_to(server: Server, keys: Path, tenant: str = "acme") -> grpc.aio.Channel:
    token = sign_token(keys, subject="ann", tenant=tenant, roles=["admin"])
    return open_channel(server.address, package=CATALOGUE.package, token=token)


@pytest.fixture
async def channel(server: Server, keys: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with channel_to(server, keys) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> "Stub":
    return sync_service_pb2_grpc.SyncServiceStub(channel)


def start(sync_id: str = "", account: str = SAMPLE_ACCOUNT, **more: object) -> StartSyncRequest:
    collections = more.pop("collections", ["iam_password_policy"])
    sync = Sync(cloud_account_id=account, collections=collections, **more)  # type: ignore[arg-type]  # fields as tests name them
    return StartSyncRequest(parent=TENANT, sync=sync, sync_id=sync_id)


async def watched(stub: "Stub", name: str) -> list[WatchSyncResponse]:
    return [event async for event in stub.WatchSync(WatchSyncRequest(name=name))]


async def test_a_watched_run_goes_from_running_to_its_end(
    stub: "Stub", channel: grpc.aio.Channel
) -> None:
    sync = await stub.StartSync(start("first", collections=[]))
    assert (sync.name, sync.state) == (f"{TENANT}/syncs/first", Sync.STATE_RUNNING)
    assert sync.regions == ["us-east-1"]
    events = await watched(stub, sync.name)
    assert [event.WhichOneof("event") for event in events[:-1]] == ["sync"] * (len(events) - 1)
    assert events[-1].ended.code == grpc.StatusCode.OK.value[0]
    assert events[0].sync.state == Sync.STATE_RUNNING
    last = events[-2].sync
    assert last.state == Sync.STATE_SUCCEEDED
    assert last.progress.units_done == last.progress.units == len(REGISTRY.collectors)
    calls = [event.sync.progress.calls for event in events[:-1]]
    assert calls == sorted(calls)
    assert await stub.GetSync(GetSyncRequest(name=sync.name)) == last
    records = record_service_pb2_grpc.RecordServiceStub(channel)
    page = await records.ListRecords(
        ListRecordsRequest(parent=f"{TENANT}/iam_users", filter='username == "bob"')
    )
    assert [record.iam_user.mfa_enabled for record in page.records] == [False]


async def test_the_manifest_is_listed_and_filtered(stub: "Stub", faults: Faults) -> None:
    faults.deny("iam:GetAccountSummary")
    sync = await stub.StartSync(start())
    await watched(stub, sync.name)
    request = ListManifestEntriesRequest(parent=sync.name, filter="outcome == READ_OUTCOME_DENIED")
    (entry,) = (await stub.ListManifestEntries(request)).manifest_entries
    assert (entry.operation, entry.action) == ("iam:GetAccountSummary", "iam:GetAccountSummary")
    assert entry.name.startswith(f"{sync.name}/manifestEntries/")
    assert (await stub.GetSync(GetSyncRequest(name=sync.name))).state == Sync.STATE_PARTIAL


async def test_runs_are_listed_newest_first_page_by_page(stub: "Stub") -> None:
    for sync_id in ("one", "two", "three"):
        await watched(stub, (await stub.StartSync(start(sync_id))).name)
    first = await stub.ListSyncs(ListSyncsRequest(parent=TENANT, page_size=2))
    rest = await stub.ListSyncs(
        ListSyncsRequest(parent=TENANT, page_size=2, page_token=first.next_page_token)
    )
    names = [sync.name.rpartition("/")[2] for sync in (*first.syncs, *rest.syncs)]
    assert names == ["three", "two", "one"]
    assert not rest.next_page_token


async def test_the_same_id_gives_the_same_run(stub: "Stub") -> None:
    sync = await stub.StartSync(start("again"))
    await watched(stub, sync.name)
    again = await stub.StartSync(start("again"))
    assert (again.name, again.state) == (sync.name, Sync.STATE_SUCCEEDED)
    assert again.start_time == sync.start_time
    with pytest.raises(CallRefused) as refused:
        await stub.StartSync(start("again", account="333333333333"))
    assert refused.value.reason == "RESOURCE_EXISTS"


async def test_one_run_at_a_time_in_an_account(stub: "Stub", faults: Faults) -> None:
    gate = faults.hold("iam:GetAccountSummary")
    sync = await stub.StartSync(start())
    with pytest.raises(CallRefused) as refused:
        await stub.StartSync(start())
    assert (refused.value.code, refused.value.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "SYNC_RUNNING",
    )
    assert refused.value.metadata["sync"] == sync.name
    gate.set()
    await watched(stub, sync.name)
    assert (await stub.StartSync(start())).state == Sync.STATE_RUNNING


async def test_what_cannot_be_collected_is_refused(stub: "Stub") -> None:
    for request, reason in (
        (start(collections=["iam_users", "moon_bases"]), "COLLECTION_UNKNOWN"),
        (start(regions=["us-moon-1"]), "FIELD_INVALID"),
        (start(account="12"), "FIELD_INVALID"),
        (start("UPPER"), "FIELD_INVALID"),
    ):
        with pytest.raises(CallRefused) as refused:
            await stub.StartSync(request)
        assert (refused.value.code, refused.value.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            reason,
        )
    assert not (await stub.ListSyncs(ListSyncsRequest(parent=TENANT))).syncs


async def test_runs_of_another_tenant_do_not_exist(
    server: Server, keys: Path, stub: "Stub"
) -> None:
    sync = await stub.StartSync(start("mine"))
    await watched(stub, sync.name)
    async with channel_to(server, keys, "rival") as other:
        rival = sync_service_pb2_grpc.SyncServiceStub(other)
        for call in (
            rival.GetSync(GetSyncRequest(name=sync.name)),
            rival.ListManifestEntries(ListManifestEntriesRequest(parent=sync.name)),
            rival.GetSync(GetSyncRequest(name="tenants/rival/syncs/mine")),
            rival.ListManifestEntries(
                ListManifestEntriesRequest(parent="tenants/rival/syncs/mine")
            ),
        ):
            with pytest.raises(CallRefused) as refused:
                await call
            assert refused.value.code is grpc.StatusCode.NOT_FOUND
        assert not (await rival.ListSyncs(ListSyncsRequest(parent="tenants/rival"))).syncs


async def test_a_tenant_collects_only_what_it_was_given(server: Server, keys: Path) -> None:
    async with channel_to(server, keys, "rival") as other:
        rival = sync_service_pb2_grpc.SyncServiceStub(other)
        request = start()
        request.parent = "tenants/rival"
        with pytest.raises(CallRefused) as refused:
            await rival.StartSync(request)
        assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
        assert refused.value.reason == "ACCOUNT_NOT_GRANTED"
        assert refused.value.metadata["cloud_account_id"] == SAMPLE_ACCOUNT
        assert not (await rival.ListSyncs(ListSyncsRequest(parent="tenants/rival"))).syncs


async def test_an_unknown_run_cannot_be_watched(stub: "Stub") -> None:
    with pytest.raises(CallRefused) as refused:
        await watched(stub, f"{TENANT}/syncs/none")
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_a_stopping_server_ends_watchers_in_band_and_the_next_one_goes_on(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, keys: Path
) -> None:
    server = await build_server(settings(aws, tmp_path))
    await server.start()
    faults.hold("iam:GetAccountSummary")
    async with channel_to(server, keys) as opened:
        stub = sync_service_pb2_grpc.SyncServiceStub(opened)
        sync = await stub.StartSync(start("cut"))
        events = []
        stopping: asyncio.Task[None] | None = None
        async for event in stub.WatchSync(WatchSyncRequest(name=sync.name)):
            events.append(event)
            stopping = stopping or asyncio.create_task(server.stop(5))
        assert events[-1].ended.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert stopping is not None
        await stopping
    faults.clear()
    # The lease was given back, so nobody waits for its end.
    server = await build_server(settings(aws, tmp_path, lease_seconds=3600))
    await server.start()
    async with channel_to(server, keys) as opened:
        stub = sync_service_pb2_grpc.SyncServiceStub(opened)
        async with asyncio.timeout(60):
            events = await watched(stub, sync.name)
        assert events[-2].sync.state == Sync.STATE_SUCCEEDED
        assert events[-2].sync.start_time == sync.start_time
    await server.stop()


async def found_interrupted(folder: Path, name: str) -> None:
    """Check that a run is stored as interrupted."""
    engine = open_engine(inventory_store(folder))
    store = Store(engine, tables_of(CATALOGUE), page_key=b"0123456789abcdef")
    sync = await store.get("syncs", name)
    await engine.dispose()
    assert isinstance(sync, Sync)
    assert sync.state == Sync.STATE_FAILED
    assert sync.HasField("end_time")
    assert sync.error.code == grpc.StatusCode.ABORTED.value[0]
    assert "SYNC_INTERRUPTED" in str(sync.error.details[0])


async def test_a_run_of_which_no_unit_is_known_is_marked_at_start(
    aws: AwsEndpoint, tmp_path: Path, keys: Path
) -> None:
    engine = open_engine(inventory_store(tmp_path))
    tables = tables_of(CATALOGUE)
    store = Store(engine, tables, page_key=b"0123456789abcdef")
    left = Sync(
        name="tenants/other/syncs/left",
        cloud_account_id=SAMPLE_ACCOUNT,
        state=Sync.STATE_RUNNING,
        start_time=timestamp(datetime.now(UTC)),
    )
    async with store.transaction() as connection:
        await store.insert(connection, "syncs", [left])
    await engine.dispose()
    server = await build_server(settings(aws, tmp_path))
    await server.start()
    await server.stop()
    await found_interrupted(tmp_path, left.name)


@pytest.mark.parametrize(
    ("account", "role", "problem"),
    [
        ("999999999999", "", "the credentials lead elsewhere and no role is configured"),
        ("999999999999", "arn:aws:iam::{account}:role/audit", "AccessDenied"),
    ],
)
async def test_an_account_that_cannot_be_reached_fails_the_run(
    aws: AwsEndpoint,
    faults: Faults,
    tmp_path: Path,
    keys: Path,
    account: str,
    role: str,
    problem: str,
) -> None:
    faults.deny("sts:AssumeRole")
    server = await build_server(settings(aws, tmp_path, role=role))
    await server.start()
    async with channel_to(server, keys) as opened:
        stub = sync_service_pb2_grpc.SyncServiceStub(opened)
        sync = await stub.StartSync(start(account=account))
        events = await watched(stub, sync.name)
    await server.stop()
    ended = events[-2].sync
    assert ended.state == Sync.STATE_FAILED
    assert ended.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert ended.error.message == f"account {account}: {problem}"
    assert "ACCOUNT_UNREACHABLE" in str(ended.error.details[0])
    assert events[-1].ended.code == 0


async def test_a_run_is_cancelled_over_the_wire(
    server: Server, keys: Path, stub: "Stub", faults: Faults
) -> None:
    gate = faults.hold("iam:GetAccountSummary")
    sync = await stub.StartSync(start())
    request = CancelSyncRequest(name=sync.name)
    async with channel_to(server, keys, "rival") as other:
        with pytest.raises(CallRefused) as refused:
            await sync_service_pb2_grpc.SyncServiceStub(other).CancelSync(request)
        assert refused.value.code is grpc.StatusCode.NOT_FOUND
    cancelling = asyncio.ensure_future(stub.CancelSync(request))
    events = asyncio.create_task(watched(stub, sync.name))
    async with asyncio.timeout(60):
        while not (await stub.GetSync(GetSyncRequest(name=sync.name))).HasField("cancel_time"):
            await asyncio.sleep(0.05)
    gate.set()
    cancelled = await cancelling
    assert cancelled.state == Sync.STATE_CANCELLED
    assert (await events)[-2].sync == cancelled
    await watched(stub, (await stub.StartSync(start("whole"))).name)
    with pytest.raises(CallRefused) as refused:
        await stub.CancelSync(CancelSyncRequest(name=f"{TENANT}/syncs/whole"))
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.reason == "SYNC_ENDED"


async def test_only_who_may_cancel_does(server: Server, keys: Path, stub: "Stub") -> None:
    await watched(stub, (await stub.StartSync(start("kept"))).name)
    token = sign_token(keys, subject="eve", tenant="acme", roles=["auditor"])
    async with open_channel(server.address, package=CATALOGUE.package, token=token) as opened:
        with pytest.raises(CallRefused) as refused:
            await sync_service_pb2_grpc.SyncServiceStub(opened).CancelSync(
                CancelSyncRequest(name=f"{TENANT}/syncs/kept")
            )
    assert refused.value.reason == "PERMISSION_MISSING"
    assert refused.value.metadata["permission"] == "inventory.syncs.cancel"
