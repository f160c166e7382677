"""SQL of what is collected: current records, versions and manifests."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.store import Store
from secmesh.inventory.v1.record_pb2 import (
    READ_OUTCOME_ABSENT,
    READ_OUTCOME_READ,
    Record,
)
from secmesh.inventory.v1.sync_pb2 import ManifestEntry
from services.inventory.collect.draft import timestamp
from services.inventory.collect.versions import Changes, Unit

MANIFEST = "manifest_entries"
_CHUNK = 500
"""Ids of one IN list; SQLite takes 32,766 parameters."""


class InventoryStore:
    """What runs read and write, over the store of the service."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def current(self, unit: Unit, regions: tuple[str, ...]) -> dict[str, Record]:
        """Give the current records that a unit answers for, by name."""
        collection = unit.collector.collection
        found = await self.collected(unit.tenant, unit.cloud_account_id, collection)
        owns = unit.collector.owns
        return {record.name: record for record in found if owns(record, unit.region, regions)}

    async def collected(self, tenant: str, cloud_account_id: str, collection: str) -> list[Record]:
        """Give all current records of a collection in one account."""
        table = self.store.target(collection).table
        statement = self.store.select(collection, tenant).where(
            table.c.cloud_account_id == cloud_account_id
        )
        found = await self.store.messages(collection, statement)
        return [record for record in found if isinstance(record, Record)]

    async def last_reads(self, unit: Unit) -> dict[str, datetime]:
        """Tell when each IAM action of a unit was last answered in an earlier run."""
        table = self.store.target(MANIFEST).table
        statement = (
            self.store.select(MANIFEST, unit.tenant, ("action", "read_time"))
            .with_only_columns(table.c.action, sa.func.max(table.c.read_time))
            .where(
                table.c.cloud_account_id == unit.cloud_account_id,
                table.c.region == unit.region,
                table.c.collection == unit.collector.collection,
                table.c.outcome.in_((READ_OUTCOME_READ, READ_OUTCOME_ABSENT)),
            )
            .group_by(table.c.action)
        )
        async with self.store.connection() as connection:
            rows = (await connection.execute(statement)).all()
        return {action: _moment(micros) for action, micros in rows}

    async def listed_regions(
        self, tenant: str, cloud_account_id: str, collection: str
    ) -> frozenset[str]:
        """Tell in which regions a collection was ever listed whole."""
        table = self.store.target(MANIFEST).table
        statement = (
            self.store.select(MANIFEST, tenant, ("region",))
            .where(
                table.c.cloud_account_id == cloud_account_id,
                table.c.collection == collection,
                table.c.listing,
                table.c.outcome == READ_OUTCOME_READ,
            )
            .distinct()
        )
        async with self.store.connection() as connection:
            return frozenset((await connection.execute(statement)).scalars())

    async def units_read(self, tenant: str, cloud_account_id: str) -> dict[tuple[str, str], bool]:
        """Give the units of an account that any run read, and whether one listed them whole.

        A unit is its collection and its region.
        """
        table = self.store.target(MANIFEST).table
        whole = sa.case((table.c.listing & (table.c.outcome == READ_OUTCOME_READ), 1), else_=0)
        place = (table.c.collection, table.c.region)
        statement = (
            self.store.select(MANIFEST, tenant, ("collection", "region"))
            .with_only_columns(*place, sa.func.max(whole))
            .where(table.c.cloud_account_id == cloud_account_id)
            .group_by(*place)
        )
        async with self.store.connection() as connection:
            rows = (await connection.execute(statement)).all()
        return {(collection, region): bool(listed) for collection, region, listed in rows}

    async def write_unit(
        self,
        unit: Unit,
        changes: Changes,
        entries: Iterable[ManifestEntry],
        now: datetime,
        checkpoint: Callable[[AsyncConnection], Awaitable[None]],
    ) -> None:
        """Write a unit's versions, manifest and checkpoint in one transaction.

        ``now`` is when we know; what ``checkpoint`` raises leaves nothing written.
        """
        collection = unit.collector.collection
        await self._date(unit, changes.opened, now)
        async with self.store.transaction() as connection:
            await checkpoint(connection)
            if changes.closed:
                await connection.execute(
                    self._closing(unit),
                    [
                        {"closed": _record_id(name), "closed_at": _micros(when)}
                        for name, when in changes.closed.items()
                    ],
                )
            await self.store.insert(connection, collection, changes.opened)
            await self.store.upsert(connection, MANIFEST, entries)

    def _closing(self, unit: Unit) -> sa.Update:
        collection = unit.collector.collection
        table = self.store.target(collection).table
        return (
            self.store.update(collection, unit.tenant)
            .where(table.c.id == sa.bindparam("closed"))
            .values(valid_to=sa.bindparam("closed_at"))
        )

    async def _date(self, unit: Unit, opened: list[Record], now: datetime) -> None:
        """Say when each version and its resource were first stored."""
        new = [record for record in opened if not record.HasField("create_time")]
        known = await self._past(unit, [_record_id(record.name) for record in new])
        for record in new:
            first, last = known.get(_record_id(record.name), (now, None))
            record.create_time.CopyFrom(timestamp(first))
            # Whoever saw it gone may have had a clock that was ahead of this one.
            if last is not None and last > record.valid_from.ToDatetime(tzinfo=UTC):
                record.valid_from.CopyFrom(timestamp(last))
        for record in opened:
            record.update_time.CopyFrom(timestamp(now))

    async def _past(
        self, unit: Unit, ids: list[str]
    ) -> dict[str, tuple[datetime, datetime | None]]:
        """Tell when resources that are back were stored first, and when they were gone last."""
        collection = unit.collector.collection
        table = self.store.target(collection).table
        created, closed = sa.func.min(table.c.create_time), sa.func.max(table.c.valid_to)
        found: dict[str, tuple[datetime, datetime | None]] = {}
        async with self.store.connection() as connection:
            for start in range(0, len(ids), _CHUNK):
                statement = (
                    self.store.select(collection, unit.tenant, ("id",), past=True)
                    .with_only_columns(table.c.id, created, closed)
                    .where(table.c.id.in_(ids[start : start + _CHUNK]))
                    .group_by(table.c.id)
                )
                for row_id, first, last in (await connection.execute(statement)).all():
                    ended = None if last is None else _moment(last)
                    found[row_id] = _moment(first), ended
        return found


def _record_id(name: str) -> str:
    return name.rpartition("/")[2]


def _micros(moment: datetime) -> int:
    return timestamp(moment).ToMicroseconds()


def _moment(micros: int) -> datetime:
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
