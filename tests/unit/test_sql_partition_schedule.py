"""Logs are looked after by a timer, as their owner, in every process that serves."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from mesh.errors import OwnerMissing
from mesh.sql.engine import open_engine
from mesh.sql.partition_schedule import PartitionSchedule
from mesh.sql.schema import require_schema
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from mesh.sql.tenancy import acting_for
from tests.databases import isolated_database
from tests.unit.sql_contract import sample_catalogue
from tests.unit.test_sql_partitions import CATALOGUE, event, made, names, put

KEY = b"k" * 32


class Days:
    """A clock that moves by a day whenever it is asked."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(days=1)
        return self.now


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not met():
            await asyncio.sleep(0.01)


async def test_the_timer_goes_on_until_it_is_closed() -> None:
    engine = open_engine("sqlite://")
    store = Store(engine, Tables(CATALOGUE), page_key=KEY)
    await create_tables(engine, store.tables)
    await put(store, event(made(2029, 1, 1)))
    clock = Days()
    schedule = PartitionSchedule(store, timedelta(milliseconds=1), clock)
    schedule.start()
    await until(lambda: clock.now > datetime(2030, 1, 4, tzinfo=UTC))
    await schedule.close()
    stopped = clock.now
    assert await names(store) == []
    await asyncio.sleep(0.05)
    assert clock.now == stopped
    await engine.dispose()


async def test_a_failure_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    engine = open_engine("sqlite://")
    store = Store(engine, Tables(CATALOGUE), page_key=KEY)
    schedule = PartitionSchedule(store)
    with caplog.at_level(logging.ERROR):
        assert await schedule.look() is None
    assert "could not be looked after" in caplog.text
    assert schedule.failure
    await create_tables(engine, store.tables)
    assert await schedule.look() is not None
    assert schedule.failure == ""
    await engine.dispose()


async def test_a_contract_without_logs_needs_no_timer() -> None:
    engine = open_engine("sqlite://")
    schedule = PartitionSchedule(Store(engine, Tables(sample_catalogue()), page_key=KEY))
    schedule.start()
    await schedule.close()
    await engine.dispose()


async def test_the_owner_maintains_logs_whose_tenants_are_kept_apart() -> None:
    tables = Tables(CATALOGUE, isolated=True)
    with isolated_database(18) as access:
        owner, application = open_engine(access.owner), open_engine(access.application)
        store = Store(application, tables, page_key=KEY, owner=owner)
        try:
            await require_schema(application, tables, owner=owner)
            old, waiting = made(2020, 1, 1), made(2030, 3, 2)
            with acting_for("acme"):
                await put(store, event(old), event(waiting))
            done = await PartitionSchedule(store, clock=Days()).look()
            assert done is not None
            assert "events_p20300301" in done.created
            assert done.deleted == 1
            async with store.connection("acme") as connection:
                rows = await connection.execute(sa.text("SELECT id FROM events"))
                assert rows.scalars().all() == [waiting]
                # A part is no way around the policy of its table.
                with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                    await connection.execute(sa.text("SELECT id FROM events_p20300301"))
            async with store.connection("umbrella") as connection:
                rows = await connection.execute(sa.text("SELECT id FROM events"))
                assert rows.scalars().all() == []
            await require_schema(application, tables)
            with pytest.raises(OwnerMissing):
                PartitionSchedule(Store(application, tables, page_key=KEY)).start()
        finally:
            await application.dispose()
            await owner.dispose()
