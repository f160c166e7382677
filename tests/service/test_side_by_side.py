"""Two processes on one database decide side by side as one after the other would."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import FieldInvalid
from mesh.sealing.keyring import KeyRing
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from secmesh.inventory.v1.control_pb2 import Control
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from secmesh.inventory.v1.webhook_pb2 import Webhook
from services.inventory.account_store import AccountStore
from services.inventory.collect.draft import timestamp
from services.inventory.controls import control_store
from services.inventory.errors import SyncRunning
from services.inventory.exceptions import exception_store
from services.inventory.sync_store import SyncStore
from services.inventory.unit_store import UnitStore
from services.inventory.webhooks import webhook_store
from tests.derived import tables_of
from tests.service.collect_world import CATALOGUE, TENANT

KEYS = KeyRing({"one": b"1" * 32}, b"p" * 32)
ACCOUNTS = [f"{number:012}" for number in range(1, 25)]
"""So many that without turns it goes wrong with some of them."""
MOST = 3
"""Resources of a kind that a tenant may have here."""
Both = tuple[Store, Store]


@pytest.fixture
async def both(database: str) -> AsyncIterator[Both]:
    """One database as two processes have it."""
    engines = open_engine(database), open_engine(database)
    tables = tables_of(CATALOGUE, keys=KEYS)
    one, two = (Store(engine, tables, page_key=b"k" * 32) for engine in engines)
    yield one, two
    for engine in engines:
        await engine.dispose()


async def begun(store: Store, account: str, sync_id: str) -> str:
    """Begin a run and give its name; empty if the account is being read."""
    sync = Sync(
        name=f"{TENANT}/syncs/{sync_id}", cloud_account_id=account, state=Sync.STATE_RUNNING
    )
    sync.start_time.CopyFrom(timestamp(datetime.now(UTC)))
    unit = SyncUnit(
        name=f"{sync.name}/units/one",
        collection="iam_users",
        region="global",
        state=SyncUnit.STATE_PENDING,
    )
    try:
        await SyncStore(store).begin(sync, [unit], UnitStore(store, sync_id, timedelta(hours=1)))
    except SyncRunning:
        return ""
    return sync.name


async def test_one_run_reads_an_account_at_a_time(both: Both) -> None:
    for account in ACCOUNTS:
        asked = (begun(store, account, f"s{account}-{place}") for place, store in enumerate(both))
        names = list(filter(None, await asyncio.gather(*asked)))
        assert len(names) == 1
        (running,) = await SyncStore(both[0]).running("acme", account)
        assert running.name == names[0]


async def test_an_account_is_reset_before_a_run_or_not_at_all(both: Both) -> None:
    one, two = both

    async def reset(account: str) -> None:
        try:
            await AccountStore(SyncStore(two)).reset("acme", account, validate_only=False)
        except SyncRunning:
            return

    for account in ACCOUNTS:
        earlier = Sync(
            name=f"{TENANT}/syncs/e{account}",
            cloud_account_id=account,
            state=Sync.STATE_SUCCEEDED,
        )
        async with one.transaction() as connection:
            await one.insert(connection, "syncs", [earlier])
        name, _ = await asyncio.gather(begun(one, account, f"r{account}"), reset(account))
        assert name
        assert await SyncStore(one).find(name) is not None
        assert len(await UnitStore(one, "", timedelta(hours=1)).of(name)) == 1


def webhook(store: Store, number: str) -> Callable[[AsyncConnection], Awaitable[object]]:
    made = Webhook(name=f"{TENANT}/webhooks/w{number}", url="https://hooks.example/x")
    return lambda connection: webhook_store.WebhookStore(store).create(connection, made)


def control(store: Store, number: str) -> Callable[[AsyncConnection], Awaitable[object]]:
    made, stamp = Control(name=f"{TENANT}/controls/c{number}"), timestamp(datetime.now(UTC))
    return lambda connection: control_store.ControlStore(store).create(connection, made, stamp)


def exception(store: Store, number: str) -> Callable[[AsyncConnection], Awaitable[object]]:
    made = CheckException(
        name=f"{TENANT}/checkExceptions/e{number}",
        check_id="s3.versioning",
        reason="It is public.",
        state=CheckException.STATE_PROPOSED,
    )
    made.expire_time.CopyFrom(timestamp(datetime.now(UTC) + timedelta(days=1)))
    return lambda connection: exception_store.ExceptionStore(store).create(connection, made)


@pytest.mark.parametrize(
    ("make", "collection"),
    [(webhook, "webhooks"), (control, "controls"), (exception, "check_exceptions")],
)
async def test_a_tenant_has_no_more_than_it_may(
    both: Both,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Store, str], Callable[[AsyncConnection], Awaitable[object]]],
    collection: str,
) -> None:
    monkeypatch.setattr(webhook_store, "MAX_WEBHOOKS", MOST)
    monkeypatch.setattr(control_store, "MAX_CONTROLS", MOST)
    monkeypatch.setattr(exception_store, "MAX_OPEN", MOST)

    async def create(store: Store, number: str) -> bool:
        try:
            async with store.transaction() as connection:
                await make(store, number)(connection)
        except FieldInvalid:
            return False
        return True

    asked = (
        create(store, f"{number}-{place}")
        for number in range(4)
        for place, store in enumerate(both)
    )
    assert sum(await asyncio.gather(*asked)) == MOST
    assert len(await both[0].fetch(both[0].select(collection, "acme"))) == MOST
