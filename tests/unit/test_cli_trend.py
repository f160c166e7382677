"""The command that shows how the verdicts on a plan developed."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from cli.trend import duration_words
from secmesh.inventory.v1 import assessment_pb2, ssp_pb2, trend_pb2
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def developed() -> trend_pb2.Trend:
    made = trend_pb2.Trend(assessments=2, left_out=3, cut=True)
    for number, verdict in enumerate(["CONTRADICTED", "SUPPORTED"]):
        point = made.points.add(claims=7, evaluate_time=NOW + timedelta(days=number))
        point.claim_counts.add(verdict=assessment_pb2.Verdict.Value(f"VERDICT_{verdict}"), count=7)
    made.false_claims.add(
        claim="tenants/acme/ssps/main/claims/c1",
        control_id="sc-28.1",
        state=trend_pb2.FalseClaim.STATE_FIXED,
        age=timedelta(days=4, hours=5),
        since_first=True,
    )
    made.repairs.fixed = made.repairs.fixed_since_first = made.repairs.open = 1
    made.repairs.excepted = 2
    made.repairs.mean_time_to_fix.FromTimedelta(timedelta(days=4, hours=5))
    made.repairs.median_time_to_fix.FromTimedelta(timedelta(hours=40))
    made.repairs.oldest_open_age.FromTimedelta(timedelta(minutes=9))
    return made


def test_trend_shows_counts_contradictions_and_times(operator: Operator) -> None:
    arguments = ["--account", "123456789012", "--baseline", "nist-low", "--from", "2029-12-01"]
    done = operator.run("compliance", "trend", "--ssp", "main", *arguments, "--to", "2030-02-01")
    request = operator.answer("ComplianceService", "GetTrend", developed())
    result = done.result(SECONDS)
    assert result.exit_code == 0
    assert request.ssp == "tenants/acme/ssps/main"
    assert list(request.cloud_account_ids) == ["123456789012"]
    assert request.baseline == ssp_pb2.BASELINE_NIST_LOW
    assert request.interval == trend_pb2.TREND_INTERVAL_DAY
    assert request.start_time.ToJsonString() == "2029-12-01T00:00:00Z"
    assert request.end_time.ToJsonString() == "2030-02-01T00:00:00Z"
    for wanted in ("contradicted", "supported", "sc-28.1", "fixed", "2 assessments"):
        assert wanted in result.stdout
    told = " ".join(result.stderr.split())
    for wanted in (
        "1 open, 2 excepted, 1 fixed, 0 restated by the plan",
        "time to fix: mean 4 days, median 40 hours",
        "1 of them took longer",
        "the oldest open one is 9 minutes old",
        "left out: 3 assessments",
        "older assessments",
    ):
        assert wanted in told, wanted


def test_trend_is_written_whole_for_programs(operator: Operator) -> None:
    done = operator.run("-o", "json", "compliance", "trend", "--ssp", "tenants/acme/ssps/other")
    request = operator.answer("ComplianceService", "GetTrend", developed())
    assert request.ssp == "tenants/acme/ssps/other"
    assert '"falseClaims"' in done.result(SECONDS).stdout


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--interval", "year"], "--interval is one of day, assessment"),
        (["--baseline", "soc2"], "--baseline is one of"),
        (["--from", "yesterday"], "--from is a time"),
    ],
)
def test_what_is_no_trend_is_refused(operator: Operator, arguments: list[str], wanted: str) -> None:
    result = operator.run("compliance", "trend", "--ssp", "main", *arguments).result(SECONDS)
    assert result.exit_code == 2
    assert wanted in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(0), "0 minutes"),
        (timedelta(minutes=119, seconds=59), "119 minutes"),
        (timedelta(hours=47, minutes=59), "47 hours"),
        (timedelta(hours=71), "2 days"),
    ],
)
def test_durations_are_written_for_people(length: timedelta, words: str) -> None:
    made = Duration()
    made.FromTimedelta(length)
    assert duration_words(made) == words
