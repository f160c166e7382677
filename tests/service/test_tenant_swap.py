"""No RPC tells or changes what is another tenant's, whatever names its requests hold.

The methods come from the server by reflection, the requests from descriptors: an RPC that is added
is attacked by that.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.contract.catalogue import Catalogue, Kind, load_catalogue
from mesh.identifiers import new_uuid
from mesh.identity.keys import create_signing_key, sign_token
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1 import record_pb2 as inventory_record
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import finding_service_pb2, team_pb2
from secmesh.security.v1.finding_service_pb2_grpc import FindingServiceStub
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from services.inventory.__main__ import build_server
from services.inventory.settings import InventorySettings
from tests.databases import security_database
from tests.derived import tables_of
from tests.inventory_store import inventory_store
from tests.service.callers import LIFETIME
from tests.service.security_records import Tag, body_of, filled, wanted_references
from tests.service.security_world import CATALOGUE, KINDS, World, served
from tests.service.tenant_swap import (
    MARK,
    OTHER,
    OWN,
    Answered,
    Planted,
    attacked,
    attacks,
    served_methods,
)

INVENTORY = load_catalogue("secmesh.inventory.v1")
AUDIT_LOG = "iam_audit_logs"
AT_ONCE = 30
"""Records of one request: several kinds have hashes that take their time."""
pytestmark = pytest.mark.timeout(600)
UNIQUE = "7d6ed1a4-6a3c-4f0c-9a55-0c6f2f6f1b11"


def in_order(kinds: Sequence[Kind]) -> list[Kind]:
    """Put kinds behind those that they must refer to."""
    done: dict[str, Kind] = {}

    def take(kind: Kind) -> None:
        if kind.collection not in done:
            for _, target in wanted_references(kind, whole=False):
                take(KINDS[target])
            done[kind.collection] = kind

    for kind in kinds:
        take(kind)
    return list(done.values())


def records_of(tenant: str, ids: dict[str, str], tag: str) -> Iterator[Record]:
    """Give a record of every kind, those that are referred to first."""
    earlier: set[str] = set()
    for kind in in_order(list(KINDS.values())):
        names = {
            name: f"tenants/{tenant}/{target}/{ids[target]}"
            for name, target in wanted_references(kind, whole=True)
            if target in earlier
        }
        record = Record(name=f"tenants/{tenant}/{kind.collection}/{ids[kind.collection]}")
        body = body_of(kind, Tag(f"{kind.collection}/{tag}"), names)
        getattr(record, kind.body_field or "").CopyFrom(body)
        if tenant == OTHER:
            record.labels["mark"] = f"{MARK} {kind.collection}"
        earlier.add(kind.collection)
        yield record


def plant_security(world: World) -> Planted:
    """Give both tenants records of every kind with the same ids; mark the other's."""
    names = {}
    for number in range(2):
        ids = {collection: new_uuid() for collection in KINDS}
        for tenant in (OTHER, OWN):
            # Of the second there may be fewer: some kinds have few values.
            creates = []
            for record in records_of(tenant, ids, f"swap{number}"):
                parent, _, identity = record.name.rpartition("/")
                create = CreateRecordRequest(parent=parent, record_id=identity, record=record)
                creates.append(create)
            for start in range(0, len(creates), AT_ONCE):
                part = creates[start : start + AT_ONCE]
                world.write_of(tenant, part, partial=bool(number))
        if not number:
            names = {name: f"tenants/{OTHER}/{name}/{ids[name]}" for name in ids}
    tokens, etags = {}, {}
    for collection in KINDS:
        page = world.stub.ListRecords(
            ListRecordsRequest(parent=f"tenants/{OTHER}/{collection}", page_size=1)
        )
        tokens[collection], etags[collection] = page.next_page_token, page.records[0].etag
    team = Record(team=team_pb2.Team(name=MARK, team_type=team_pb2.TEAM_TYPE_SECURITY))
    world.stub.CreateRecord(
        CreateRecordRequest(parent=f"tenants/{OTHER}/teams", record=team, request_id=UNIQUE)
    )
    finding = finding_service_pb2.AssignFindingRequest(
        name=names["project_issues"], assignee=names["users"], justification=MARK
    )
    world.stub_of(OTHER, FindingServiceStub, "admin").AssignFinding(finding)
    return Planted(names, tokens, etags, UNIQUE)


def kept_by(world: World) -> dict[str, list[Any]]:
    """Give all that the other tenant has."""
    found = {}
    for collection in KINDS:
        request = ListRecordsRequest(parent=f"tenants/{OTHER}/{collection}", page_size=1000)
        found[collection] = list(world.stub.ListRecords(request).records)
    return found


def judge(answers: list[Answered]) -> None:
    """Hold each answer against what it may tell."""
    leaks = [
        f"{each.method.path} ({each.label}): {each.leaks()}" for each in answers if each.leaks()
    ]
    assert not leaks, "\n".join(leaks[:20])
    failed = [
        f"{each.method.path} ({each.label}): {each.code.name}"
        for each in answers
        if each.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    ]
    assert not failed, "\n".join(failed[:20])
    let_in = [
        f"{each.method.path} ({each.label}): {each.code.name} {each.reason}"
        for each in answers
        if each.label.startswith("all ") and each.method.names and refers(each)
        if each.reason not in ("RESOURCE_NOT_FOUND", "PERMISSION_MISSING")
    ]
    assert not let_in, "\n".join(let_in[:20])


def refers(answer: Answered) -> bool:
    """Tell whether a request names anything of the other tenant."""
    return f"tenants/{OTHER}".encode() in answer.request


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        security_database() as access,
        served(access, tmp_path_factory.mktemp("home")) as made,
    ):
        yield made


async def test_no_call_of_the_security_service_reaches_another_tenant(security: World) -> None:
    planted = plant_security(security)
    before = kept_by(security)
    assert all(MARK in each[0].labels["mark"] for each in before.values())
    methods = await served_methods(security.address, CATALOGUE)
    assert {each.path for each in methods} == {*CATALOGUE.methods}
    token = sign_token(security.keys, subject="eve", tenant=OWN, roles=["admin"], lifetime=LIFETIME)
    calls = attacks(methods, CATALOGUE, planted, every=40)
    answers = await attacked(security.address, token, calls)
    judge(answers)
    assert {each.method.path for each in answers} == {*CATALOGUE.methods}
    assert any(each.code is grpc.StatusCode.OK and each.seen for each in answers)
    after = kept_by(security)
    # The service goes on to note what was written when the test began; nothing else is noted.
    noted = {each.name: each for each in after.pop(AUDIT_LOG)}
    for each in before.pop(AUDIT_LOG):
        noted.pop(each.name)
    assert {each.iam_audit_log.actor_name for each in noted.values()} <= {"ann"}
    assert after == before


def plant_inventory_messages(tenant: str, catalogue: Catalogue) -> Iterator[tuple[str, Any]]:
    """Give one record or resource of every kind, the other tenant's marked."""
    for kind in catalogue.kinds.values():
        ids = [tenant, *("one" for _ in kind.pattern.variables[1:])]
        name = kind.pattern.format(*ids)
        if kind.body_field:
            message: Any = inventory_record.Record(
                name=name, etag="e", cloud_account_id="123456789012", region="us-east-1"
            )
            body = filled(kind.descriptor, Tag(kind.collection))
            getattr(message, kind.body_field).CopyFrom(body)
            message.valid_from.GetCurrentTime()
            message.sync = f"tenants/{tenant}/syncs/one"
            if tenant == OTHER:
                message.labels["mark"] = MARK
        else:
            message = filled(kind.descriptor, Tag(kind.collection), MARK if tenant == OTHER else "")
            message.name = name
            for field in ("ssp", "claim"):
                if field in message.DESCRIPTOR.fields_by_name and kind.collection != "ssps":
                    setattr(message, field, f"tenants/{tenant}/{field}s/one")
        yield kind.collection, message


@asynccontextmanager
async def inventory(folder: Path) -> AsyncIterator[tuple[str, Store]]:
    """Serve an inventory of two tenants; give its address and its store."""
    create_signing_key(folder / "keys")
    url = inventory_store(folder)
    server = await build_server(InventorySettings(home=folder, database_url=url))
    await server.start()
    engine = open_engine(url)
    try:
        yield server.address, Store(engine, tables_of(INVENTORY), page_key=b"k" * 32)
    finally:
        await engine.dispose()
        await server.stop()


async def rows_of(store: Store, tenant: str) -> dict[str, list[Any]]:
    """Give every version of everything that a tenant has."""
    found = {}
    async with store.connection() as connection:
        for collection in INVENTORY.kinds:
            statement = store.select(collection, tenant, past=True)
            found[collection] = [tuple(row) for row in await store.fetch(statement, connection)]
    return found


async def test_no_call_of_the_inventory_service_reaches_another_tenant(tmp_path: Path) -> None:
    async with inventory(tmp_path) as (address, store):
        names = {}
        async with store.transaction() as connection:
            for tenant in (OTHER, OWN):
                for collection, message in plant_inventory_messages(tenant, INVENTORY):
                    await store.insert(connection, collection, [message])
                    if tenant == OTHER:
                        names[collection] = message.name
        before = await rows_of(store, OTHER)
        assert all(before.values())
        methods = await served_methods(address, INVENTORY)
        token = sign_token(
            tmp_path / "keys", subject="eve", tenant=OWN, roles=["admin"], lifetime=LIFETIME
        )
        planted = Planted(names, request_id=UNIQUE)
        answers = await attacked(address, token, attacks(methods, INVENTORY, planted, every=4))
        judge(answers)
        assert {each.method.path for each in answers} == {*INVENTORY.methods}
        assert any(each.code is grpc.StatusCode.OK and each.seen for each in answers)
        assert await rows_of(store, OTHER) == before
