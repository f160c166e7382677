"""What exceptions accept is the same in SQL and in memory, and is left out of the filter."""

import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.cel.language import Environment
from secmesh.inventory.v1 import record_pb2
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from services.inventory.compliance.coverage import Reading
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.exceptions import BoundException
from services.inventory.compliance.failing_filter import not_accepted
from services.inventory.compliance.outcomes import (
    EXCEPTED,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    UNREAD,
    Tally,
)
from services.inventory.compliance.row_weighing import Question, bad_outcome
from tests.service.compliance_world import ACCOUNT, ALL_CHECKS, NOW, World, new_world
from tests.service.test_compliance_agreement import ROWS, expected, fill

COLLECTIONS = ("iam_users", "s3_buckets", "security_groups", "vpc", "rds_instances")


@pytest.fixture
async def world(tmp_path: Path, database: str) -> AsyncIterator[World]:
    async with new_world(tmp_path, database) as made:
        yield made


def exceptions(collection: str, chance: random.Random) -> list[BoundException]:
    """Accept what other conditions on the collection's records say, and their opposites."""
    kind = next(
        each.kind for each in ALL_CHECKS.checks.values() if each.kind.collection == collection
    )
    plain = Environment.of_kind(kind)
    conditions = []
    for check in ALL_CHECKS.checks.values():
        written = check.message
        if check.kind.collection == collection and not written.parameters and not check.uses_now:
            conditions += [written.condition, f"!({written.condition})"]
            if written.applies:
                conditions.append(f"({written.applies}) || ({written.condition})")
    chosen = chance.sample(conditions, min(4, len(conditions)))
    made = []
    for number, text in enumerate([*chosen, 'record.name.endsWith("7")']):
        accounts = [[], [ACCOUNT], ["999988887777"]][chance.randrange(3)]
        message = CheckException(
            name=f"tenants/acme/checkExceptions/e{number}",
            resources=text,
            cloud_account_ids=accounts,
        )
        message.expire_time.FromDatetime(NOW)
        made.append(BoundException(message, plain.compile(text), plain))
    return made


@pytest.mark.parametrize("collection", COLLECTIONS)
async def test_sql_memory_and_filter_agree_on_exceptions(world: World, collection: str) -> None:
    chance = random.Random(collection)
    checks = [each for each in ALL_CHECKS.checks.values() if each.kind.collection == collection]
    await fill(world, checks, chance)
    found = await world.store.messages(collection, world.store.select(collection, "acme"))
    records = [record for record in found if isinstance(record, record_pb2.Record)]
    tried = excepted = 0
    alone: list[tuple[Question, Tally]] = []
    for check in checks:
        accepting = exceptions(collection, chance)
        body = str(check.kind.body_field)
        parameters = check.parameters(check.defaults(), NOW)
        wanted: dict[int, set[str]] = defaultdict(set)
        by: dict[str, set[str]] = defaultdict(set)
        for record in records:
            outcome = expected(check, record, parameters)
            first = next((each for each in accepting if each.accepts(record, body)), None)
            if outcome == bad_outcome(check) and first is not None:
                outcome = EXCEPTED
                by[first.name].add(record.name)
            wanted[outcome].add(record.name)
        question = Question(check, check.defaults(), [Reading((ACCOUNT,), NOW)], accepting)
        async with world.store.connection() as connection:
            evidence = EvidenceStore(world.store, connection, "acme")
            ((tally,),) = await evidence.tallies([question])
            ((plainly,),) = await evidence.tallies([replace(question, exceptions=())])
            alone += [(question, tally), (replace(question, exceptions=()), plainly)]
            for outcome in (PASS, FAIL, NOT_APPLICABLE, UNREAD, EXCEPTED):
                rows = await evidence.records(question, outcome, without=(), limit=ROWS)
                assert {row.name for row in rows} == wanted[outcome], (check.id, outcome)
                assert tally.counts[outcome] == len(wanted[outcome])
            excepted += tally.counts[EXCEPTED]
            assert tally.accepted == Counter({name: len(rows) for name, rows in by.items()})
            for which, each in enumerate(accepting):
                rows = await evidence.accepted(question, which, without=(), limit=ROWS)
                assert {row.name for row in rows} == by[each.name], (check.id, each.name)
        text = not_accepted(
            check.filter(check.defaults(), NOW), [each.unmet() for each in accepting]
        )
        if len(text) <= 4096:
            page = await world.store.page(collection, "tenants/acme", filter=text, page_size=1000)
            listed = {row.name for row in page.items}  # type: ignore[attr-defined]  # every kind has a name
            assert listed == wanted[bad_outcome(check)], (check.id, text)
            tried += 1
    assert tried
    assert excepted
    async with world.store.connection() as connection:
        evidence = EvidenceStore(world.store, connection, "acme")
        together = await evidence.tallies([question for question, _ in alone])
    assert [tally for (tally,) in together] == [tally for _, tally in alone]
