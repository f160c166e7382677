"""The record service: masks, kinds, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.contract.catalogue import CatalogueError, load_catalogue
from mesh.errors import (
    FilterInvalid,
    KindUnknown,
    MaskInvalid,
    OrderInvalid,
    PageTokenInvalid,
    ResourceNotFound,
)
from mesh.records.mask import ReadMask
from mesh.records.servicer import RecordServicer
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from secmesh.inventory.v1 import record_pb2, record_service_pb2, record_service_pb2_grpc
from secmesh.inventory.v1.iam_pb2 import IamUser
from secmesh.records.v1 import record_requests_pb2 as requests
from tests.derived import tables_of
from tests.unit.sql_contract import new, sample_catalogue

INVENTORY = load_catalogue("secmesh.inventory.v1")
TABLES = tables_of(INVENTORY)
USERS = "tenants/acme/iam_users"


def user(record: str, **fields: Any) -> record_pb2.Record:
    made = record_pb2.Record(
        name=f"{USERS}/{record}", etag="e1", region="global", iam_user=IamUser(username=record)
    )
    made.valid_from.seconds = 1_700_000_000
    made.labels["team"] = "blue"
    made.iam_user.access_keys.add(slot=1, active=True)
    for name, value in fields.items():
        setattr(made.iam_user, name, value)
    return made


@pytest.fixture(scope="module")
def filled(module_database: str) -> str:
    """A database with three users, which no test changes."""

    async def fill() -> None:
        engine = open_engine(module_database)
        store = Store(engine, TABLES, page_key=b"k" * 32)
        await create_tables(engine, TABLES)
        async with store.transaction() as connection:
            users = [user("ana", mfa_enabled=True), user("bob"), user("eve", mfa_enabled=False)]
            await store.insert(connection, "iam_users", users)
        await engine.dispose()

    asyncio.run(fill())
    return module_database


@pytest.fixture
async def servicer(filled: str) -> AsyncIterator[RecordServicer]:
    engine = open_engine(filled)
    yield RecordServicer(INVENTORY, Store(engine, TABLES, page_key=b"k" * 32))
    await engine.dispose()


async def get(servicer: RecordServicer, name: str, *mask: str) -> Any:
    request = requests.GetRecordRequest(name=name, read_mask=FieldMask(paths=mask))
    return await servicer.GetRecord(request, None)


async def listed(servicer: RecordServicer, parent: str = USERS, **fields: Any) -> Any:
    return await servicer.ListRecords(requests.ListRecordsRequest(parent=parent, **fields), None)


async def test_a_record_is_got_whole(servicer: RecordServicer) -> None:
    assert await get(servicer, f"{USERS}/ana") == user("ana", mfa_enabled=True)
    assert await get(servicer, f"{USERS}/ana", "*") == user("ana", mfa_enabled=True)


async def test_a_mask_leaves_what_it_names(servicer: RecordServicer) -> None:
    wanted = record_pb2.Record(
        name=f"{USERS}/ana", labels={"team": "blue"}, iam_user=IamUser(username="ana")
    )
    found = await get(servicer, f"{USERS}/ana", "name", "iam_user.username", "labels")
    assert found == wanted
    assert await get(servicer, f"{USERS}/ana", "etag") == record_pb2.Record(etag="e1")
    body = await get(servicer, f"{USERS}/ana", "iam_user")
    assert body == record_pb2.Record(iam_user=user("ana", mfa_enabled=True).iam_user)
    absent = await get(servicer, f"{USERS}/bob", "iam_user.mfa_enabled")
    assert absent.WhichOneof("body") == "iam_user"
    assert not absent.iam_user.HasField("mfa_enabled")


@pytest.mark.parametrize(
    "path",
    [
        "colour",
        "username",
        "iam_user.colour",
        "iam_user.access_keys.slot",
        "iam_user.username.length",
        "labels.team",
        "s3_bucket.bucket_name",
        "s3_bucket",
        "tenant_id",
        "iam_user.",
        "",
        "name.x",
    ],
)
async def test_a_mask_of_no_field_is_refused(servicer: RecordServicer, path: str) -> None:
    with pytest.raises(MaskInvalid) as refused:
        await get(servicer, f"{USERS}/ana", "name", path)
    assert refused.value.metadata == {"path": path}
    with pytest.raises(MaskInvalid):
        await listed(servicer, read_mask=FieldMask(paths=[path]))


async def test_a_mask_reads_its_columns_alone(servicer: RecordServicer) -> None:
    target = TABLES["iam_users"]
    assert ReadMask(target, ["iam_user.username", "etag"]).columns == ("etag", "username")
    assert ReadMask(target, ["name"]).columns == ("tenant_id", "id")
    assert ReadMask(target, []).columns == ()


def test_a_mask_reaches_into_messages() -> None:
    target = TABLES["syncs"]
    mask = ReadMask(target, ["progress.units", "error.code"])
    assert mask.columns == ("progress", "error")
    sync: Any = new("syncs", INVENTORY)
    sync.progress.units, sync.progress.calls = 3, 9
    sync.error.code, sync.error.message = 5, "kept out"
    wanted: Any = new("syncs", INVENTORY)
    wanted.progress.units, wanted.error.code = 3, 5
    assert mask.apply(sync) == wanted


@pytest.mark.parametrize("path", ["vault.password", "vault.main_key.material"])
def test_secrets_are_no_fields_of_a_mask(path: str) -> None:
    with pytest.raises(MaskInvalid):
        ReadMask(Tables(sample_catalogue())["vaults"], [path])


async def test_records_are_listed_in_pages(servicer: RecordServicer) -> None:
    first = await listed(servicer, page_size=2, order_by="username desc")
    assert isinstance(first, record_service_pb2.ListRecordsResponse)
    assert [record.iam_user.username for record in first.records] == ["eve", "bob"]
    rest = await listed(
        servicer, page_size=2, order_by="username desc", page_token=first.next_page_token
    )
    assert [record.iam_user.username for record in rest.records] == ["ana"]
    assert rest.next_page_token == ""
    with pytest.raises(PageTokenInvalid):
        await listed(servicer, order_by="username", page_token=first.next_page_token)


async def test_a_list_with_a_mask_still_finds_its_next_page(servicer: RecordServicer) -> None:
    mask = FieldMask(paths=["iam_user.mfa_enabled"])
    first = await listed(servicer, page_size=2, order_by="username", read_mask=mask)
    rest = await listed(
        servicer, order_by="username", read_mask=mask, page_token=first.next_page_token
    )
    assert [*first.records, *rest.records] == [
        record_pb2.Record(iam_user=IamUser(mfa_enabled=True)),
        record_pb2.Record(iam_user=IamUser()),
        record_pb2.Record(iam_user=IamUser(mfa_enabled=False)),
    ]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("mfa_enabled == false", ["eve"]),
        ("!has(mfa_enabled)", ["bob"]),
        ('username.startsWith("a") && record.region == "global"', ["ana"]),
        ("access_keys.exists(key, key.active)", ["ana", "bob", "eve"]),
        ('record.labels["team"] == "red"', []),
    ],
)
async def test_a_filter_chooses_records(
    servicer: RecordServicer, condition: str, found: list[str]
) -> None:
    answer = await listed(servicer, filter=condition)
    assert [record.iam_user.username for record in answer.records] == found


async def test_bad_filters_and_orders_are_refused(servicer: RecordServicer) -> None:
    with pytest.raises(FilterInvalid):
        await listed(servicer, filter="colour == 1")
    with pytest.raises(OrderInvalid):
        await listed(servicer, order_by="colour")


@pytest.mark.parametrize("collection", ["syncs", "nothings", "manifest_entries"])
async def test_what_is_no_record_kind_is_unknown(servicer: RecordServicer, collection: str) -> None:
    for call in (
        get(servicer, f"tenants/acme/{collection}/x"),
        listed(servicer, f"tenants/acme/{collection}"),
    ):
        with pytest.raises(KindUnknown) as refused:
            await call
        assert refused.value.metadata == {"collection": collection}


async def test_a_record_that_is_not_there_is_not_found(servicer: RecordServicer) -> None:
    for name in (f"{USERS}/nobody", "tenants/other/iam_users/ana", "tenants/acme/s3_buckets/ana"):
        with pytest.raises(ResourceNotFound):
            await get(servicer, name)


async def test_the_kinds_are_described(servicer: RecordServicer) -> None:
    answer = await servicer.ListKinds(requests.ListKindsRequest(), None)
    kinds = {kind.collection: kind for kind in answer.kinds}
    assert list(kinds) == sorted(INVENTORY.record_kinds)
    users = kinds["iam_users"]
    assert users.body_field == "iam_user"
    assert users.message == "secmesh.inventory.v1.IamUser"
    assert users.description.startswith("A user of IAM")
    assert users.permission_prefix == "inventory.iam_users"
    assert users.history
    assert users.output_only
    fields = {field.name: field for field in users.fields}
    assert next(iter(fields)) == "username"
    assert {
        name: (fields[name].type, fields[name].filterable, fields[name].sortable)
        for name in ("username", "last_login", "mfa_types", "access_keys", "tags", "record.arn")
    } == {
        "username": ("string", True, True),
        "last_login": ("timestamp", True, True),
        "mfa_types": ("list(string)", True, False),
        "access_keys": ("list(secmesh.inventory.v1.AccessKey)", True, False),
        "tags": ("map(string, string)", True, False),
        "record.arn": ("string", True, True),
    }
    assert fields["mfa_enabled"].description == "Whether at least one MFA device is assigned."


async def test_what_is_described_as_usable_is_usable(servicer: RecordServicer) -> None:
    answer = await servicer.ListKinds(requests.ListKindsRequest(), None)
    for kind in answer.kinds:
        parent = f"tenants/acme/{kind.collection}"
        for field in kind.fields:
            if field.filterable:
                await listed(servicer, parent, filter=f"has({field.name})")
            if field.sortable:
                await listed(servicer, parent, order_by=f"{field.name} desc")
            else:
                with pytest.raises(OrderInvalid):
                    await listed(servicer, parent, order_by=field.name)


async def test_secrets_never_leave() -> None:
    engine = open_engine("sqlite://")
    catalogue = sample_catalogue()
    store = Store(engine, Tables(catalogue), page_key=b"k" * 32)
    await create_tables(engine, store.tables)
    record = new("vaults")
    record.name = "tenants/acme/vaults/v"
    record.valid_from.seconds = 1
    record.vault.owner, record.vault.password = "ana", "hunter2"
    for key in (record.vault.keys.add(), record.vault.main_key, record.vault.named_keys["k"]):
        key.label, key.material = "front", b"s3cret"
    async with store.transaction() as connection:
        await store.insert(connection, "vaults", [record])
    servicer = RecordServicer(catalogue, store)
    answers = [
        await get(servicer, record.name),
        await get(servicer, record.name, "vault"),
        await get(servicer, record.name, "vault.main_key", "vault.keys"),
        await listed(servicer, "tenants/acme/vaults"),
    ]
    for answer in answers:
        written = answer.SerializeToString()
        assert b"front" in written
        assert b"hunter2" not in written
        assert b"s3cret" not in written
    kinds = await servicer.ListKinds(requests.ListKindsRequest(), None)
    [vaults] = [kind for kind in kinds.kinds if kind.collection == "vaults"]
    [password] = [field for field in vaults.fields if field.name == "password"]
    assert not password.filterable
    assert not password.sortable
    for condition in ('password == "hunter2"', "has(password)", "has(main_key.material)"):
        with pytest.raises(FilterInvalid):
            await listed(servicer, "tenants/acme/vaults", filter=condition)
    await engine.dispose()


async def test_it_is_served_under_the_name_of_its_package(servicer: RecordServicer) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    servicer.add_to(server)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = record_service_pb2_grpc.RecordServiceStub(channel)
            record = await stub.GetRecord(requests.GetRecordRequest(name=f"{USERS}/bob"))
            page = await stub.ListRecords(requests.ListRecordsRequest(parent=USERS))
            kinds = await stub.ListKinds(requests.ListKindsRequest())
    finally:
        await server.stop(None)
    assert record == user("bob")
    assert len(page.records) == 3
    assert len(kinds.kinds) == len(INVENTORY.record_kinds)


def test_a_package_without_a_record_service_is_refused() -> None:
    catalogue = load_catalogue("secmesh.records.v1")
    store = Store(open_engine("sqlite://"), TABLES, page_key=b"k" * 32)
    with pytest.raises(CatalogueError, match=r"secmesh\.records\.v1"):
        RecordServicer(catalogue, store)
