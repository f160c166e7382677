"""Aggregates of records equal a fold over the records themselves."""

import asyncio
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from mesh.errors import FieldInvalid, FilterInvalid
from mesh.records.servicer import RecordServicer
from mesh.sql import aggregate as aggregation
from mesh.sql.buckets import Unit, span_start
from mesh.sql.store import Store
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.records.v1 import aggregate_pb2 as pb
from tests.examples import examples
from tests.unit.version_histories import (
    ACCOUNTS,
    INVENTORY,
    LAST,
    opened_store,
    pasts,
    refill,
    standing,
)

BUCKETS = "tenants/acme/s3_buckets"
FREE = settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
KEYS = ["bucket_name", "public", "encryption", "retention_days", "record.region"]
FUNCTIONS = [
    *((function, "retention_days") for function in ("COUNT", "MIN", "MAX", "AVG", "SUM")),
    *((function, "creation_date") for function in ("COUNT", "MIN", "MAX")),
    *((function, "record.region") for function in ("MIN", "MAX")),
    ("COUNT", "public"),
]
UNITS = ["HOUR", "DAY", "WEEK", "MONTH", "YEAR"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def store(runner: asyncio.Runner) -> Iterator[Store]:
    with opened_store(runner) as made:
        yield made


def value(record: Record, field: str) -> Any:
    """Give a field as it compares; None where it is absent."""
    holder: Any = record if field.startswith("record.") else record.s3_bucket
    name = field.removeprefix("record.")
    if holder.DESCRIPTOR.fields_by_name[name].has_presence and not holder.HasField(name):
        return None
    held = getattr(holder, name)
    return held.ToMicroseconds() if isinstance(held, Timestamp) else held


def plain(scalar: pb.Scalar) -> Any:
    which = scalar.WhichOneof("value")
    held = getattr(scalar, which) if which else None
    return held.ToMicroseconds() if isinstance(held, Timestamp) else held


def start_of(micros: int | None, unit: str) -> int | None:
    if micros is None:
        return None
    moment = EPOCH + timedelta(microseconds=micros)
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    start = {
        "HOUR": hour,
        "DAY": day,
        "WEEK": day - timedelta(days=day.weekday()),
        "MONTH": day.replace(day=1),
        "YEAR": day.replace(month=1, day=1),
    }[unit]
    return (start - EPOCH) // timedelta(microseconds=1)


def folded(records: list[Record], function: str, field: str) -> Any:
    values = [each for record in records if (each := value(record, field)) is not None]
    if function == "COUNT":
        return len(values)
    if not values:
        return None
    match function:
        case "MIN":
            return min(values)
        case "MAX":
            return max(values)
        case "SUM":
            return sum(values)
    return sum(values) / len(values)


def first_absent(key: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    return [(part is not None, part) for part in key]


def ask(
    runner: asyncio.Runner, store: Store, *measures: tuple[str, str], unit: str = "", **fields: Any
) -> list[Any]:
    request = pb.AggregateRecordsRequest(parent=BUCKETS, **fields)
    for function, field in measures:
        number = pb.Aggregate.Function.Value(f"FUNCTION_{function}")
        request.aggregates.add(function=number, field=field)
    if unit:
        request.time_bucket.field = "creation_date"
        request.time_bucket.unit = pb.TimeBucket.Unit.Value(f"UNIT_{unit}")
    answer = runner.run(RecordServicer(INVENTORY, store).AggregateRecords(request, None))
    return [
        (tuple(map(plain, group.keys)), group.count, list(map(plain, group.values)))
        for group in answer.groups
    ]


@FREE
@given(
    past=pasts(("s3_bucket",)),
    moment=st.integers(0, LAST + 1),
    keys=st.lists(st.sampled_from(KEYS), max_size=3, unique=True),
    unit=st.sampled_from(["", *UNITS]),
    measures=st.lists(st.sampled_from(FUNCTIONS), max_size=4),
    condition=st.sampled_from(["", "public", f'record.cloud_account_id == "{ACCOUNTS[0]}"']),
)
def test_aggregates_equal_a_fold_over_the_records(
    runner: asyncio.Runner,
    store: Store,
    past: list[Record],
    moment: int,
    keys: list[str],
    unit: str,
    measures: list[tuple[str, str]],
    condition: str,
) -> None:
    runner.run(refill(store, past))
    records = [
        record
        for record in standing(past, moment).values()
        if condition != "public" or record.s3_bucket.public
    ]
    if condition.startswith("record"):
        records = [each for each in records if each.cloud_account_id == ACCOUNTS[0]]
    groups: dict[tuple[Any, ...], list[Record]] = {} if keys or unit else {(): []}
    for record in records:
        key = tuple(value(record, name) for name in keys)
        if unit:
            key = (*key, start_of(value(record, "creation_date"), unit))
        groups.setdefault(key, []).append(record)
    wanted = [
        (key, len(groups[key]), [folded(groups[key], *measure) for measure in measures])
        for key in sorted(groups, key=first_absent)
    ]
    asked = {"group_by": keys, "filter": condition, "read_time": Timestamp(seconds=moment)}
    assert ask(runner, store, *measures, unit=unit, **asked) == wanted


@FREE
@given(
    micros=st.integers(-62_135_596_800 * 10**6, 253_402_300_799 * 10**6),
    unit=st.sampled_from(UNITS),
)
def test_a_span_begins_where_the_calendar_says(
    runner: asyncio.Runner, store: Store, micros: int, unit: str
) -> None:
    moment = sa.literal(micros, store.target("s3_buckets").table.c.valid_from.type)
    statement = sa.select(span_start(moment, Unit[unit]))
    [[start]] = runner.run(store.fetch(statement))
    # Year 1 begins on a Monday, so no week of it begins before.
    assert start == start_of(micros, unit)


def test_a_span_in_postgresql_is_its_own_function(store: Store) -> None:
    column = store.target("s3_buckets").table.c.valid_from
    written = str(span_start(column, Unit.WEEK).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    assert written == "date_trunc('week', s3_buckets.valid_from, 'UTC')"


def bucket(record: str, **body: Any) -> Record:
    made = Record(name=f"{BUCKETS}/{record}", cloud_account_id=ACCOUNTS[0])
    made.valid_from.seconds = 1
    made.s3_bucket.SetInParent()
    for name, held in body.items():
        setattr(made.s3_bucket, name, held)
    return made


def test_nothing_is_one_empty_group(runner: asyncio.Runner, store: Store) -> None:
    runner.run(refill(store, []))
    measures = [("SUM", "retention_days"), ("AVG", "retention_days"), ("COUNT", "public")]
    assert ask(runner, store, *measures) == [((), 0, [None, None, 0])]
    assert ask(runner, store, *measures, group_by=["public"]) == []


def test_sums_are_exact(runner: asyncio.Runner, store: Store) -> None:
    runner.run(refill(store, [bucket(str(n), retention_days=-(2**31) + n) for n in range(3)]))
    [[_, _, [total, mean]]] = ask(
        runner, store, ("SUM", "retention_days"), ("AVG", "retention_days")
    )
    assert total == -3 * 2**31 + 3
    assert math.isclose(mean, total / 3)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"group_by": ["public", "colour"]}, "group_by[1]"),
        ({"group_by": ["tags"]}, "group_by[0]"),
        ({"group_by": ["region"]}, "group_by[0]"),
        ({"group_by": ["record.public"]}, "group_by[0]"),
        (
            {"aggregates": [pb.Aggregate(function=pb.Aggregate.FUNCTION_SUM, field="bucket_name")]},
            "sum",
        ),
        (
            {
                "aggregates": [
                    pb.Aggregate(function=pb.Aggregate.FUNCTION_AVG, field="creation_date")
                ]
            },
            "avg",
        ),
        ({"aggregates": [pb.Aggregate(function=pb.Aggregate.FUNCTION_MAX, field="public")]}, "max"),
        ({"aggregates": [pb.Aggregate(function=pb.Aggregate.FUNCTION_MIN, field="tags")]}, "min"),
        (
            {"aggregates": [pb.Aggregate(function=pb.Aggregate.FUNCTION_COUNT, field="x")]},
            "aggregates[0]",
        ),
        (
            {"time_bucket": pb.TimeBucket(field="bucket_name", unit=pb.TimeBucket.UNIT_DAY)},
            "time_bucket.field",
        ),
        ({"read_time": Timestamp(seconds=2**34)}, "read_time"),
    ],
)
def test_what_cannot_be_computed_is_refused(
    runner: asyncio.Runner, store: Store, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(FieldInvalid) as refused:
        ask(runner, store, **fields)
    assert path in refused.value.message
    with pytest.raises(FilterInvalid):
        ask(runner, store, filter="colour")


def test_too_many_groups_are_refused(
    runner: asyncio.Runner, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.run(refill(store, [bucket(str(n), bucket_name=str(n)) for n in range(3)]))
    monkeypatch.setattr(aggregation, "MAX_GROUPS", 3)
    assert len(ask(runner, store, group_by=["bucket_name"])) == 3
    monkeypatch.setattr(aggregation, "MAX_GROUPS", 2)
    with pytest.raises(FieldInvalid, match="group_by: makes more than 2 groups"):
        ask(runner, store, group_by=["bucket_name"])
