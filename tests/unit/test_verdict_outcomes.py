"""Outcomes of rows together, and where the manifest leaves them open."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.contract.catalogue import load_catalogue
from secmesh.inventory.v1 import check_pb2, record_pb2, sync_pb2
from services.inventory.compliance.check_catalogue import load_checks
from services.inventory.compliance.coverage import READINGS_AT_A_TIME, Coverage, Standing, Unit
from services.inventory.compliance.evaluation import TOGETHER, Asked, batches
from services.inventory.compliance.outcomes import (
    FAIL,
    NOT_APPLICABLE,
    PASS,
    STALE,
    UNREAD,
    Outcome,
    Place,
    Tally,
    combine,
    first_places,
)

ANY, ALL, NONE = (
    check_pb2.QUANTIFIER_ANY,
    check_pb2.QUANTIFIER_ALL,
    check_pb2.QUANTIFIER_NONE,
)
CHECKS = load_checks(load_catalogue("secmesh.inventory.v1"))
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quantifier", "rows", "unlisted", "expected"),
    [
        (ANY, [PASS, FAIL, UNREAD], True, PASS),
        (ANY, [FAIL, UNREAD], False, UNREAD),
        (ANY, [FAIL], True, UNREAD),
        (ANY, [FAIL, STALE], False, STALE),
        (ANY, [FAIL, FAIL], False, FAIL),
        (ANY, [NOT_APPLICABLE], False, FAIL),
        (ANY, [], False, FAIL),
        (ALL, [PASS, FAIL, UNREAD], True, FAIL),
        (ALL, [PASS, UNREAD], False, UNREAD),
        (ALL, [PASS], True, UNREAD),
        (ALL, [PASS, NOT_APPLICABLE], False, PASS),
        (ALL, [], False, NOT_APPLICABLE),
        (NONE, [PASS, UNREAD], True, FAIL),
        (NONE, [FAIL, STALE], False, STALE),
        (NONE, [FAIL], False, PASS),
        (NONE, [], False, PASS),
        (NONE, [], True, UNREAD),
    ],
)
def test_quantifiers_with_unknowns(
    quantifier: check_pb2.Quantifier.ValueType,
    rows: list[Outcome],
    unlisted: bool,
    expected: Outcome,
) -> None:
    assert combine(quantifier, Counter(rows), unlisted=unlisted) == expected


_ROWS = st.lists(st.sampled_from([PASS, FAIL, NOT_APPLICABLE, UNREAD, STALE]), max_size=6)


@given(st.sampled_from([ANY, ALL, NONE]), _ROWS, st.booleans())
def test_a_decided_outcome_holds_whatever_the_unknown_rows_are(
    quantifier: check_pb2.Quantifier.ValueType, rows: list[Outcome], unlisted: bool
) -> None:
    """Reading what was open, or finding rows nobody saw, never turns an outcome round."""
    outcome = combine(quantifier, Counter(rows), unlisted=unlisted)
    if outcome not in (PASS, FAIL):
        return
    for truth in (PASS, FAIL, NOT_APPLICABLE):
        read = [truth if row in (UNREAD, STALE) else row for row in rows]
        found = [*read, truth] if unlisted else read
        assert combine(quantifier, Counter(found), unlisted=False) == outcome


def entry(
    operation: str,
    outcome: record_pb2.ReadOutcome.ValueType = record_pb2.READ_OUTCOME_READ,
    *,
    listing: bool = False,
    hours_ago: float = 1,
) -> sync_pb2.ManifestEntry:
    made = sync_pb2.ManifestEntry(
        operation=operation, action=operation, outcome=outcome, listing=listing
    )
    made.read_time.FromDatetime(NOW - timedelta(hours=hours_ago))
    return made


def unit(*entries: sync_pb2.ManifestEntry, region: str = "global", sync: str = "s1") -> Unit:
    return Unit("111122223333", region, "s3_buckets", sync, entries)


OLDEST = NOW - timedelta(days=7)
DENIED = record_pb2.READ_OUTCOME_DENIED


@pytest.mark.parametrize(
    ("entries", "standing"),
    [
        ([entry("s3:List", listing=True)], Standing.READ),
        ([entry("s3:List", listing=True), entry("s3:Get", DENIED)], Standing.READ),
        ([entry("s3:List", DENIED, listing=True), entry("s3:Get")], Standing.UNREAD),
        # Some pages were read, then one was refused.
        (
            [entry("s3:List", listing=True), entry("s3:List", DENIED, listing=True)],
            Standing.UNREAD,
        ),
        ([entry("s3:Get", DENIED)], Standing.UNREAD),
        ([entry("s3:Get", record_pb2.READ_OUTCOME_ABSENT)], Standing.READ),
        (
            [entry("s3:List", record_pb2.READ_OUTCOME_UNSUPPORTED, listing=True)],
            Standing.UNREAD,
        ),
        ([entry("s3:List", listing=True, hours_ago=169)], Standing.STALE),
        # The listing decides, however fresh the rest.
        ([entry("s3:List", listing=True, hours_ago=169), entry("s3:Get")], Standing.STALE),
    ],
)
def test_standing_of_a_unit(entries: list[sync_pb2.ManifestEntry], standing: Standing) -> None:
    assert unit(*entries).standing(OLDEST) == standing


def test_rows_belong_to_the_unit_that_lists_them() -> None:
    read = entry("s3:List", listing=True)
    everywhere = Coverage([], [unit(read)])
    (found,) = everywhere.units_of_row("111122223333", "s3_buckets", "eu-west-1")
    assert found.region == "global"
    regional = Coverage([], [unit(read, region="us-east-1"), unit(read, region="eu-west-1")])
    (found,) = regional.units_of_row("111122223333", "s3_buckets", "eu-west-1")
    assert found.region == "eu-west-1"
    assert len(regional.units_of_row("111122223333", "s3_buckets", "ap-south-1")) == 2
    unknown = regional.standing("999988887777", "s3_buckets", "eu-west-1", OLDEST)
    assert unknown == Standing.UNREAD


def test_readings_split_rows_by_run_without_losing_any() -> None:
    old, new = entry("s3:List", listing=True, hours_ago=5), entry("s3:List", listing=True)
    coverage = Coverage(
        [], [unit(old, region="eu-west-1", sync="s1"), unit(new, region="us-east-1", sync="s2")]
    )
    newest, other = coverage.readings("s3_buckets", together=False, at=NOW)
    assert newest.read_time == NOW - timedelta(hours=1)
    assert (newest.regions, newest.other_regions) == (None, frozenset({"eu-west-1"}))
    assert (other.regions, other.read_time) == (frozenset({"eu-west-1"}), NOW - timedelta(hours=5))
    (together,) = coverage.readings("s3_buckets", together=True, at=NOW)
    assert (together.regions, together.other_regions) == (None, frozenset())


def test_groups_of_readings_hold_whole_accounts() -> None:
    old, new = entry("s3:List", listing=True, hours_ago=5), entry("s3:List", listing=True)
    accounts = [f"{number:012}" for number in range(READINGS_AT_A_TIME)]
    units = [
        Unit(account, region, "s3_buckets", run, (read,))
        for account in accounts
        for region, run, read in (("eu-west-1", "s1", old), ("us-east-1", "s2", new))
    ]
    coverage = Coverage([], units)
    groups = list(coverage.reading_groups("s3_buckets", together=False, at=NOW))
    readings = coverage.readings("s3_buckets", together=False, at=NOW)
    assert [reading for group in groups for reading in group] == readings
    assert len(groups) > 1
    seen = [{reading.accounts for reading in group} for group in groups]
    assert sum(map(len, seen)) == len(accounts)
    assert all(len(group) <= READINGS_AT_A_TIME for group in groups)
    assert list(Coverage([], []).reading_groups("s3_buckets", together=True, at=NOW)) == []


def test_each_check_is_asked_once_with_others_over_the_same_rows() -> None:
    asked = [Asked(check, check.defaults()) for check in CHECKS.checks.values()]
    found = list(batches(asked))
    assert sorted(each.check.id for batch in found for each in batch) == sorted(CHECKS.checks)
    for batch in found:
        assert 0 < len(batch) <= TOGETHER
        assert len({(each.check.kind.collection, each.check.uses_now) for each in batch}) == 1
    assert any(len(batch) > 1 for batch in found)


@given(
    st.lists(
        st.tuples(st.sampled_from("123"), st.sampled_from(("a", "b", "")), st.integers(0, 4)),
        unique_by=lambda drawn: drawn[:2],
    ),
    st.integers(1, 9),
    st.sets(st.sampled_from("123")),
)
def test_the_first_rows_are_in_the_first_places(
    drawn: list[tuple[str, str, int]], number: int, closed: set[str]
) -> None:
    tallies = [
        Tally(Place(account, region), Counter({FAIL: count})) for account, region, count in drawn
    ]
    without = [tally.place for tally in tallies if tally.place.cloud_account_id in closed]
    rows = sorted(
        (account, region, row)
        for account, region, count in drawn
        for row in range(count)
        if account not in closed
    )
    places = first_places(tallies, FAIL, number, without=without)
    held = [row for row in rows if Place(row[0], row[1]) in places]
    assert held[:number] == rows[:number]
    assert len(places) <= number
