"""What every store of the tenancy service promises of queries, asked of each of them."""

from typing import Any

import pytest

from services.tenancy.store.keys import PlatformScope, TenantScope, key_of
from services.tenancy.store.port import (
    Between,
    Delete,
    Prefix,
    Put,
    Query,
    Remove,
    Store,
    Update,
    UpTo,
)
from services.tenancy.store.tables import Table
from tests.service.tenancy_stores import full, new_tenant

PLATFORM = PlatformScope()


@pytest.fixture
def scope() -> TenantScope:
    return TenantScope(new_tenant())


async def test_a_partition_is_read_in_order(tenancy_store: Store, scope: TenantScope) -> None:
    other = TenantScope(new_tenant())
    for name in ("b", "a", "é", "z", "B"):
        await tenancy_store.write(Put(scope.provider(name), {"id": name}))
    await tenancy_store.write(Put(other.provider("c"), {"id": "c"}))
    await tenancy_store.write(Put(scope.provider_guard("aws", "a"), {"owner": "a"}))
    page = await tenancy_store.query(scope.providers())
    # As their UTF-8 bytes are.
    assert [item["id"] for item in page.items] == ["B", "a", "b", "z", "é"]
    assert page.next is None


async def test_sort_keys_within_bounds(tenancy_store: Store, scope: TenantScope) -> None:
    for fire in (100, 200, 300, 400):
        await tenancy_store.write(Put(scope.execution("s1", fire), {"fire": fire}))
    await tenancy_store.write(Put(scope.manual_execution("s1", "x"), {"fire": 0}))
    pk = scope.execution("s1", 100).pk

    async def fires(sk: Any, *, forward: bool = True) -> list[Any]:
        query = Query(Table.EXECUTIONS, pk, sk=sk, forward=forward, consistent=True)
        return [item["fire"] for item in (await tenancy_store.query(query)).items]

    assert await fires(Prefix("F#")) == [100, 200, 300, 400]
    assert await fires(Prefix("F#"), forward=False) == [400, 300, 200, 100]
    assert await fires(Between("F#0000000200", "F#0000000300")) == [200, 300]
    assert await fires(Between("F#0000000300", "F#0000000200")) == []
    assert await fires(UpTo("F#0000000300")) == [100, 200, 300]
    assert await fires(UpTo("F#0000000300"), forward=False) == [300, 200, 100]
    assert await fires(None) == [100, 200, 300, 400, 0]
    assert await fires(Prefix("nothing")) == []
    page = await tenancy_store.query(scope.executions_of_schedule("s1", 150, 300))
    assert [item["fire"] for item in page.items] == [200, 300]


@pytest.mark.parametrize("forward", [True, False])
async def test_pages_go_on_where_they_ended(
    tenancy_store: Store, scope: TenantScope, forward: bool
) -> None:
    expected = [f"a{number}" for number in range(7)]
    for name in expected:
        await tenancy_store.write(Put(scope.account(name), {"id": name}))
    query = Query(scope.account("x").table, scope.tenant, limit=3, forward=forward)
    seen: list[Any] = []
    start = None
    for _ in range(4):
        page = await tenancy_store.query(Query(**{**vars(query), "start": start}))
        seen += [item["id"] for item in page.items]
        start = page.next
        if start is None:
            break
        # Where a page ended may be gone by the time of the next.
        await tenancy_store.write(Delete(scope.account(str(page.items[-1]["id"]))))
    assert start is None
    assert seen == (expected if forward else expected[::-1])


async def test_an_index_holds_what_has_its_keys(tenancy_store: Store, scope: TenantScope) -> None:
    def account(name: str, status: str) -> Put:
        place = scope.by_provider("p1", status, name) | PLATFORM.by_account_id(name)
        return Put(scope.account(name), {"account_id": name, **place})

    ids = [f"{scope.tenant}-{letter}" for letter in "abc"]
    await tenancy_store.write(*map(account, ids, ("FAILED", "ACTIVE", "FAILED")))
    await tenancy_store.write(Put(scope.account("outside"), {"account_id": "outside"}))

    async def found(query: Query) -> list[Any]:
        return [item["account_id"] for item in (await tenancy_store.query(query)).items]

    assert await found(scope.accounts_of_provider("p1")) == [ids[1], ids[0], ids[2]]
    assert await found(scope.accounts_of_provider("p1", "FAILED")) == [ids[0], ids[2]]
    assert await found(scope.accounts_of_provider("p2")) == []
    # An index of keys shows nothing else.
    (entry,) = (await tenancy_store.query(PLATFORM.account(ids[0]))).items
    key = scope.account(ids[0])
    assert entry == full(key, by_id_pk=ids[0])
    assert key_of(Table.ACCOUNTS, entry) == key
    # It follows: a change of place, and one out of it.
    await tenancy_store.write(account(ids[0], "ACTIVE"))
    assert await found(scope.accounts_of_provider("p1", "ACTIVE")) == [ids[0], ids[1]]
    gone = [Remove(name) for name in ("by_provider_pk", "by_provider_sk")]
    await tenancy_store.write(Update(scope.account(ids[1]), gone))
    assert await found(scope.accounts_of_provider("p1")) == [ids[0], ids[2]]
    await tenancy_store.write(Delete(scope.account(ids[2])))
    assert await found(scope.accounts_of_provider("p1")) == [ids[0]]


async def test_pages_of_an_index_with_equal_sort_keys(
    tenancy_store: Store, scope: TenantScope
) -> None:
    expected = set()
    for number in range(5):
        key = scope.scan_result(f"a{number}", 1_000_000, f"e{number}")
        expected.add(key.pk)
        places = scope.scan_result_indexes(f"e{number}", 0, 1_000_000) | {"by_tenant_sk": "same"}
        await tenancy_store.write(Put(key, places))
    query = scope.scan_results_of_month("197001")
    seen: list[Any] = []
    start = None
    for _ in range(6):
        page = await tenancy_store.query(Query(**{**vars(query), "start": start, "limit": 2}))
        seen += [item["pk"] for item in page.items]
        start = page.next
        if start is None:
            break
    assert len(seen) == len(expected)
    assert set(seen) == expected


async def test_the_index_of_what_is_due_shows_versions(
    tenancy_store: Store, scope: TenantScope
) -> None:
    shard = int(scope.tenant[1:], 36) % 10_000 + 100  # No other test polls it.
    for name, fire in (("s1", 300), ("s2", 100), ("s3", 200)):
        place = PLATFORM.due_place(shard, fire, name)
        await tenancy_store.write(
            Put(scope.schedule(name), {"version": fire, "body": "x", **place})
        )
    page = await tenancy_store.query(PLATFORM.due(shard, 200))
    assert [item["sk"] for item in page.items] == ["S#s2", "S#s3"]
    assert page.items[0] == full(
        scope.schedule("s2"), version=100, **PLATFORM.due_place(shard, 100, "s2")
    )


async def test_a_page_ends_at_a_megabyte(tenancy_store: Store, scope: TenantScope) -> None:
    for number in range(4):
        await tenancy_store.write(Put(scope.account(f"a{number}"), {"text": "x" * 390_000}))
    first = await tenancy_store.query(scope.accounts())
    assert first.next is not None
    assert 2 <= len(first.items) <= 3
    rest = await tenancy_store.query(Query(**{**vars(scope.accounts()), "start": first.next}))
    assert len(first.items) + len(rest.items) == 4
    # The embedded store copies a whole table for each transaction.
    for number in range(4):
        await tenancy_store.write(Delete(scope.account(f"a{number}")))
