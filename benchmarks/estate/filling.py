"""Fills the tables of the inventory service with an estate, fast: a few drawn, many copied."""

from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa

from benchmarks.estate.resources import NOW, Bodies, literals
from mesh.contract.catalogue import Catalogue, Kind
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from mesh.sql.triggers import drop_triggers, prepare_triggers
from secmesh.inventory.v1 import record_pb2, sync_pb2
from services.inventory.compliance.check_catalogue import BoundCheck, CheckCatalogue

TENANT = "acme"
ACCOUNTS = 10
_FIRST = "12345678901"
"""All digits of an account's id but the last."""
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-south-1")
DRAWN = 200
"""Records of a kind that are drawn; the others are copies in other accounts."""
SEED = 7
_SHARES = {
    "iam_users": 6,
    "access_keys": 8,
    "s3_buckets": 10,
    "security_groups": 20,
    "log_groups": 10,
    "lambda": 10,
    "kms_keys": 6,
}
"""How many records a kind has for each one of the others."""


def account(number: int) -> str:
    """Give the id of an account of the estate."""
    return f"{_FIRST}{number}"


def checked_kinds(catalogue: Catalogue, checks: CheckCatalogue) -> dict[str, list[BoundCheck]]:
    """Give the checks of each collection that has any."""
    found: dict[str, list[BoundCheck]] = {}
    for check in checks.checks.values():
        if check.kind.collection in catalogue.record_kinds:
            found.setdefault(check.kind.collection, []).append(check)
    return found


async def fill(store: Store, catalogue: Catalogue, checks: CheckCatalogue, resources: int) -> int:
    """Store an estate of about so many resources and what was read of it; give their number."""
    collections = checked_kinds(catalogue, checks)
    await _manifest(store, list(collections))
    parts = sum(_SHARES.get(collection, 1) for collection in collections)
    total = 0
    async with store.transaction() as connection:
        # What changes is told to watchers by triggers: here nobody watches.
        await connection.run_sync(drop_triggers)
        for collection, of_kind in collections.items():
            wanted = resources * _SHARES.get(collection, 1) // parts
            drawn = min(DRAWN, max(1, wanted))
            records = _records(catalogue.record_kinds[collection], of_kind, drawn)
            await store.insert(connection, collection, records)
            copies = max(0, round(wanted / drawn) - 1)
            if copies:
                await connection.execute(_copies(store.target(collection), copies))
            total += drawn * (copies + 1)
        await connection.run_sync(prepare_triggers, store.tables.metadata)
    return total


def _records(kind: Kind, checks: list[BoundCheck], number: int) -> Iterator[record_pb2.Record]:
    bodies = Bodies(kind, literals(checks), SEED)
    for each in range(number):
        record = record_pb2.Record(
            name=f"tenants/{TENANT}/{kind.collection}/r{each}",
            etag="e",
            cloud_account_id=account(0),
            region=REGIONS[each % len(REGIONS)],
            arn=f"arn:aws:test:::{kind.collection}/{each}",
            sync=f"tenants/{TENANT}/syncs/s0",
        )
        record.valid_from.FromDatetime(NOW - timedelta(days=1))
        bodies.fill(getattr(record, str(kind.body_field)))
        yield record


def _copies(target: KindTable, times: int) -> sa.Insert:
    """Write each row so many times again, in the accounts in turn."""
    first = sa.select(sa.literal(1).label("number")).cte("numbers", recursive=True)
    further = sa.select(first.c.number + 1).where(first.c.number < times)
    numbers = first.union_all(further)
    number = numbers.c.number
    changed = {
        "id": target.table.c.id + "-" + sa.cast(number, sa.String),
        "cloud_account_id": _FIRST + sa.cast(number % ACCOUNTS, sa.String),
        "sync": "s" + sa.cast(number % ACCOUNTS, sa.String),
    }
    names = [column.name for column in target.table.c]
    values = [changed.get(name, target.table.c[name]) for name in names]
    return target.table.insert().from_select(names, sa.select(*values).join(numbers, sa.true()))


async def _manifest(store: Store, collections: list[str]) -> None:
    """Store that everything was read, an account at a time."""
    syncs: list[sync_pb2.Sync] = []
    entries: list[sync_pb2.ManifestEntry] = []
    for number in range(ACCOUNTS):
        read = NOW - timedelta(minutes=number + 1)
        sync = sync_pb2.Sync(
            name=f"tenants/{TENANT}/syncs/s{number}",
            cloud_account_id=account(number),
            state=sync_pb2.Sync.STATE_SUCCEEDED,
        )
        sync.start_time.FromDatetime(read)
        syncs.append(sync)
        entries += _entries(sync, collections)
    async with store.transaction() as connection:
        await store.insert(connection, "syncs", syncs)
        await store.insert(connection, "manifest_entries", entries)


def _entries(sync: sync_pb2.Sync, collections: list[str]) -> Iterator[sync_pb2.ManifestEntry]:
    for collection in collections:
        for region in REGIONS:
            yield sync_pb2.ManifestEntry(
                name=f"{sync.name}/manifestEntries/{collection}-{region}",
                cloud_account_id=sync.cloud_account_id,
                region=region,
                collection=collection,
                operation=f"{collection}:List",
                action=f"{collection}:List",
                outcome=record_pb2.READ_OUTCOME_READ,
                calls=1,
                listing=True,
                read_time=sync.start_time,
            )
