"""Processes whose clocks differ leave versions of a record that follow each other."""

import random
from datetime import timedelta

import sqlalchemy as sa

from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from tests.service.collect_world import REGION, World, client

AHEAD = timedelta(hours=1)
GROUP = "/service/back-again"


async def read(made: World, account: str) -> list[Record]:
    """Read the account's log groups and give all versions, the oldest first."""
    sync = await made.sync("log_groups", account=account, regions=[REGION])
    assert sync.state == Sync.STATE_SUCCEEDED
    return await made.versions("log_groups")


async def test_a_resource_that_is_back_begins_after_the_end_that_a_clock_ahead_wrote(
    collecting: World,
) -> None:
    account = f"{random.SystemRandom().randrange(10**11, 10**12)}"
    logs = client(collecting.endpoint, "logs", account)
    logs.create_log_group(logGroupName=GROUP)
    await read(collecting, account)
    logs.delete_log_group(logGroupName=GROUP)
    (gone,) = await read(collecting, account)
    ended = gone.valid_to.ToMicroseconds() + AHEAD // timedelta(microseconds=1)
    table = collecting.store.target("log_groups").table
    async with collecting.store.transaction() as connection:
        # As another process would have written it.
        await connection.execute(sa.update(table).values(valid_to=ended))
    logs.create_log_group(logGroupName=GROUP)
    old, new = await read(collecting, account)
    assert (old.name, old.create_time) == (new.name, new.create_time)
    assert old.valid_to.ToMicroseconds() == ended == new.valid_from.ToMicroseconds()
    assert not new.HasField("valid_to")
    logs.delete_log_group(logGroupName=GROUP)
    _, again = await read(collecting, account)
    assert again.valid_from.ToMicroseconds() < again.valid_to.ToMicroseconds()
