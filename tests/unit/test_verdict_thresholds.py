"""Thresholds read from the words of a plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import check_pb2, ssp_pb2
from services.inventory.compliance.thresholds import (
    ThresholdUnclear,
    claim_thresholds,
    read_threshold,
    weaker,
)

DAYS = check_pb2.THRESHOLD_UNIT_DAYS
COUNT = check_pb2.THRESHOLD_UNIT_COUNT
DAY_COUNT = check_pb2.THRESHOLD_UNIT_DAY_COUNT


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("90 days", 90),
        ("90-day", 90),
        ("ninety (90) days (See additional requirements and guidance.)", 90),
        ("ninety days", 90),
        ("forty-five (45) calendar days", 45),
        ("one hundred and eighty (180) days", 180),
        ("every ninety-five days", 95),
        ("within 24 hours", 1),
        ("every two weeks", 14),
        ("3 months", 90),
        ("one (1) year", 365),
        ("at least annually", 365),
        ("quarterly", 90),
        ("no more than 60 days, and never over 60 days", 60),
    ],
)
def test_periods(text: str, days: int) -> None:
    assert read_threshold(text, DAYS) == read_threshold(text, DAY_COUNT) == days


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("14", 14),
        ("at least 14 characters", 14),
        ("fourteen characters", 14),
        ("14 characters with one upper-case letter, one digit and 1 symbol", 14),
        ("minimum length of fourteen (14) characters, at least 1 number", 14),
        ("length: 16", 16),
        ("24 generations", 24),
        ("twenty-four", 24),
    ],
)
def test_counts(text: str, count: int) -> None:
    assert read_threshold(text, COUNT) == count


@pytest.mark.parametrize(
    ("text", "unit", "problem"),
    [
        ("", DAYS, "no period"),
        ("never", DAYS, "no period"),
        ("90", DAYS, "no period"),
        ("as the policy says", DAYS, "no period"),
        ("ninety (60) days", DAYS, "several values: 60, 90"),
        ("30 days for administrators, 90 days for others", DAYS, "several values: 30, 90"),
        ("36 hours", DAYS, "no whole number"),
        ("999999999 years", DAYS, "too large"),
        ("90 days", COUNT, "no number"),
        ("complex", COUNT, "no number"),
        ("12 characters for users and 20 characters for admins", COUNT, "several values: 12, 20"),
    ],
)
def test_words_that_leave_a_choice(
    text: str, unit: check_pb2.ThresholdUnit.ValueType, problem: str
) -> None:
    with pytest.raises(ThresholdUnclear, match=problem):
        read_threshold(text, unit)


@given(st.integers(1, 5000), st.sampled_from(["{} days", "within {} days", "{} (calendar) days"]))
def test_any_number_of_days(number: int, form: str) -> None:
    if form == "{} (calendar) days":
        with pytest.raises(ThresholdUnclear):
            read_threshold(form.format(number), DAYS)
    else:
        assert read_threshold(form.format(number), DAYS) == number


@given(st.text(max_size=200), st.sampled_from([DAYS, COUNT]))
def test_any_text_is_a_value_or_unclear(text: str, unit: check_pb2.ThresholdUnit.ValueType) -> None:
    try:
        value = read_threshold(text, unit)
    except ThresholdUnclear:
        return
    assert 0 <= value <= 1_000_000


@pytest.mark.parametrize("text", ["one " * 1024, " " * 4096, "one-" * 1024 + "x", "9" * 4096])
def test_hostile_words_take_no_time(text: str) -> None:
    with pytest.raises(ThresholdUnclear):
        read_threshold(text, DAYS)


def _check() -> check_pb2.Check:
    return check_pb2.Check(
        id="iam.unused_credentials",
        parameters=[
            check_pb2.CheckParameter(
                variable="max_unused", param_id="ac-02.03_odp.02", default_value=90, unit=DAYS
            ),
            check_pb2.CheckParameter(variable="remembered", default_value=24, unit=COUNT),
        ],
    )


def test_the_claim_sets_the_threshold_and_the_check_the_rest() -> None:
    claim = ssp_pb2.Claim(parameters={"ac-02.03_odp.02": "35 days", "ac-02.03_odp.01": "unclear"})
    assert claim_thresholds(claim, _check()) == {"max_unused": 35, "remembered": 24}
    assert claim_thresholds(ssp_pb2.Claim(), _check()) == {"max_unused": 90, "remembered": 24}


def test_an_unclear_threshold_names_its_parameter() -> None:
    claim = ssp_pb2.Claim(parameters={"ac-02.03_odp.02": "soon"})
    with pytest.raises(
        ThresholdUnclear, match=r"iam\.unused_credentials needs ac-02\.03_odp\.02: 'soon' names no"
    ):
        claim_thresholds(claim, _check())


def test_which_side_is_weaker() -> None:
    at_most, at_least = (
        check_pb2.THRESHOLD_DIRECTION_AT_MOST,
        check_pb2.THRESHOLD_DIRECTION_AT_LEAST,
    )
    assert weaker(180, 90, at_most)
    assert not weaker(90, 90, at_most)
    assert weaker(8, 14, at_least)
    assert not weaker(14, 14, at_least)
