"""Outcomes in SQL agree with outcomes in memory, and the filter of failures lists just those."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from mesh.contract.catalogue import Kind, is_map
from secmesh.inventory.v1 import check_pb2, record_pb2
from secmesh.inventory.v1.ec2_pb2 import PortRange
from services.inventory.compliance.check_catalogue import BoundCheck
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
from tests.service.compliance_world import (
    ACCOUNT,
    ALL_CHECKS,
    NOW,
    World,
    new_world,
)

ROWS = 300
HOURS = (-48, 1, 23, 25, 24 * 89, 24 * 91)
"""Ages of moments; one lies ahead."""
PORTS = (0, 21, 22, 23, 443, 1433, 3388, 3389, 5432, 11211, 65535)


@pytest.fixture
async def world(tmp_path: Path, database: str) -> AsyncIterator[World]:
    async with new_world(tmp_path, database) as made:
        yield made


@dataclass(frozen=True)
class Values:
    """What fields may hold: what the checks ask about, and something else."""

    words: tuple[str, ...]
    numbers: tuple[int, ...]

    @classmethod
    def asked_by(cls, checks: list[BoundCheck]) -> "Values":
        text = " ".join(f"{each.message.applies} {each.message.condition}" for each in checks)
        limits = {limit for each in checks for limit in each.defaults().values()}
        near = {number + step for number in limits for step in (-1, 0, 1)}
        return cls(
            ("x", *sorted(set(re.findall(r'"([^"]*)"', text)))),
            tuple(sorted({5, 13, 14, 23, 24} | near)),
        )


def value(field: FieldDescriptor, values: Values, chance: random.Random) -> Any:
    if field.message_type is PortRange.DESCRIPTOR:
        first, last = sorted((chance.choice(PORTS), chance.choice(PORTS)))
        return PortRange(
            protocol=chance.choice(["tcp", "udp", "-1"]), from_port=first, to_port=last
        )
    if field.message_type not in (None, Timestamp.DESCRIPTOR):
        inner = GetMessageClass(field.message_type)()
        for each in field.message_type.fields:
            if not each.is_repeated and each.message_type is None and chance.random() < 0.8:
                setattr(inner, each.name, value(each, values, chance))
        return inner
    if field.message_type is not None:
        stamp = Timestamp()
        stamp.FromDatetime(NOW - timedelta(hours=chance.choice(HOURS)))
        return stamp
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        longest = field.GetOptions().Extensions[validate_pb2.field].string.max_len
        fitting = [word for word in values.words if not longest or len(word) <= longest]
        return chance.choice(fitting)
    if field.enum_type is not None:
        return chance.choice(field.enum_type.values).number
    # Most limits of counts are none at all.
    return chance.choice((0, chance.choice(values.numbers)))


def body(kind: Kind, wanted: set[str], values: Values, chance: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for field in kind.descriptor.fields:
        if field.name not in wanted or is_map(field) or chance.random() < 0.2:
            continue
        if field.is_repeated:
            # Some conditions ask for several items of one list.
            number = chance.choice((0, 1, 2, 12))
            made[field.name] = [value(field, values, chance) for _ in range(number)]
        else:
            made[field.name] = value(field, values, chance)
    return made


async def fill(
    world: World,
    checks: list[BoundCheck],
    chance: random.Random,
    places: Sequence[Place] = (Place(ACCOUNT, "global"),),
    unread: float = 0.15,
) -> None:
    kind, values = checks[0].kind, Values.asked_by(checks)
    wanted = {field for check in checks for field in check.fields}
    records = []
    for number in range(ROWS):
        record = record_pb2.Record(
            name=f"tenants/acme/{kind.collection}/r{number}",
            cloud_account_id=places[number % len(places)].cloud_account_id,
            region=places[number % len(places)].region,
            **{str(kind.body_field): body(kind, wanted, values, chance)},  # type: ignore[arg-type]  # the kind names its field
        )
        record.valid_from.FromDatetime(NOW)
        for name in sorted(wanted):
            if chance.random() < unread:
                record.unread.add(field=name, action=f"x:{name}", code="AccessDenied")
        records.append(record)
    async with world.store.transaction() as connection:
        await world.store.insert(connection, kind.collection, records)


def expected(
    check: BoundCheck, record: record_pb2.Record, parameters: dict[str, object]
) -> check_pb2.EvidenceOutcome.ValueType:
    inner = getattr(record, str(check.kind.body_field))
    unread = {gap.field for gap in record.unread}
    if check.applies is not None:
        applies = check.applies.matches(inner, record, parameters, unread)
        if applies is None and unread & check.applies.fields:
            return UNREAD
        if not applies:
            return NOT_APPLICABLE
    met = check.condition.matches(inner, record, parameters, unread)
    if met is None and unread & check.condition.fields:
        return UNREAD
    return PASS if met else FAIL


async def counted_together(
    world: World, checks: Sequence[BoundCheck]
) -> dict[str, Counter[Outcome]]:
    """Count the outcomes of each check, all checks in one statement."""
    readings = [Reading((ACCOUNT,), NOW)]
    questions = [Question(check, check.defaults(), readings) for check in checks]
    async with world.store.connection() as connection:
        tallied = await EvidenceStore(world.store, connection, "acme").tallies(questions)
    found = {}
    for check, (tally,) in zip(checks, tallied, strict=True):
        assert tally.partial
        found[check.id] = +tally.counts
    return found


@pytest.mark.parametrize(
    "collection", sorted({each.kind.collection for each in ALL_CHECKS.checks.values()})
)
async def test_sql_memory_and_filter_agree(world: World, collection: str) -> None:
    checks = [check for check in ALL_CHECKS.checks.values() if check.kind.collection == collection]
    await fill(world, checks, random.Random(collection))
    found = await world.store.messages(collection, world.store.select(collection, "acme"))
    records = [record for record in found if isinstance(record, record_pb2.Record)]
    assert len(records) == ROWS
    alone: dict[str, Counter[Outcome]] = {}
    for check in checks:
        parameters = check.parameters(check.defaults(), NOW)
        wanted_names: dict[int, set[str]] = defaultdict(set)
        for record in records:
            wanted_names[expected(check, record, parameters)].add(record.name)
        question = Question(check, check.defaults(), [Reading((ACCOUNT,), NOW)])
        async with world.store.connection() as connection:
            evidence = EvidenceStore(world.store, connection, "acme")
            ((tally,),) = await evidence.tallies([question])
            for outcome in (PASS, FAIL, NOT_APPLICABLE, UNREAD):
                rows = await evidence.records(question, outcome, without=(), limit=ROWS)
                assert {row.name for row in rows} == wanted_names[outcome], (check.id, outcome)
                assert tally.counts[outcome] == len(wanted_names[outcome])
            alone[check.id] = +tally.counts
        page = await world.store.page(
            collection, "tenants/acme", filter=check.filter(check.defaults(), NOW), page_size=1000
        )
        listed = {row.name for row in page.items}  # type: ignore[attr-defined]  # every kind has a name
        assert listed == wanted_names[FAIL], check.id
        # Each outcome was really tried.
        assert wanted_names[PASS]
        assert wanted_names[FAIL]
        assert wanted_names[UNREAD]
    assert await counted_together(world, checks) == alone
