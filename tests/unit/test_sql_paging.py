"""Pages put together are the whole list, and a token opens nothing else."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.errors import FieldInvalid, OrderInvalid, PageTokenInvalid
from mesh.sql.engine import open_engine
from mesh.sql.order import OrderKey, parse_order
from mesh.sql.paging import PageTokens
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.examples import examples
from tests.unit.sql_contract import new, sample_catalogue

PARENT = "tenants/acme/boxes/b"
TABLES = Tables(sample_catalogue())
SORTED_FIELDS = ["maybe_int32", "maybe_string", "maybe_double", "level", "a_bool", "moment"]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def shared(runner: asyncio.Runner, module_database: str) -> Iterator[Store]:
    engine = open_engine(module_database)
    store = Store(engine, TABLES, page_key=b"k" * 32)
    runner.run(create_tables(engine, TABLES))
    yield store
    runner.run(engine.dispose())


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    engine = open_engine(database)
    made = Store(engine, TABLES, page_key=b"k" * 32)
    await create_tables(engine, TABLES)
    yield made
    await engine.dispose()


def message(record: int, **fields: Any) -> Any:
    made = type(new("everythings"))(
        name=f"{PARENT}/everythings/{record:03d}",
        an_sfixed32=101,
        a_string=str(record),
        an_sint32=record,
    )
    for name, value in fields.items():
        if value is None:
            continue
        if name == "moment":
            made.moment.FromMicroseconds(value)
        else:
            setattr(made, name, value)
    return made


FIELDS = st.fixed_dictionaries(
    {
        "maybe_int32": st.none() | st.integers(1, 3),
        "maybe_double": st.none() | st.sampled_from([-1.5, 0.1, 1e300]),
        "level": st.sampled_from([0, 1, 5]),
        "a_bool": st.booleans(),
        "moment": st.none() | st.sampled_from([-1, 0, 1_700_000_000_123_456]),
    }
)
ORDERS = st.lists(
    st.tuples(st.sampled_from([*SORTED_FIELDS, "name"]), st.sampled_from(["", " desc"])),
    max_size=3,
    unique_by=lambda pair: pair[0],
)


def python_key(order: list[tuple[str, str]]) -> Callable[[Any], Any]:
    """Sort as Python does, with absent values before every other."""

    class Backwards:
        def __init__(self, value: Any) -> None:
            self.value = value

        def __lt__(self, other: "Backwards") -> bool:
            return bool(other.value < self.value)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Backwards) and bool(self.value == other.value)

        __hash__ = None  # type: ignore[assignment]  # only compared

    def key(made: Any) -> Any:
        parts: list[Any] = []
        for field, direction in order:
            value: Any = (0,)
            descriptor = made.DESCRIPTOR.fields_by_name[field]
            if not descriptor.has_presence or made.HasField(field):
                held = getattr(made, field)
                value = (1, held.ToMicroseconds() if field == "moment" else held)
            parts.append(Backwards(value) if direction else value)
        return (*parts, made.name)

    return key


async def refill(store: Store, messages: list[Any]) -> None:
    async with store.transaction() as connection:
        await store.delete_under(connection, "everythings", PARENT)
        await store.insert(connection, "everythings", messages)


async def read_all(
    store: Store, order_by: str, page_size: int, between: Callable[[], Any] | None = None
) -> list[Any]:
    found: list[Any] = []
    token = ""
    while True:
        page = await store.page(
            "everythings", PARENT, order_by=order_by, page_size=page_size, page_token=token
        )
        assert len(page.items) <= page_size
        found += page.items
        token = page.next_page_token
        if not token:
            return found
        assert len(page.items) == page_size
        if between is not None:
            await between()


@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(FIELDS, max_size=14), order=ORDERS, page_size=st.integers(1, 6))
def test_pages_put_together_are_the_whole_sorted_list(
    runner: asyncio.Runner,
    shared: Store,
    rows: list[dict[str, Any]],
    order: list[tuple[str, str]],
    page_size: int,
) -> None:
    messages = [message(place, **fields) for place, fields in enumerate(rows)]
    order_by = ", ".join(f"{field}{direction}" for field, direction in order)
    runner.run(refill(shared, messages))
    found = runner.run(read_all(shared, order_by, page_size))
    assert found == sorted(messages, key=python_key(order))


@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(FIELDS, min_size=4, max_size=12),
    added=st.lists(FIELDS, max_size=6),
    order=ORDERS,
    page_size=st.integers(1, 3),
)
def test_rows_added_meanwhile_neither_repeat_nor_hide_the_others(
    runner: asyncio.Runner,
    shared: Store,
    rows: list[dict[str, Any]],
    added: list[dict[str, Any]],
    order: list[tuple[str, str]],
    page_size: int,
) -> None:
    # Old ids are even and new ones odd, so that new rows come between old ones too.
    messages = [message(2 * place, **fields) for place, fields in enumerate(rows)]
    later = [message(2 * place + 1, **fields) for place, fields in enumerate(added)]
    order_by = ", ".join(f"{field}{direction}" for field, direction in order)

    async def add() -> None:
        if later:
            async with shared.transaction() as connection:
                await shared.insert(connection, "everythings", [later.pop()])

    runner.run(refill(shared, messages))
    found = [each.name for each in runner.run(read_all(shared, order_by, page_size, add))]
    assert len(found) == len(set(found))
    assert {each.name for each in messages} <= set(found)


async def test_the_default_page_holds_a_hundred(store: Store) -> None:
    await refill(store, [message(place) for place in range(101)])
    page = await store.page("everythings", PARENT)
    assert len(page.items) == 100
    last = await store.page("everythings", PARENT, page_token=page.next_page_token)
    assert [each.name for each in last.items] == [f"{PARENT}/everythings/100"]  # type: ignore[attr-defined]  # has a name
    assert last.next_page_token == ""


@pytest.mark.parametrize("size", [-1, 1001])
async def test_a_page_of_another_size_is_refused(store: Store, size: int) -> None:
    with pytest.raises(FieldInvalid, match="page_size: must be from 0 to 1000"):
        await store.page("everythings", PARENT, page_size=size)


@pytest.mark.parametrize(
    "other",
    [
        {"order_by": "level desc"},
        {"filter": "a_bool"},
        {"parent": "tenants/acme/boxes/c"},
        {"parent": "tenants/other/boxes/b"},
        {"collection": "plains", "parent": "tenants/acme"},
    ],
)
async def test_a_token_belongs_to_its_request(store: Store, other: dict[str, str]) -> None:
    await refill(store, [message(place, level=place % 2) for place in range(4)])
    request = {"collection": "everythings", "parent": PARENT, "order_by": "name", "filter": "true"}
    first = await store.page(**request, page_size=2)  # type: ignore[arg-type]  # str values
    again = await store.page(**request, page_size=1, page_token=first.next_page_token)  # type: ignore[arg-type]  # str values
    assert len(again.items) == 1
    with pytest.raises(PageTokenInvalid):
        await store.page(**(request | other), page_token=first.next_page_token)  # type: ignore[arg-type]  # str values


async def test_a_changed_token_is_refused(store: Store) -> None:
    await refill(store, [message(place) for place in range(3)])
    token = (await store.page("everythings", PARENT, page_size=1)).next_page_token
    raw = bytearray(base64.urlsafe_b64decode(token))
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        with pytest.raises(PageTokenInvalid):
            await store.page(
                "everythings", PARENT, page_token=base64.urlsafe_b64encode(changed).decode()
            )


@pytest.mark.parametrize("token", ["x", "ü", "AAAA", "!!!!", "A" * 43, "A" * 4096, "AA==AA=="])
async def test_what_is_no_token_is_refused(store: Store, token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        await store.page("everythings", PARENT, page_token=token)


def test_a_token_of_another_key_is_refused() -> None:
    token = PageTokens(b"a" * 32).write(["r"], [1])
    assert PageTokens(b"a" * 32).read(["r"], token) == [1]
    with pytest.raises(PageTokenInvalid):
        PageTokens(b"b" * 32).read(["r"], token)


def test_parts_of_a_request_do_not_run_together() -> None:
    tokens = PageTokens(b"a" * 32)
    with pytest.raises(PageTokenInvalid):
        tokens.read(["ab", "c"], tokens.write(["a", "bc"], [1]))


@pytest.mark.parametrize(
    ("order_by", "keys"),
    [
        ("", [OrderKey("id")]),
        ("  ", [OrderKey("id")]),
        ("owner", [OrderKey("owner", optional=True), OrderKey("id")]),
        (
            " owner   desc ,valid_from",
            [OrderKey("owner", True, True), OrderKey("valid_from"), OrderKey("id")],
        ),
        ("record.etag desc", [OrderKey("etag", True), OrderKey("id")]),
        ("name desc", [OrderKey("id", True)]),
        ("record.name, size", [OrderKey("id"), OrderKey("size", optional=True)]),
    ],
)
def test_orders_are_read(order_by: str, keys: list[OrderKey]) -> None:
    assert list(parse_order(order_by, TABLES["vaults"])) == keys


@pytest.mark.parametrize(
    ("order_by", "field"),
    [
        ("colour", "colour"),
        ("owner asc", "owner asc"),
        ("owner desc desc", "owner desc desc"),
        ("owner,", ""),
        ("owner, owner desc", "owner desc"),
        ("etag, record.etag", "record.etag"),
        ("name, record.name", "record.name"),
        ("record.owner", "record.owner"),
        ("record.", "record."),
        ("vault.owner", "vault.owner"),
        ("password", "password"),
        ("labels", "labels"),
        ("keys", "keys"),
        ("main_key.label", "main_key.label"),
        ("tenant_id", "tenant_id"),
        ("id", "id"),
        ("owner; DROP TABLE vaults", "owner; DROP TABLE vaults"),
    ],
)
def test_an_order_that_is_none_is_refused(order_by: str, field: str) -> None:
    with pytest.raises(OrderInvalid) as refused:
        parse_order(order_by, TABLES["vaults"])
    assert refused.value.metadata == {"field": field}
