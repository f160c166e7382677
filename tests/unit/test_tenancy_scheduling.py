"""The pure parts of scheduling: overlap, shards, shares, backoff."""

import random
from collections import Counter
from dataclasses import dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from secmesh.tenancy.v1.execution_pb2 import (
    EXECUTION_STATUS_CANCELLED,
    EXECUTION_STATUS_QUEUED,
    EXECUTION_STATUS_SKIPPED,
)
from secmesh.tenancy.v1.schedule_pb2 import (
    OVERLAP_POLICY_ALLOW,
    OVERLAP_POLICY_BUFFER_ONE,
    OVERLAP_POLICY_CANCEL_OTHER,
    OVERLAP_POLICY_SKIP,
    OVERLAP_POLICY_UNSPECIFIED,
    OverlapPolicy,
)
from services.tenancy.scheduling.backoff import Backoff
from services.tenancy.scheduling.overlap import Unended, place
from services.tenancy.scheduling.scheduler import SchedulerCounts
from services.tenancy.scheduling.shards import Replica, Rounds
from services.tenancy.scheduling.shares import Shares, by_turns
from services.tenancy.scheduling.telemetry import measure

Q, S, C = EXECUTION_STATUS_QUEUED, EXECUTION_STATUS_SKIPPED, EXECUTION_STATUS_CANCELLED
NEW = [("a", 1), ("b", 2), ("c", 3)]
RUNS, WAITS = Unended("old", queued=False), Unended("new", queued=True, depends_on="old")
FRESH = Unended("old", queued=True)


@pytest.mark.parametrize(
    ("policy", "unended", "statuses", "depends", "newest", "cancels"),
    [
        (OVERLAP_POLICY_UNSPECIFIED, None, [Q, S, S], ["", "", ""], "a", False),
        (OVERLAP_POLICY_SKIP, None, [Q, S, S], ["", "", ""], "a", False),
        (OVERLAP_POLICY_SKIP, RUNS, [S, S, S], ["", "", ""], "", False),
        (OVERLAP_POLICY_BUFFER_ONE, None, [Q, Q, S], ["", "a", ""], "b", False),
        (OVERLAP_POLICY_BUFFER_ONE, RUNS, [Q, S, S], ["old", "", ""], "a", False),
        (OVERLAP_POLICY_BUFFER_ONE, FRESH, [Q, S, S], ["old", "", ""], "a", False),
        (OVERLAP_POLICY_BUFFER_ONE, WAITS, [S, S, S], ["", "", ""], "", False),
        (OVERLAP_POLICY_ALLOW, RUNS, [Q, Q, Q], ["", "", ""], "c", False),
        (OVERLAP_POLICY_CANCEL_OTHER, None, [C, C, Q], ["", "", ""], "c", False),
        (OVERLAP_POLICY_CANCEL_OTHER, RUNS, [C, C, Q], ["", "", "old"], "c", True),
        (OVERLAP_POLICY_CANCEL_OTHER, WAITS, [C, C, Q], ["", "", "old"], "c", True),
        (OVERLAP_POLICY_CANCEL_OTHER, FRESH, [C, C, Q], ["", "", ""], "c", True),
    ],
)
def test_each_policy_places_what_is_new(
    policy: OverlapPolicy.ValueType,
    unended: Unended | None,
    statuses: list[int],
    depends: list[str],
    newest: str,
    cancels: bool,
) -> None:
    placed = place(NEW, unended, policy)
    assert [each.status for each in placed.fires] == statuses
    assert [each.depends_on for each in placed.fires] == depends
    assert (placed.newest, placed.cancels_unended) == (newest, cancels)
    assert [(each.id, each.time) for each in placed.fires] == NEW


@given(st.integers(1, 12), st.integers(1, 64))
def test_each_shard_has_one_owner_and_a_new_replica_takes_from_all(count: int, shards: int) -> None:
    def owner(shard: int, replicas: int) -> int:
        owners = [each for each in range(replicas) if Replica(each, replicas).owns(shard)]
        assert len(owners) == 1
        return owners[0]

    before = [owner(shard, count) for shard in range(shards)]
    after = [owner(shard, count + 1) for shard in range(shards)]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) <= {count}


def test_shards_of_others_are_looked_at_seldom_and_own_ones_always() -> None:
    replica = Replica(1, 4)
    rounds = Rounds(replica, 16, others_seconds=15, chance=random.Random(1))
    looked: Counter[int] = Counter()
    for second in range(61):
        looked.update(rounds.now(1_000_000_000_000 + second * 1_000_000))
    for shard in range(16):
        assert looked[shard] == 61 if replica.owns(shard) else 3 <= looked[shard] <= 5


@dataclass(frozen=True)
class Hit:
    tenant: str
    number: int


def test_tenants_take_turns_and_none_takes_all_slots() -> None:
    hits = [Hit("big", number) for number in range(100)] + [Hit("small", 0), Hit("tiny", 0)]
    shares = Shares(slots=6, per_tenant=3)
    taken = [hit for hit in by_turns(hits) if shares.take(hit.tenant)]
    assert taken == [
        Hit("big", 0),
        Hit("small", 0),
        Hit("tiny", 0),
        Hit("big", 1),
        Hit("big", 2),
    ]
    assert shares.free == 1
    shares.give_back("big")
    assert shares.take("big")
    assert not shares.take("big")
    assert shares.take("other")
    assert not shares.take("another")


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_backoff_grows_to_its_bound_with_full_jitter(failures: int, seed: int) -> None:
    backoff = Backoff(first=10, most=900)
    wait = backoff.microseconds(failures, random.Random(seed))
    assert 0 <= wait <= min(900, 10 * 2 ** min(failures - 1, 10)) * 1_000_000


def test_backoff_is_spread() -> None:
    chance = random.Random(3)
    waits = [Backoff().microseconds(20, chance) for _ in range(200)]
    assert min(waits) < 90_000_000
    assert max(waits) > 810_000_000


def test_counts_of_replicas_are_measured() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    counts = SchedulerCounts()
    measure("scheduler", counts, meter)
    counts.claimed, counts.lag = 7, 1.5
    data = reader.get_metrics_data()
    assert data is not None
    points = {
        metric.name: next(iter(metric.data.data_points))
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    values = {name: getattr(point, "value", None) for name, point in points.items()}
    assert values["tenancy.scheduler.claimed"] == 7
    assert values["tenancy.scheduler.lag"] == 1.5
    assert len(values) == len(fields(SchedulerCounts))
