"""Runs that events led to leave by age, and what refers to them stays whole."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mesh.errors import RevisionGone
from mesh.sql.changes import Revision
from secmesh.inventory.v1 import record_pb2
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.collect.draft import timestamp
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.live.check_turn_store import CheckTurnStore
from services.inventory.live.old_run_store import BATCH, OldRunStore
from services.inventory.live.old_runs import OldRuns
from services.inventory.store import InventoryStore
from tests.service.compliance_world import ACCOUNT, NOW, TENANT, World, new_world

KEEP = timedelta(days=30)
READ, DENIED = record_pb2.READ_OUTCOME_READ, record_pb2.READ_OUTCOME_DENIED
OLD, YOUNG = NOW - timedelta(days=40), NOW - timedelta(days=20)


@pytest.fixture
async def world(tmp_path: Path, database: str) -> AsyncIterator[World]:
    async with new_world(tmp_path, database) as made:
        yield made


async def ran(
    world: World,
    sync_id: str,
    at: datetime,
    *,
    state: Sync.State.ValueType = Sync.STATE_SUCCEEDED,
    source: Sync.Source.ValueType = Sync.SOURCE_EVENTS,
    written: int = 0,
    listing: record_pb2.ReadOutcome.ValueType = record_pb2.READ_OUTCOME_UNSPECIFIED,
) -> str:
    """Store a run with a unit, and a manifest if it listed the unit."""
    sync = Sync(
        name=f"{TENANT}/syncs/{sync_id}", cloud_account_id=ACCOUNT, state=state, source=source
    )
    sync.start_time.CopyFrom(timestamp(at - timedelta(minutes=1)))
    if state != Sync.STATE_RUNNING:
        sync.end_time.CopyFrom(timestamp(at))
    sync.progress.rows_written = written
    unit = SyncUnit(name=f"{sync.name}/units/one", collection="kms_keys", region="us-east-1")
    entry = ManifestEntry(
        name=f"{sync.name}/manifestEntries/one",
        cloud_account_id=ACCOUNT,
        region="us-east-1",
        collection="kms_keys",
        operation="kms:ListKeys",
        action="kms:ListKeys",
        outcome=listing,
        listing=True,
        read_time=timestamp(at),
    )
    async with world.store.transaction() as connection:
        await world.store.insert(connection, "syncs", [sync])
        await world.store.insert(connection, "sync_units", [unit])
        await world.store.insert(connection, "manifest_entries", [entry] if listing else [])
    return sync.name


async def forget(world: World) -> int:
    runs, turns = OldRunStore(world.store), CheckTurnStore(world.store)
    moment = timestamp(NOW).ToMicroseconds()
    return await OldRuns(runs, turns, KEEP, clock=lambda: moment).look()


async def ids(world: World, collection: str) -> Sequence[str]:
    found = await world.store.messages(collection, world.store.select(collection, "acme"))
    return sorted(each.name.split("/")[3] for each in found)  # type: ignore[attr-defined]  # named kinds


async def test_only_old_runs_of_events_that_ended_leave(world: World) -> None:
    await ran(world, "idle", OLD)
    await ran(world, "failed", OLD, state=Sync.STATE_FAILED)
    await ran(world, "young", YOUNG)
    await ran(world, "running", OLD, state=Sync.STATE_RUNNING)
    await ran(world, "whole", OLD, source=Sync.SOURCE_UNSPECIFIED)
    assert await forget(world) > 0
    assert await ids(world, "syncs") == ["running", "whole", "young"]
    assert await ids(world, "sync_units") == ["running", "whole", "young"]
    assert await forget(world) == 0


async def test_a_run_stays_that_a_version_names_without_its_units(world: World) -> None:
    await ran(world, "changed", OLD, written=1)
    await ran(world, "idle", OLD)
    assert await forget(world) > 0
    assert await ids(world, "syncs") == ["changed"]
    assert await ids(world, "sync_units") == []
    assert await forget(world) == 0


@pytest.mark.parametrize(
    ("first", "later", "left"),
    [
        (READ, READ, ["later"]),
        (DENIED, DENIED, ["later"]),
        (DENIED, READ, ["later"]),
        # Whoever asks when it was last listed still hears so.
        (READ, DENIED, ["first", "later"]),
    ],
)
async def test_the_newest_answer_of_a_listing_stays(
    world: World,
    first: record_pb2.ReadOutcome.ValueType,
    later: record_pb2.ReadOutcome.ValueType,
    left: list[str],
) -> None:
    await ran(world, "first", OLD, listing=first)
    await ran(world, "later", OLD + timedelta(hours=1), listing=later)
    records = InventoryStore(world.store)
    listed = await records.units_read("acme", ACCOUNT)

    async def coverage() -> list[str]:
        async with world.store.connection("acme") as connection:
            units = await EvidenceStore(world.store, connection, "acme").units([ACCOUNT])
        return [unit.sync for unit in units]

    covered = await coverage()
    assert covered == [f"{TENANT}/syncs/later"]
    assert await forget(world) > 0
    assert await ids(world, "syncs") == left
    assert await ids(world, "manifest_entries") == left
    assert await records.units_read("acme", ACCOUNT) == listed
    assert await coverage() == covered


async def test_a_whole_run_stands_in_for_those_of_events(world: World) -> None:
    await ran(world, "before", OLD, listing=READ)
    await ran(world, "whole", YOUNG, source=Sync.SOURCE_UNSPECIFIED, listing=READ)
    assert await forget(world) > 0
    assert await ids(world, "syncs") == ["whole"]


def turn(number: int, at: datetime, sync: str) -> CheckTurn:
    return CheckTurn(
        name=f"{TENANT}/checkTurns/t{number}",
        check_id="s3.versioning",
        sync=f"{TENANT}/syncs/{sync}",
        evaluate_time=timestamp(at),
    )


async def test_turns_leave_from_the_first_on_with_their_runs_and_the_last_stays(
    world: World,
) -> None:
    turns = CheckTurnStore(world.store)
    # They closed records and wrote none.
    await ran(world, "gone", OLD)
    await ran(world, "kept", OLD)
    told = [turn(1, OLD, "gone"), turn(2, OLD, "gone"), turn(3, OLD, "kept")]
    async with world.store.transaction() as connection:
        await turns.add(connection, told)
    assert [each.sequence for each in told] == [1, 2, 3]
    assert await forget(world) > 0
    assert await ids(world, "check_turns") == ["t3"]
    assert await ids(world, "syncs") == ["kept"]
    # Numbers go on, and whoever missed one is told.
    assert await turns.present("acme") == Revision(0, 3)
    async with world.store.transaction() as connection:
        await turns.add(connection, [late := turn(4, YOUNG, "kept")])
    assert late.sequence == 4
    found = await turns.after("acme", Revision(0, 2))
    assert [each.sequence for each in found.messages] == [3, 4]
    with pytest.raises(RevisionGone):
        await turns.after("acme", Revision(0, 1))
    # A young one behind an old one keeps nobody back.
    assert await forget(world) > 0
    assert await ids(world, "check_turns") == ["t4"]
    assert await ids(world, "syncs") == ["kept"]


async def test_many_leave_in_batches_and_other_tenants_are_left_alone(world: World) -> None:
    made = [
        Sync(
            name=f"{TENANT}/syncs/s{number}",
            cloud_account_id=ACCOUNT,
            state=Sync.STATE_SUCCEEDED,
            source=Sync.SOURCE_EVENTS,
            end_time=timestamp(OLD),
        )
        for number in range(BATCH + 1)
    ]
    other = Sync(
        name="tenants/other/syncs/one",
        cloud_account_id=ACCOUNT,
        state=Sync.STATE_SUCCEEDED,
        source=Sync.SOURCE_EVENTS,
        end_time=timestamp(YOUNG),
    )
    async with world.store.transaction() as connection:
        await world.store.insert(connection, "syncs", [*made, other])
    assert await forget(world) == len(made)
    assert await ids(world, "syncs") == []
    kept = await world.store.messages("syncs", world.store.select("syncs", "other"))
    assert len(kept) == 1
