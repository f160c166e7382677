"""References between records: names on the wire, foreign keys in every database."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.cel import Environment
from mesh.contract.catalogue import CatalogueError
from mesh.errors import FieldInvalid, ReferenceNotFound, ResourceReferenced
from mesh.records.mask import ReadMask
from secmesh.records.v1.aggregate_pb2 import AggregateRecordsRequest
from tests.unit.record_contract import store_catalogue
from tests.unit.record_world import ITEMS, SHELVES, Records, record_of, records_on
from tests.unit.sql_contract import compile_contract

FIRST, SECOND = f"{SHELVES}/first", f"{SHELVES}/second"


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        await made.create(SHELVES, "first", room="a")
        await made.create(SHELVES, "second", room="b")
        await made.create("tenants/other/shelves", "theirs", room="c")
        yield made


async def test_a_reference_is_a_name_outside_and_an_id_inside(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="t", shelf=FIRST)
    assert made.item.shelf == FIRST
    assert await records.get(made.name) == made
    table = records.store.target("items").table
    row = await records.store.fetch(records.store.select("items", "acme", ["shelf", "spare_shelf"]))
    assert [tuple(each) for each in row] == [("first", None)]
    [key] = [each for each in table.foreign_key_constraints if "shelf" in each.columns
             and "spare" not in str(each.name)]  # fmt: skip
    assert [column.name for column in key.columns] == ["tenant_id", "shelf"]
    changed = await records.update(record_of(made.name, shelf=SECOND))
    assert changed.item.shelf == SECOND
    emptied = await records.update(record_of(made.name), "item.shelf")
    assert not emptied.item.HasField("shelf")


@pytest.mark.parametrize("name", ["first", "", f"{ITEMS}/a", f"{SHELVES}/first/x", "tenants/acme"])
async def test_what_is_no_name_of_the_collection_is_refused(records: Records, name: str) -> None:
    with pytest.raises(FieldInvalid, match="spare_shelf"):
        await records.create(ITEMS, title="t", spare_shelf=name)
    assert await records.names(ITEMS) == []


@pytest.mark.parametrize("name", [f"{SHELVES}/none", "tenants/other/shelves/theirs"])
async def test_what_does_not_exist_or_is_anothers_is_refused(records: Records, name: str) -> None:
    made = await records.create(ITEMS, "a", title="t")
    for call in (
        records.create(ITEMS, title="t", shelf=name),
        records.update(record_of(made.name, shelf=name)),
    ):
        with pytest.raises(ReferenceNotFound) as refused:
            await call
        assert refused.value.metadata == {"field": "shelf", "resource": name}
    assert await records.names(ITEMS) == ["a"]


async def test_what_is_referred_to_stays(records: Records) -> None:
    await records.create(ITEMS, "a", title="t", shelf=FIRST)
    with pytest.raises(ResourceReferenced) as refused:
        await records.delete(FIRST)
    assert refused.value.metadata == {"resource": FIRST, "referrer": "items"}
    answer = await records.batch(
        [{"delete": {"name": FIRST}}, {"delete": {"name": SECOND}}], return_partial_success=True
    )
    assert [each.HasField("error") for each in answer.results] == [True, False]
    assert await records.names(SHELVES) == ["first"]
    await records.batch([{"delete": {"name": f"{ITEMS}/a"}}, {"delete": {"name": FIRST}}])
    assert await records.names(SHELVES) == []


async def test_a_reference_that_may_be_empty_is_emptied_and_the_tenant_stays(
    records: Records,
) -> None:
    await records.create(ITEMS, "a", title="t", spare_shelf=FIRST, rank=1)
    await records.create(ITEMS, "b", title="t", spare_shelf=SECOND)
    # The same ids of another tenant are others.
    await records.create("tenants/other/shelves", "first", room="x")
    theirs = await records.create(
        "tenants/other/items", title="t", spare_shelf="tenants/other/shelves/first"
    )
    await records.delete(FIRST)
    item = (await records.get(f"{ITEMS}/a")).item
    assert not item.HasField("spare_shelf")
    assert item.rank == 1
    assert (await records.get(f"{ITEMS}/b")).item.spare_shelf == SECOND
    assert (await records.get(theirs.name)).item.spare_shelf == "tenants/other/shelves/first"


async def test_what_belongs_to_a_record_goes_with_it(records: Records) -> None:
    root = await records.create(ITEMS, "root", title="t")
    child = await records.create(ITEMS, "child", title="t", parent_item=root.name)
    await records.create(ITEMS, "grandchild", title="t", parent_item=child.name)
    await records.create(ITEMS, "other", title="t")
    await records.delete(root.name)
    assert await records.names(ITEMS) == ["other"]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (f'shelf == "{FIRST}"', ["a"]),
        (f'shelf != "{FIRST}"', ["b"]),
        (f'shelf in ["{FIRST}", "{SECOND}"]', ["a", "b"]),
        (f'shelf.startsWith("{SHELVES}/s")', ["b"]),
        ('shelf == "first"', []),
        ("has(shelf)", ["a", "b"]),
        ("!has(shelf)", ["c"]),
    ],
)
async def test_conditions_see_the_name(records: Records, condition: str, found: list[str]) -> None:
    for record_id, body in (("a", {"shelf": FIRST}), ("b", {"shelf": SECOND}), ("c", {})):
        await records.create(ITEMS, record_id, title="t", **body)
    assert await records.names(ITEMS, condition) == found
    compiled = Environment.of_kind(store_catalogue().kinds["items"]).compile(condition)
    for record_id in "abc":
        record = await records.get(f"{ITEMS}/{record_id}")
        assert bool(compiled.matches(record.item, record)) == (record_id in found)


async def test_masks_and_groups_show_the_name(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="t", shelf=FIRST)
    mask = ReadMask(records.store.target("items"), ["item.shelf"])
    shown: Any = await records.store.get("items", made.name, columns=mask.columns)
    assert (shown.name, shown.item) == ("", record_of(ITEMS, shelf=FIRST).item)
    request = AggregateRecordsRequest(parent=ITEMS, group_by=["shelf"])
    groups = await records.reads.AggregateRecords(request, None)
    assert [group.keys[0].string_value for group in groups.groups] == [FIRST]


async def test_the_database_itself_holds_the_reference(records: Records) -> None:
    table = records.store.target("items").table
    await records.create(ITEMS, "a", title="t", shelf=FIRST)
    with pytest.raises(sa.exc.IntegrityError):
        async with records.store.transaction() as connection:
            await connection.execute(sa.update(table).values(shelf="nowhere"))
    assert (await records.get(f"{ITEMS}/a")).item.shelf == FIRST


KIND = """
syntax = "proto3";
package secmesh.refs{number}.v1;
import "google/api/resource.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";
message Record {{
  string name = 1;
  oneof body {{ Low low = 100; High high = 101; Past past = 102; }}
}}
message Low {{
  option (secmesh.options.v1.kind) = {{module: "m" collection: "lows"}};
  {field}
}}
message High {{ option (secmesh.options.v1.kind) = {{module: "m" collection: "highs"}}; }}
message Deep {{
  option (google.api.resource) = {{type: "x/Deep" pattern: "tenants/{{tenant}}/highs/{{high}}/deeps/{{deep}}"}};
  option (secmesh.options.v1.kind) = {{module: "m" collection: "deeps"}};
  string name = 1;
}}
message Past {{
  option (secmesh.options.v1.kind) = {{module: "m" collection: "pasts" history: true}};
}}
"""  # noqa: E501  # a pattern has one line


@pytest.mark.parametrize(
    ("number", "declared", "wanted", "problem"),
    [
        (1, "string target", "highs", "an optional string"),
        (2, "repeated string target", "highs", "an optional string"),
        (3, "optional int64 target", "highs", "an optional string"),
        (4, "optional string target", "deeps", "hold other ids too"),
        (5, "optional string target", "pasts", "keeps its past"),
    ],
)
def test_a_reference_that_no_table_can_hold_stops_the_start(
    number: int, declared: str, wanted: str, problem: str
) -> None:
    option = f'[(secmesh.options.v1.field).references = "{wanted}"]'
    text = KIND.format(number=number, field=f"{declared} = 1 {option};")
    with pytest.raises(CatalogueError, match=problem):
        compile_contract(f"refs{number}.proto", text, f"secmesh.refs{number}.v1")
