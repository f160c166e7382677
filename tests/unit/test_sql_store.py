"""The store gives one tenant its rows, in their current versions."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.errors import (
    FieldInvalid,
    KindUnknown,
    PageTokenInvalid,
    ResourceExists,
    ResourceNotFound,
)
from mesh.sql.store import Store
from mesh.sql.tables import create_tables
from tests.unit.sql_rows import boxed, names, opened, plain, put, vault


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with opened(database) as made:
        await create_tables(made.engine, made.tables)
        yield made


async def test_what_is_inserted_is_got_and_replaced(store: Store) -> None:
    await put(store, "plains", plain("a", title="one"))
    assert await store.ready()
    assert await store.get("plains", "tenants/acme/plains/a") == plain("a", title="one")
    await put(store, "plains", plain("a", rank=2))
    assert await store.get("plains", "tenants/acme/plains/a") == plain("a", rank=2)


async def test_an_insert_refuses_what_exists_and_keeps_it(store: Store) -> None:
    await put(store, "plains", plain("a", title="one"))

    async def insert() -> None:
        async with store.transaction() as connection:
            await store.insert(connection, "plains", [plain("b")])
            await store.insert(connection, "plains", [plain("a", title="two")])

    with pytest.raises(ResourceExists) as refused:
        await insert()
    assert refused.value.metadata == {"resource": "tenants/acme/plains/a"}
    assert await names(store, "plains", "tenants/acme") == ["tenants/acme/plains/a"]
    kept: Any = await store.get("plains", "tenants/acme/plains/a")
    assert kept.plain.title == "one"


@pytest.mark.parametrize(
    "name", ["tenants/acme/plains/none", "tenants/acme/vaults/a", "plains/a", "", "tenants/acme"]
)
async def test_a_name_that_leads_nowhere_is_not_found(store: Store, name: str) -> None:
    await put(store, "plains", plain("a"))
    with pytest.raises(ResourceNotFound) as refused:
        await store.get("plains", name)
    assert refused.value.metadata == {"resource": name}


async def test_an_unknown_collection_is_named(store: Store) -> None:
    with pytest.raises(KindUnknown, match="nothings"):
        await store.get("nothings", "tenants/acme/nothings/a")
    with pytest.raises(KindUnknown, match="nothings"):
        await store.page("nothings", "tenants/acme")


@pytest.mark.parametrize("parent", ["", "acme", "tenants/acme/vaults", "tenants/acme/plains/a/b"])
async def test_a_parent_of_another_form_is_refused(store: Store, parent: str) -> None:
    with pytest.raises(FieldInvalid, match="parent: must be of the form tenants"):
        await store.page("plains", parent)


async def test_a_page_holds_what_is_under_its_parent(store: Store) -> None:
    await put(store, "everythings", boxed("b", "1"), boxed("b", "2"), boxed("c", "3"))
    assert await names(store, "everythings", "tenants/acme/boxes/b") == [
        "tenants/acme/boxes/b/everythings/1",
        "tenants/acme/boxes/b/everythings/2",
    ]
    async with store.transaction() as connection:
        assert await store.delete_under(connection, "everythings", "tenants/acme/boxes/b") == 2
    assert await names(store, "everythings", "tenants/acme/boxes/b") == []
    assert len(await names(store, "everythings", "tenants/acme/boxes/c")) == 1


async def test_no_call_reaches_another_tenants_rows(store: Store) -> None:
    await put(store, "plains", plain("a", title="acme's"), plain("b"))
    await put(store, "plains", plain("a", "other", title="other's"))
    await put(store, "everythings", boxed("b", "1", "acme"), boxed("b", "1", "other"))
    mine: Any = await store.get("plains", "tenants/other/plains/a")
    assert mine.plain.title == "other's"
    with pytest.raises(ResourceNotFound):
        await store.get("plains", "tenants/other/plains/b")
    assert await names(store, "plains", "tenants/other") == ["tenants/other/plains/a"]
    assert await names(store, "plains", "tenants/third") == []
    everything = store.select("plains", "other", past=True)
    assert len(await store.messages("plains", everything)) == 1
    filtered = await store.page("plains", "tenants/other", filter='title == "acme\'s" || true')
    assert [each.name for each in filtered.items] == ["tenants/other/plains/a"]  # type: ignore[attr-defined]  # has a name
    async with store.transaction() as connection:
        await connection.execute(store.update("plains", "other").values(title="changed"))
        await store.delete_under(connection, "everythings", "tenants/other/boxes/b")
        await connection.execute(store.delete("everythings", "other"))
        await store.upsert(connection, "plains", [plain("b", "other")])
    kept: Any = await store.get("plains", "tenants/acme/plains/a")
    assert kept.plain.title == "acme's"
    assert len(await names(store, "everythings", "tenants/acme/boxes/b")) == 1


async def test_a_token_of_one_tenant_opens_no_page_of_another(store: Store) -> None:
    await put(
        store,
        "plains",
        *(plain(str(each), tenant) for each in range(3) for tenant in ("acme", "other")),
    )
    first = await store.page("plains", "tenants/acme", page_size=1)
    with pytest.raises(PageTokenInvalid):
        await store.page("plains", "tenants/other", page_size=1, page_token=first.next_page_token)


async def test_only_current_versions_are_read(store: Store) -> None:
    await put(store, "vaults", vault(1, "ana", closed=5), vault(5, "bob"))
    current: Any = await store.get("vaults", "tenants/acme/vaults/v")
    assert current.vault.owner == "bob"
    assert len((await store.page("vaults", "tenants/acme")).items) == 1
    versions = await store.messages("vaults", store.select("vaults", "acme", past=True))
    assert versions == [vault(1, "ana", closed=5), vault(5, "bob")]


async def test_a_vanished_record_is_not_found_and_not_lost(store: Store) -> None:
    await put(store, "vaults", vault(1, "ana"))
    table = store.target("vaults").table
    closing = store.update("vaults", "acme").where(table.c.id == "v").values(valid_to=9_000_000)
    async with store.transaction() as connection:
        await connection.execute(closing)
        # Closed already: only current versions are updated.
        assert (await connection.execute(closing)).rowcount == 0
    with pytest.raises(ResourceNotFound):
        await store.get("vaults", "tenants/acme/vaults/v")
    [past] = await store.messages("vaults", store.select("vaults", "acme", past=True))
    assert past == vault(1, "ana", closed=9)


async def test_two_current_versions_are_refused(store: Store) -> None:
    await put(store, "vaults", vault(1, "ana"))
    with pytest.raises(ResourceExists):
        await put(store, "vaults", vault(2, "bob"))


async def test_secrets_are_not_even_read(store: Store) -> None:
    record = vault(1, "ana")
    record.vault.password = "hunter2"
    record.vault.main_key.material = b"s3cret"
    await put(store, "vaults", record)
    seen: list[str] = []

    def listen(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(store.engine.sync_engine, "before_cursor_execute", listen)
    got = await store.get("vaults", record.name)
    [listed] = (await store.page("vaults", "tenants/acme")).items
    assert seen
    assert not any("password" in statement for statement in seen)
    for message in (got, listed):
        assert b"hunter2" not in message.SerializeToString()
        assert b"s3cret" not in message.SerializeToString()
    assert await store.get("vaults", record.name, secrets=True) == record


async def test_a_tenant_may_be_named_as_a_collection(store: Store) -> None:
    await put(store, "plains", plain("a", "plains"))
    for parent in ("tenants/plains", "tenants/plains/plains"):
        assert await names(store, "plains", parent) == ["tenants/plains/plains/a"]
