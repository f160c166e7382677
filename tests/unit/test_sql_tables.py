"""Tables say what the contracts say: types, keys, bounds and indexes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from mesh.contract.catalogue import CatalogueError, load_catalogue
from mesh.errors import FieldInvalid, ResourceExists
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from mesh.sql.types import Json, Timestamp
from tests.unit.sql_contract import compile_contract, new, sample_catalogue

HEAD = """
syntax = "proto3";
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
import "secmesh/options/v1/kind.proto";
"""


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    engine = open_engine(database)
    made = Store(engine, Tables(sample_catalogue()), page_key=b"k" * 32)
    await create_tables(engine, made.tables)
    yield made
    await engine.dispose()


def everything(**fields: Any) -> Any:
    blank = {"name": "tenants/acme/boxes/b/everythings/e", "an_sfixed32": 101, "word": "left"}
    return type(new("everythings"))(**(blank | fields))


async def insert(store: Store, *messages: Any) -> None:
    async with store.transaction() as connection:
        await store.insert(connection, "everythings", messages)


def test_columns_have_the_types_of_their_fields() -> None:
    table = Tables(sample_catalogue())["everythings"].table
    assert [column.name for column in table.c][:3] == ["tenant_id", "box_id", "id"]
    assert "name" not in table.c
    wanted: dict[str, type[Any]] = {
        "an_int32": sa.Integer,
        "a_uint32": sa.BigInteger,
        "an_int64": sa.BigInteger,
        "a_float": sa.Double,
        "a_bool": sa.Boolean,
        "a_string": sa.Text,
        "some_bytes": sa.LargeBinary,
        "level": sa.SmallInteger,
        "moment": Timestamp,
        "length": sa.BigInteger,
        "nested": Json,
        "status": sa.LargeBinary,
        "uint64s": Json,
        "named": Json,
        "chosen_number": sa.BigInteger,
    }
    assert {name: type(table.c[name].type) for name in wanted} == wanted


def test_null_is_for_what_can_be_absent_alone() -> None:
    table = Tables(sample_catalogue())["everythings"].table
    absent = {"maybe_int32", "moment", "nested", "status", "chosen_text", "word"}
    present = {"id", "an_int32", "a_string", "some_bytes", "level", "strings", "words"}
    assert all(table.c[name].nullable for name in absent)
    assert not any(table.c[name].nullable for name in present)


def test_keys_and_indexes_follow_the_kind() -> None:
    tables = Tables(sample_catalogue())
    plain, vaults = tables["everythings"].table, tables["vaults"].table
    assert [column.name for column in plain.primary_key] == ["tenant_id", "box_id", "id"]
    assert [column.name for column in vaults.primary_key] == ["tenant_id", "id", "valid_from"]
    assert _indexes(plain) == {
        (("tenant_id", "level"), False),
        (("tenant_id", "maybe_string"), True),
        (("tenant_id", "a_bool", "a_double"), False),
        (("tenant_id", "an_sint32", "an_sint64"), True),
        (("tenant_id", "a_string", "an_int64"), True),
    }
    assert _indexes(vaults) == {(("tenant_id", "id"), True), (("tenant_id", "owner"), False)}
    conditions = {str(index.dialect_options["sqlite"]["where"]) for index in vaults.indexes}
    assert conditions == {"vaults.valid_to IS NULL"}


def _indexes(table: sa.Table) -> set[tuple[tuple[str, ...], bool]]:
    return {
        (tuple(column.name for column in index.columns), bool(index.unique))
        for index in table.indexes
    }


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("an_int32", [-5, 1000], [-6, 1001]),
        ("an_sfixed32", [101, -101], [100, 0, -100]),
        ("a_string", ["x" * 20, "ü" * 20], ["x" * 21]),
        ("some_bytes", [b"x" * 16], [b"x" * 17]),
        ("level", [0, 1, 5], [2, -1]),
        ("maybe_level", [0, 5], [6]),
        ("maybe_int32", [1], [0]),
        ("maybe_string", ["ab", "abcdefgh"], ["a", "abcdefghi"]),
        ("word", ["right"], ["up"]),
    ],
)
async def test_bounds_are_checked_by_the_table(
    store: Store, field: str, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        async with store.transaction() as connection:
            await store.upsert(connection, "everythings", [everything(**{field: value})])
    for value in bad:
        with pytest.raises(FieldInvalid, match=f"^{field}: breaks its bound "):
            async with store.transaction() as connection:
                await store.upsert(connection, "everythings", [everything(**{field: value})])
    kept: Any = await store.get("everythings", everything().name)
    assert getattr(kept, field) == good[-1]


async def test_two_members_of_a_oneof_are_refused(store: Store) -> None:
    target = store.target("everythings")
    row = target.codec.row(everything(chosen_number=1)) | {"chosen_text": "too"}
    with pytest.raises(sa.exc.IntegrityError, match="ck_everythings_choice_oneof"):
        async with store.transaction() as connection:
            await connection.execute(sa.insert(target.table), row)


@pytest.mark.parametrize(
    "clash",
    [
        {"maybe_string": "same"},
        {"a_string": "natural", "an_int64": 7},
        {"an_sint32": 4, "an_sint64": 5},
    ],
)
async def test_a_unique_value_is_taken_once_in_a_tenant(
    store: Store, clash: dict[str, Any]
) -> None:
    distinct = {"a_string": "one", "an_int64": 1, "an_sint32": 1, "an_sint64": 1}
    await insert(store, everything(**(distinct | clash)))
    other = {"a_string": "two", "an_int64": 2, "an_sint32": 2, "an_sint64": 2}
    twin = everything(**(other | clash | {"name": "tenants/acme/boxes/b/everythings/f"}))
    with pytest.raises(ResourceExists, match="everythings/f"):
        await insert(store, twin)
    twin.name = "tenants/other/boxes/b/everythings/f"
    await insert(store, twin)


async def test_a_name_is_taken_once(store: Store) -> None:
    await insert(store, everything())
    with pytest.raises(ResourceExists, match="tenants/acme/boxes/b/everythings/e"):
        await insert(store, everything(a_string="again"))
    kept: Any = await store.get("everythings", everything().name)
    assert kept.a_string == ""


async def test_tables_are_made_once(store: Store) -> None:
    await insert(store, everything())
    await create_tables(store.engine, store.tables)
    assert await store.get("everythings", everything().name) == everything()


def refuse(name: str, message: str) -> CatalogueError:
    package = f"secmesh.{name}.v1"
    text = HEAD.replace("import", f"package {package};\nimport", 1) + message
    catalogue = compile_contract(f"sql_{name}.proto", text, package)
    with pytest.raises(CatalogueError) as refused:
        Tables(catalogue)
    return refused.value


def test_an_unsigned_64_bit_column_is_refused() -> None:
    error = refuse(
        "unsigned",
        """
        message Big {
          option (google.api.resource) = {type: "x/Big" pattern: "tenants/{tenant}/bigs/{big}"};
          option (secmesh.options.v1.kind) = {module: "m" collection: "bigs"};
          string name = 1;
          uint64 size = 2;
        }""",
    )
    assert error.culprit == "secmesh.unsigned.v1.Big.size"


def test_a_field_named_as_an_id_column_is_refused() -> None:
    error = refuse(
        "clash",
        """
        message Clash {
          option (google.api.resource) = {type: "x/C" pattern: "tenants/{tenant}/clashes/{clash}"};
          option (secmesh.options.v1.kind) = {module: "m" collection: "clashes"};
          string name = 1;
          string tenant_id = 2;
        }""",
    )
    assert "tenant_id" in error.problem


def test_history_without_its_times_is_refused() -> None:
    error = refuse(
        "timeless",
        """
        message Timeless {
          option (google.api.resource) = {type: "x/T" pattern: "tenants/{tenant}/ts/{t}"};
          option (secmesh.options.v1.kind) = {module: "m" collection: "ts" history: true};
          string name = 1;
          google.protobuf.Timestamp valid_from = 2;
          string valid_to = 3;
        }""",
    )
    assert "valid_to" in error.problem


def test_the_same_tables_compile_for_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    tables = Tables(load_catalogue("secmesh.inventory.v1"))
    for collection in tables:
        text = str(sa.schema.CreateTable(tables[collection].table).compile(dialect=dialect))
        assert 'COLLATE "C"' in text
        for constraint in tables[collection].table.constraints:
            assert len(str(constraint.name)) <= 63
        for index in tables[collection].table.indexes:
            assert len(str(index.name)) <= 63
