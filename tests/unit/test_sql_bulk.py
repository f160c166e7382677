"""Many rows added at once on PostgreSQL: what they have in common, of every type, is in each."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import field_option
from mesh.sql.bulk import BulkRows
from mesh.sql.store import Store
from mesh.sql.tables import create_tables
from tests.databases import NEWEST, empty_database
from tests.unit.sql_rows import boxed, opened

MANY = 250
_VALUES: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
    FieldDescriptor.CPPTYPE_FLOAT: 0.5,
    FieldDescriptor.CPPTYPE_ENUM: 1,
}


@pytest.fixture
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    with empty_database(NEWEST, tmp_path_factory) as url:
        async with opened(url) as made:
            await create_tables(made.engine, made.tables)
            yield made


def filled(number: int) -> Any:
    """Give a record with every single field set, and alike in all but what must differ."""
    record = boxed("b", f"r{number:03}")
    for field in record.DESCRIPTOR.fields:
        given = field.name in ("name", "word", "a_string", "an_sfixed32")
        if given or field.is_repeated or field_option(field).unique:
            continue
        if field.message_type is not None:
            getattr(record, field.name).SetInParent()
        elif field.type == FieldDescriptor.TYPE_BYTES:
            setattr(record, field.name, b"x")
        else:
            setattr(record, field.name, _VALUES.get(field.cpp_type, 3))
    record.an_sint32 = number
    return record


def bare(number: int) -> Any:
    record = boxed("b", f"r{number:03}")
    record.an_sint32 = number
    return record


@pytest.mark.parametrize("make", [bare, filled])
async def test_what_rows_have_in_common_is_in_each(store: Store, make: Any) -> None:
    records = [make(number) for number in range(MANY)]
    target = store.target("everythings")
    rows = [target.codec.row(record) for record in records]
    async with store.transaction() as connection:
        assert await BulkRows(store).add(connection, target, rows) == {row["id"] for row in rows}
    for record in (records[0], records[-1]):
        assert await store.get("everythings", record.name) == record


async def test_rows_whose_place_is_taken_are_passed_over(store: Store) -> None:
    target, bulk = store.target("everythings"), BulkRows(store)
    rows = [target.codec.row(bare(number)) for number in range(3)]
    async with store.transaction() as connection:
        assert await bulk.add(connection, target, rows[1:2]) == {"r001"}
        assert await bulk.add(connection, target, rows) == {"r000", "r002"}
