"""Who may call what: the method's permission, the kind's, and the tenant of every name."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from mesh.client import CallRefused, open_channel
from mesh.contract.catalogue import CatalogueError, load_catalogue
from mesh.errors import ResourceNotFound
from mesh.server.interceptors.permission import Permission
from secmesh.inventory.v1 import record_service_pb2_grpc, sync_service_pb2_grpc
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest
from secmesh.records.v1.record_requests_pb2 import (
    GetRecordRequest,
    ListKindsRequest,
    ListRecordsRequest,
)
from tests.service.server_fixtures import PACKAGE, RECORD, Running, running

START = StartSyncRequest(parent="tenants/acme", sync=Sync(cloud_account_id="123456789012"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


async def outcome(server: Running, request: Any, **claims: Any) -> CallRefused | None:
    """Call the method that takes this request; give its refusal, or None if it was served."""
    async with open_channel(server.address, package=PACKAGE, token=server.token(**claims)) as to:
        records = record_service_pb2_grpc.RecordServiceStub(to)
        syncs = sync_service_pb2_grpc.SyncServiceStub(to)
        methods: dict[type, Any] = {
            GetRecordRequest: records.GetRecord,
            ListRecordsRequest: records.ListRecords,
            ListKindsRequest: records.ListKinds,
            StartSyncRequest: syncs.StartSync,
        }
        try:
            await methods[type(request)](request)
        except CallRefused as error:
            return error
        return None


@pytest.mark.parametrize(
    ("role", "request_", "served"),
    [
        ("viewer", GetRecordRequest(name=RECORD), True),
        ("viewer", START, False),
        ("auditor", START, False),
        ("operator", START, True),
        ("operator", GetRecordRequest(name=RECORD), True),
        ("admin", START, True),
    ],
)
async def test_roles(server: Running, role: str, request_: Any, served: bool) -> None:
    error = await outcome(server, request_, roles=(role,))
    assert (error is None) == served
    if error is not None:
        assert error.code == grpc.StatusCode.PERMISSION_DENIED
        assert error.metadata["permission"] == "inventory.syncs.create"
        assert server.syncs.calls == []


async def test_a_permission_of_one_kind_is_for_that_kind(server: Running) -> None:
    claims: dict[str, Any] = {"roles": (), "permissions": ("inventory.iam_users.get",)}
    assert await outcome(server, GetRecordRequest(name=RECORD), **claims) is None
    bucket = GetRecordRequest(name="tenants/acme/s3_buckets/b1")
    error = await outcome(server, bucket, **claims)
    assert error is not None
    assert error.metadata["permission"] == "inventory.s3_buckets.get"
    listed = await outcome(server, ListRecordsRequest(parent="tenants/acme/iam_users"), **claims)
    assert listed is not None
    assert listed.metadata["permission"] == "inventory.iam_users.list"
    assert server.records.calls == ["GetRecord"]


@pytest.mark.parametrize("collection", ["unicorns", "syncs"])
async def test_an_unknown_kind_is_not_found(server: Running, collection: str) -> None:
    error = await outcome(server, GetRecordRequest(name=f"tenants/acme/{collection}/x"))
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "KIND_UNKNOWN")
    assert error.metadata["collection"] == collection


async def test_another_tenants_record_looks_absent(server: Running) -> None:
    foreign = "tenants/rival/iam_users/u1"
    hidden = await outcome(server, GetRecordRequest(name=foreign))

    async def absent(request: Any, _context: Any) -> Any:
        raise ResourceNotFound(request.name)

    server.records.get = absent
    missing = await outcome(server, GetRecordRequest(name=RECORD))
    assert hidden is not None
    assert missing is not None
    assert server.records.calls == ["GetRecord"]
    assert (hidden.code, hidden.reason) == (missing.code, missing.reason)
    assert hidden.message.replace(foreign, RECORD) == missing.message
    kinds = [[each.type_url for each in error.status.details] for error in (hidden, missing)]
    assert kinds[0] == kinds[1]


async def test_a_platform_principal_acts_only_for_the_tenants_it_names(server: Running) -> None:
    foreign = GetRecordRequest(name="tenants/rival/iam_users/u1")
    other = GetRecordRequest(name="tenants/third/iam_users/u1")
    claims: dict[str, Any] = {"tenant": "platform", "tenants": ("rival",)}
    assert await outcome(server, foreign, **claims) is None
    error = await outcome(server, other, **claims)
    assert error is not None
    assert error.reason == "RESOURCE_NOT_FOUND"


async def test_a_tenant_whose_slug_begins_like_mine_is_another(server: Running) -> None:
    error = await outcome(server, GetRecordRequest(name="tenants/acme-2/iam_users/u1"))
    assert error is not None
    assert error.reason == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize("name", ["", "nonsense", "tenants/ACME/iam_users/u1", "tenants/acme"])
async def test_an_ill_formed_name_names_its_field(server: Running, name: str) -> None:
    error = await outcome(server, GetRecordRequest(name=name))
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    bad = error.detail(error_details_pb2.BadRequest)
    assert bad is not None
    assert [each.field for each in bad.field_violations] == ["name"]
    assert server.records.calls == []


async def test_a_method_without_names_needs_its_permission_alone(server: Running) -> None:
    granted = {"roles": (), "permissions": ("inventory.kinds.list",)}
    assert await outcome(server, ListKindsRequest(), **granted) is None
    error = await outcome(server, ListKindsRequest(), roles=(), permissions=("inventory.x.list",))
    assert error is not None
    assert error.reason == "PERMISSION_MISSING"


def test_every_method_of_the_contract_is_guarded() -> None:
    catalogue = load_catalogue(PACKAGE)
    rules = Permission(catalogue)._rules
    assert rules.keys() == catalogue.methods.keys()
    assert {path for path, rule in rules.items() if rule.read is not None} == {
        path for path, method in catalogue.methods.items() if method.names
    }


def test_a_kind_permission_without_a_name_stops_the_start() -> None:
    from dataclasses import replace

    catalogue = load_catalogue(PACKAGE)
    path = f"/{PACKAGE}.RecordService/ListKinds"
    method = replace(catalogue.methods[path], permission="{kind}.list")
    with pytest.raises(CatalogueError, match="ListKinds"):
        Permission(replace(catalogue, methods={path: method}))
