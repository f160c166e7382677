"""Each index of each security kind serves its filter under row-level security.

The kinds, their indexes and the filters come from the contract. Each table holds one row and
statistics that tell of a great many: what is asked is whether PostgreSQL may use the index for the
condition, which under row-level security it does for leakproof operators alone.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Kind, field_option
from mesh.identifiers import new_uuid
from mesh.sql.engine import open_engine
from mesh.sql.store import TENANT, Store
from secmesh.security.v1.record_pb2 import Record
from tests.databases import security_database
from tests.derived import tables_of
from tests.service.security_world import CATALOGUE, KINDS

TABLES = tables_of(CATALOGUE, isolated=True)
KEY = b"k" * 32
TELL = """
SELECT pg_restore_relation_stats(
  'schemaname', 'public', 'relname', relname::text, 'relpages', 1, 'reltuples', 1e12::real)
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
_REALS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


@dataclass
class Planner:
    """A connection of the application's role, acting for one tenant."""

    store: Store
    connection: AsyncConnection
    runner: asyncio.Runner
    sent: list[Any]

    def plan(self, collection: str, condition: str) -> str:
        """Give PostgreSQL's plan of a list by a condition."""
        return self.runner.run(self._plan(collection, condition))

    async def _plan(self, collection: str, condition: str) -> str:
        target = self.store.target(collection)
        statement = self.store.select(collection, "acme", ["id"])
        asked = statement.where(self.store.condition(target, condition))
        await self.store.fetch(asked, self.connection)
        sql, parameters = self.sent[-1]
        told = await self.connection.exec_driver_sql(f"EXPLAIN {sql}", parameters)
        return "\n".join(told.scalars())


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    with security_database() as access, asyncio.Runner() as runner:
        owner, application = open_engine(access.owner), open_engine(access.application)
        store = Store(application, TABLES, page_key=KEY)
        sent: list[Any] = []

        def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
            if not sql.startswith("EXPLAIN"):
                sent.append((sql, parameters))

        async def prepare() -> Any:
            async with store.transaction("acme") as connection:
                for kind in KINDS.values():
                    await store.insert(connection, kind.collection, [blank(kind)])
            async with owner.begin() as connection:
                await connection.exec_driver_sql(TELL)
            await owner.dispose()
            opened = store.connection("acme")
            connection = await opened.__aenter__()
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            sa.event.listen(connection.sync_connection, "before_cursor_execute", note)
            return opened, connection

        opened, connection = runner.run(prepare())
        yield Planner(store, connection, runner, sent)
        runner.run(opened.__aexit__(None, None, None))
        runner.run(application.dispose())


def blank(kind: Kind) -> Any:
    """Give a record of which nothing is known."""
    record = Record(name=f"tenants/acme/{kind.collection}/{new_uuid()}", etag="e")
    getattr(record, kind.body_field or "").SetInParent()
    return record


def conditions(field: FieldDescriptor) -> Sequence[str]:
    """Give conditions that an index on a field is for."""
    name, option = field.name, field_option(field)
    if option.references:
        return [f'{name} == "tenants/acme/{option.references}/x"']
    if field.enum_type is not None:
        value = field.enum_type.values[-1].name
        return [f"{name} == {value}", f"{name} in [{value}]"]
    if field.message_type is not None:
        return [f'{name} < timestamp("2030-01-01T00:00:00Z")']
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return [f'{name} == "x"', f'{name}.startsWith("x")']
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return [f"{name} == true"]
    return [f"{name} == 1.0", f"{name} < 1.0"] if field.cpp_type in _REALS else [f"{name} == 1"]


def is_askable(field: FieldDescriptor) -> bool:
    """Tell whether conditions may be about a field: not about what is sealed or hashed."""
    return not field_option(field).at_rest


def indexed(kind: Kind) -> list[list[FieldDescriptor]]:
    """Give the fields of each index of a kind's own fields, in their order."""
    fields = kind.descriptor.fields_by_name
    found = []
    for index in TABLES[kind.collection].table.indexes:
        names = [column.name for column in index.columns if column.name != TENANT]
        if names and all(name in fields and is_askable(fields[name]) for name in names):
            found.append([fields[name] for name in names])
    return found


def index_lines(plan: str) -> str:
    return "\n".join(line for line in plan.splitlines() if "Index Cond" in line)


def test_every_kind_has_an_index_beside_its_key() -> None:
    assert sum(len(indexed(kind)) for kind in KINDS.values()) > 2 * len(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_filter_by_indexed_fields_is_a_condition_of_an_index(
    planner: Planner, kind: Kind
) -> None:
    for fields in indexed(kind):
        asked = [*conditions(fields[0])]
        if len(fields) > 1:
            asked.append(" && ".join(conditions(field)[0] for field in fields))
        for condition in asked:
            plan = planner.plan(kind.collection, condition)
            named = [field.name for field in fields if field.name in condition]
            assert all(name in index_lines(plan) for name in named), f"{condition}\n{plan}"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_filter_by_a_value_in_an_indexed_list_is_a_condition_of_its_index(
    planner: Planner, kind: Kind
) -> None:
    for field in kind.descriptor.fields:
        if not field.is_repeated or not field_option(field).indexed:
            continue
        plan = planner.plan(kind.collection, f'"x" in {field.name}')
        assert f"{kind.collection}_{field.name}_pkey" in plan, plan
        assert "value" in index_lines(plan), plan
