"""What tests of erasures share: a person with a value in every field, and the calls."""

from typing import Any

import sqlalchemy as sa
from google.rpc import error_details_pb2, status_pb2

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import erasure_pb2 as pb
from tests.databases import open_sync_engine
from tests.service.crypto_world import World
from tests.service.person_story import CLEAR

TIERS = {
    **dict.fromkeys(CLEAR, 1),
    **dict.fromkeys(("address", "date_of_birth", "ip_address"), 2),
    **dict.fromkeys(("ssn", "bank_account", "credit_card"), 3),
}


async def erase(world: World, name: str, **fields: str) -> pb.Erasure:
    confirmed = fields or {"confirm_user_id": id_of(name)}
    done: pb.Erasure = await world.users().EraseUser(pb.EraseUserRequest(name=name, **confirmed))
    return done


def id_of(name: str) -> str:
    return name.rpartition("/")[2]


def reason_of(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(each.Unpack(info) for each in status.details)
    return str(info.reason)


async def rows_of(world: World, table: sa.Table) -> list[Any]:
    """Give the tenant's rows of a table, in the order of its key."""
    statement = sa.select(table).where(table.c.tenant_id == world.tenant)
    async with world.transactions.connection(world.tenant) as connection:
        return list(await connection.execute(statement.order_by(*table.primary_key)))


def everything(access: Access, *unless: str) -> str:
    """Give all rows of all tables as text."""
    engine = open_sync_engine(access.owner)
    with engine.connect() as connection:
        found = [
            row
            for table in sa.inspect(connection).get_table_names()
            if table not in unless
            for row in connection.execute(
                sa.text(f"SELECT CAST(t AS text) FROM {table} AS t")  # noqa: S608 - its own names
            ).scalars()
        ]
    engine.dispose()
    return "\n".join(found)
