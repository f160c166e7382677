"""Checks that look at the clock judge each row by the moment of its own reading."""

import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from secmesh.inventory.v1 import record_pb2
from services.inventory.compliance.coverage import Reading
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.outcomes import (
    FAIL,
    NOT_APPLICABLE,
    PASS,
    UNREAD,
    Outcome,
    Place,
)
from services.inventory.compliance.row_weighing import Question
from tests.service.compliance_world import ALL_CHECKS, NOW, World, new_world
from tests.service.test_compliance_agreement import ROWS, expected, fill

NEAR, FAR = "111122223333", "444455556666"
PLACES = (Place(NEAR, "global"), Place(FAR, "eu-west-1"), Place(FAR, "us-east-1"))
LONG = timedelta(days=400)
"""More than any limit: by then all is old, and so long before all lies ahead."""
MOMENTS = dict(zip(PLACES, (NOW, NOW + LONG, NOW - LONG), strict=True))
READINGS = (
    Reading((NEAR,), MOMENTS[PLACES[0]]),
    Reading((FAR,), MOMENTS[PLACES[1]], None, frozenset({"us-east-1"})),
    Reading((FAR,), MOMENTS[PLACES[2]], frozenset({"us-east-1"})),
)
TIMED = sorted(check.id for check in ALL_CHECKS.checks.values() if check.uses_now)


@pytest.fixture
async def world(tmp_path: Path, database: str) -> AsyncIterator[World]:
    async with new_world(tmp_path, database) as made:
        yield made


def place_of(record: record_pb2.Record) -> Place:
    return Place(record.cloud_account_id, record.region)


@pytest.mark.parametrize("unread", [0.0, 0.15], ids=["whole", "partly unread"])
@pytest.mark.parametrize("check_id", TIMED)
async def test_rows_of_several_readings(world: World, check_id: str, unread: float) -> None:
    check = ALL_CHECKS.checks[check_id]
    collection = check.kind.collection
    await fill(world, [check], random.Random(check_id), PLACES, unread)
    found = await world.store.messages(collection, world.store.select(collection, "acme"))
    wanted: dict[Place, Counter[Outcome]] = defaultdict(Counter)
    names: dict[Outcome, set[str]] = defaultdict(set)
    by_moment: dict[datetime, list[Outcome]] = defaultdict(list)
    for record in found:
        assert isinstance(record, record_pb2.Record)
        own = MOMENTS[place_of(record)]
        for moment in MOMENTS.values():
            outcome = expected(check, record, check.parameters(check.defaults(), moment))
            by_moment[moment].append(outcome)
            if moment == own:
                wanted[place_of(record)][outcome] += 1
                names[outcome].add(record.name)
    assert len({tuple(outcomes) for outcomes in by_moment.values()}) > 1  # the moment matters
    question = Question(check, check.defaults(), READINGS)
    async with world.store.connection() as connection:
        evidence = EvidenceStore(world.store, connection, "acme")
        (tallies,) = await evidence.tallies([question])
        assert {tally.place: +tally.counts for tally in tallies} == wanted
        whole = not any(tally.partial for tally in tallies)
        assert whole is (not unread)
        for outcome in (PASS, FAIL, NOT_APPLICABLE, UNREAD):
            asked = replace(question, whole=whole)
            rows = await evidence.records(asked, outcome, without=(), limit=ROWS)
            assert {row.name for row in rows} == names[outcome]
