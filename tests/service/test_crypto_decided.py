"""What a tenant decided, read by one statement: the tenant's own alone, and now."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from mesh.embedded.postgres import Access
from mesh.errors import DependencyUnavailable
from mesh.identifiers import new_uuid
from mesh.sql.engine import open_engine
from mesh.sql.transactions import Transactions
from services.crypto.persons.config_store import ConfigStore, PurposeRow
from services.crypto.persons.decided import DecidedStore
from services.crypto.persons.fields import CONTRACT, PersonField
from services.crypto.suite.header import Tier
from tests.databases import crypto_database


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@asynccontextmanager
async def opened(access: Access) -> AsyncIterator[Transactions]:
    engine = open_engine(access.application)
    yield Transactions(engine, None, isolated=True)
    await engine.dispose()


@pytest.fixture
async def transactions(access: Access) -> AsyncIterator[Transactions]:
    async with opened(access) as made:
        yield made


async def decide(transactions: Transactions, tenant: str) -> None:
    store = ConfigStore()
    own = PersonField("medical_record", 40_000, Tier.DOUBLE, Tier.CLEAR, padding=128)
    async with transactions.transaction(tenant) as connection:
        await store.change_settings(connection, tenant, {"encryption_enabled": "false"}, "ann")
        await store.define(connection, tenant, own)
        await store.raise_tier(connection, tenant, CONTRACT["email"], Tier.SEALED)
        await store.add_purpose(connection, tenant, PurposeRow("billing", "", ("ssn", "email")))


async def test_it_is_what_the_single_statements_say(transactions: Transactions) -> None:
    store, one, other = ConfigStore(), f"t-{new_uuid()}", f"t-{new_uuid()}"
    await decide(transactions, one)
    for tenant in (one, other):
        decided = await DecidedStore(transactions).read(tenant, "billing")
        async with transactions.connection(tenant) as connection:
            fields = await store.fields(connection, tenant)
            assert decided.settings == await store.settings(connection, tenant)
        assert list(decided.fields) == list(fields)
    mine = await DecidedStore(transactions).read(one, "billing")
    assert mine.settings["encryption_enabled"] == "false"
    assert mine.covered == {"ssn", "email"}
    assert mine.fields["email"].tier is Tier.SEALED
    assert decided.covered == frozenset()
    assert decided.settings["encryption_enabled"] == "true"
    assert decided.fields.find("medical_record") is None


async def test_one_who_reads_leaves_no_tenant_behind_for_the_next(
    transactions: Transactions,
) -> None:
    tenant = f"t-{new_uuid()}"
    await decide(transactions, tenant)
    await DecidedStore(transactions).read(tenant)
    async with transactions.connection() as connection:
        assert not list(await ConfigStore().purposes(connection, tenant, None, 10))


async def test_many_at_once_each_read_their_own(transactions: Transactions) -> None:
    tenants = [f"t-{new_uuid()}" for _ in range(6)]
    for tenant in tenants[::2]:
        await decide(transactions, tenant)
    store = DecidedStore(transactions)
    read = await asyncio.gather(*(store.read(tenant, "billing") for tenant in tenants * 5))
    assert [bool(each.covered) for each in read] == [True, False] * 15


async def test_calls_at_once_share_a_statement_and_later_ones_read_anew(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, store, sent = f"t-{new_uuid()}", DecidedStore(transactions), 0
    execute = psycopg.AsyncConnection.execute

    async def counted(driver: Any, query: Any, *arguments: Any) -> Any:
        nonlocal sent
        sent += "user_fields" in query
        return await execute(driver, query, *arguments)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", counted)
    first = asyncio.create_task(store.read(tenant))
    others = [asyncio.create_task(store.read(tenant)) for _ in range(9)]
    await asyncio.sleep(0)
    # One that goes away takes nothing from the others.
    first.cancel()
    read = await asyncio.gather(*others)
    assert sent == 1
    assert len({id(each) for each in read}) == 1
    await decide(transactions, tenant)
    assert (await store.read(tenant)).settings["encryption_enabled"] == "false"
    assert sent == 2


async def test_who_asks_after_a_decision_is_told_of_it_while_an_older_statement_runs(
    transactions: Transactions, access: Access
) -> None:
    tenant, store = f"t-{new_uuid()}", DecidedStore(transactions)
    async with await psycopg.AsyncConnection.connect(access.owner) as owner:
        await owner.execute("LOCK TABLE purposes IN ACCESS EXCLUSIVE MODE")
        older = asyncio.create_task(store.read(tenant, "billing"))
        for waits in (True, False):
            while bool(store._waiting) is not waits:
                await asyncio.sleep(0)
        later = asyncio.create_task(store.read(tenant, "billing"))
        await asyncio.sleep(0)
        assert len(store._waiting) == 1
        await owner.execute(
            "INSERT INTO purposes (tenant_id, id, description, fields) "
            "VALUES (%s, 'billing', '', %s)",
            (tenant, ["ssn"]),
        )
        await owner.commit()
    assert (await later).covered == {"ssn"}
    await older


async def test_a_connection_that_was_lost_is_replaced(
    transactions: Transactions, access: Access
) -> None:
    store = DecidedStore(transactions)
    await store.read("acme")
    # A role may end what is its own.
    with psycopg.connect(access.application) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND usename = current_user"
        )
    assert (await store.read("acme")).settings


async def test_a_database_that_is_away_is_a_refusal() -> None:
    nowhere = "postgresql://nobody@/nothing?host=/nowhere"
    async with opened(Access(owner=nowhere, application=nowhere)) as away:
        with pytest.raises(DependencyUnavailable):
            await DecidedStore(away).read("acme")
