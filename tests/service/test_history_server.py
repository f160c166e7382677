"""The past over gRPC: permissions, bounds and refusals of a real server."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.client import CallRefused, open_channel
from mesh.records.servicer import RecordServicer
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1.history_service_pb2 import DiffRecordsRequest, RecordChange
from secmesh.inventory.v1.history_service_pb2_grpc import (
    HistoryServiceStub,
    add_HistoryServiceServicer_to_server,
)
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.records.v1 import aggregate_pb2
from secmesh.records.v1 import record_requests_pb2 as requests
from services.inventory.history_servicer import HistoryServicer
from services.inventory.sync_store import SyncStore
from tests.derived import tables_of
from tests.inventory_store import inventory_store
from tests.service.collect_world import CATALOGUE
from tests.service.server_fixtures import PACKAGE, Running, running

USERS = "tenants/acme/iam_users"


def at(moment: int) -> Timestamp:
    return Timestamp(seconds=moment)


def user(opened: int, closed: int | None, username: str) -> Record:
    made = Record(name=f"{USERS}/a", cloud_account_id="111111111111", region="global")
    made.valid_from.seconds = opened
    if closed is not None:
        made.valid_to.seconds = closed
    made.iam_user.username = username
    return made


@dataclass
class Served:
    """A server over three versions of a user."""

    server: Running

    async def ask(self, call: str, request: Any, **claims: Any) -> Any:
        token = self.server.token(**claims)
        async with open_channel(self.server.address, package=PACKAGE, token=token) as channel:
            stub: Any = (
                HistoryServiceStub(channel) if call == "DiffRecords" else RecordServiceStub(channel)
            )
            return await getattr(stub, call)(request)

    async def refused(self, call: str, request: Any, **claims: Any) -> CallRefused:
        with pytest.raises(CallRefused) as error:
            await self.ask(call, request, **claims)
        return error.value


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    engine = open_engine(inventory_store(tmp_path))
    store = Store(engine, tables_of(CATALOGUE), page_key=b"k" * 32)
    versions = [user(10, 20, "ana"), user(20, 30, "bob"), user(40, None, "cy")]
    async with store.transaction() as connection:
        await store.insert(connection, "iam_users", versions)

    def register(server: grpc.aio.Server) -> None:
        RecordServicer(CATALOGUE, store).add_to(server)
        servicer = HistoryServicer(CATALOGUE, store, SyncStore(store))
        add_HistoryServiceServicer_to_server(servicer, server)

    async with running(tmp_path, catalogue=CATALOGUE, register=register) as server:
        yield Served(server)
    await engine.dispose()


async def test_the_past_is_read(served: Served) -> None:
    for moment, username in ((10, "ana"), (29, "bob"), (50, "cy")):
        got = await served.ask(
            "GetRecord", requests.GetRecordRequest(name=f"{USERS}/a", read_time=at(moment))
        )
        assert got.iam_user.username == username
    for moment in (9, 30):
        request = requests.GetRecordRequest(name=f"{USERS}/a", read_time=at(moment))
        error = await served.refused("GetRecord", request)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


async def test_the_future_is_refused_with_its_field(served: Served) -> None:
    request = requests.ListRecordsRequest(parent=USERS, read_time=at(2**34))
    error = await served.refused("ListRecords", request)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert "read_time" in error.message


async def test_two_moments_are_compared(served: Served) -> None:
    request = DiffRecordsRequest(parent=USERS, from_time=at(15), to_time=at(25))
    answer = await served.ask("DiffRecords", request)
    [change] = answer.changes
    assert change.type == RecordChange.TYPE_CHANGED
    [field] = change.fields
    assert (field.field, field.old_value, field.new_value) == ("username", '"ana"', '"bob"')
    assert (answer.from_time, answer.to_time) == (at(15), at(25))


async def test_all_collections_need_the_permission_for_each(served: Served) -> None:
    one = ["inventory.iam_users.list"]
    allowed = DiffRecordsRequest(parent=USERS, from_time=at(15))
    assert (await served.ask("DiffRecords", allowed, roles=(), permissions=one)).changes
    everything = DiffRecordsRequest(parent="tenants/acme/-", from_time=at(15))
    error = await served.refused("DiffRecords", everything, roles=(), permissions=one)
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert error.metadata["permission"].startswith("inventory.")
    assert error.metadata["permission"] not in one
    answer = await served.ask("DiffRecords", everything, roles=(), permissions=["inventory.*.list"])
    assert [change.name for change in answer.changes] == [f"{USERS}/a"]


async def test_the_wildcard_is_for_comparisons_alone(served: Served) -> None:
    request = requests.ListRecordsRequest(parent="tenants/acme/-")
    error = await served.refused("ListRecords", request)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        (
            {"from_sync": "tenants/acme/syncs/none"},
            grpc.StatusCode.NOT_FOUND,
            "RESOURCE_NOT_FOUND",
        ),
        (
            {"from_sync": "tenants/other/syncs/one"},
            grpc.StatusCode.NOT_FOUND,
            "RESOURCE_NOT_FOUND",
        ),
        ({"from_sync": "one"}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        (
            {"from_time": at(1), "filter": "colour"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "FILTER_INVALID",
        ),
        (
            {"from_time": at(1), "page_token": "x"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "PAGE_TOKEN_INVALID",
        ),
    ],
)
async def test_a_comparison_of_nothing_is_refused(
    served: Served, fields: dict[str, Any], code: grpc.StatusCode, reason: str
) -> None:
    error = await served.refused("DiffRecords", DiffRecordsRequest(parent=USERS, **fields))
    assert (error.code, error.reason) == (code, reason)


async def test_another_tenants_past_is_not_there(served: Served) -> None:
    request = DiffRecordsRequest(parent="tenants/other/iam_users", from_time=at(1))
    error = await served.refused("DiffRecords", request)
    assert error.reason == "RESOURCE_NOT_FOUND"


async def test_versions_are_listed_by_those_who_may_get_the_record(served: Served) -> None:
    request = requests.ListRecordVersionsRequest(parent=f"{USERS}/a")
    getter = {"roles": (), "permissions": ["inventory.iam_users.get"]}
    answer = await served.ask("ListRecordVersions", request, **getter)
    assert [each.iam_user.username for each in answer.records] == ["cy", "bob", "ana"]
    error = await served.refused("ListRecordVersions", request, roles=())
    assert error.reason == "PERMISSION_MISSING"
    never = requests.ListRecordVersionsRequest(parent=f"{USERS}/b")
    assert (await served.refused("ListRecordVersions", never)).reason == "RESOURCE_NOT_FOUND"


async def test_the_past_is_counted_by_those_who_may_list_it(served: Served) -> None:
    request = aggregate_pb2.AggregateRecordsRequest(
        parent=USERS, group_by=["username"], read_time=at(25)
    )
    lister = {"roles": (), "permissions": ["inventory.iam_users.list"]}
    answer = await served.ask("AggregateRecords", request, **lister)
    [group] = answer.groups
    assert (group.keys[0].string_value, group.count) == ("bob", 1)
    error = await served.refused("AggregateRecords", request, roles=())
    assert error.reason == "PERMISSION_MISSING"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"group_by": ["username"] * 2}, "group_by"),
        ({"group_by": ["a", "b", "c", "d"]}, "group_by"),
        ({"aggregates": [aggregate_pb2.Aggregate(field="username")]}, "aggregates[0].function"),
        ({"time_bucket": aggregate_pb2.TimeBucket(field="last_login")}, "time_bucket.unit"),
        ({"group_by": ["colour"]}, "group_by[0]"),
    ],
)
async def test_a_question_out_of_bounds_is_refused(
    served: Served, fields: dict[str, Any], named: str
) -> None:
    request = aggregate_pb2.AggregateRecordsRequest(parent=USERS, **fields)
    error = await served.refused("AggregateRecords", request)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert error.message.startswith(f"{named}: ")
