"""`secmesh compliance trend`: how verdicts developed, and how long contradictions take to mend."""

from datetime import timedelta
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from cli.completion import words
from cli.compliance import BASELINES, Stub
from cli.connection import UsageProblem, connection_of
from cli.moments import parse_time
from cli.output import Column, OutputFormat, enum_word, talk, write_message, write_messages
from secmesh.inventory.v1 import assessment_pb2, ssp_pb2, trend_pb2

app = typer.Typer()
INTERVALS = {
    enum_word(trend_pb2.TrendInterval.DESCRIPTOR, number): number
    for number in trend_pb2.TrendInterval.values()
    if number
}
DAY = timedelta(days=1)


@app.command()
def trend(
    context: typer.Context,
    ssp: Annotated[str, typer.Option(help="Id or full name of the plan.")],
    account: Annotated[
        list[str] | None,
        typer.Option(help="AWS account id, any number of times; else those assessed last."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(BASELINES)}; else the one of the newest assessment.",
            autocompletion=words(BASELINES),
        ),
    ] = None,
    start: Annotated[str, typer.Option("--from", help="Time or date; else the first.")] = "",
    end: Annotated[str, typer.Option("--to", help="Time or date; else the newest.")] = "",
    interval: Annotated[
        str,
        typer.Option(help=f"One of {', '.join(INTERVALS)}.", autocompletion=words(INTERVALS)),
    ] = "day",
) -> None:
    """Tell how the verdicts on a plan developed, and how long contradictions took to mend."""
    if interval not in INTERVALS:
        raise UsageProblem(f"--interval is one of {', '.join(INTERVALS)}")
    if baseline is not None and baseline not in BASELINES:
        raise UsageProblem(f"--baseline is one of {', '.join(BASELINES)}")
    connection = connection_of(context)
    request = trend_pb2.GetTrendRequest(
        ssp=ssp if ssp.startswith("tenants/") else f"{connection.tenant}/ssps/{ssp}",
        cloud_account_ids=account,
        baseline=ssp_pb2.Baseline.ValueType(BASELINES[baseline] if baseline else 0),
        interval=trend_pb2.TrendInterval.ValueType(INTERVALS[interval]),
    )
    if start:
        request.start_time.CopyFrom(parse_time(start, "--from"))
    if end:
        request.end_time.CopyFrom(parse_time(end, "--to"))
    with connection.channel() as channel:
        found = Stub(channel).GetTrend(request)
    if connection.output is not OutputFormat.TABLE:
        write_message(found, connection.output)
        return
    _show(found)


def _show(found: trend_pb2.Trend) -> None:
    seen = sorted({each.verdict for point in found.points for each in point.claim_counts})
    counts = map(_count_column, seen)
    columns: list[str | Column] = ["evaluate_time", "claims", *counts]
    write_messages(
        found.points,
        OutputFormat.TABLE,
        columns,
        f"{found.assessments} assessments",
    )
    columns = ["control_id", "state", "first_time", "end_time", _AGE, "verdict", "claim"]
    if found.false_claims:
        write_messages(found.false_claims, OutputFormat.TABLE, columns, "false claims")
    for line in _told(found):
        talk.print(line, markup=False)


def _count_column(verdict: assessment_pb2.Verdict.ValueType) -> Column:
    def count(point: trend_pb2.TrendPoint) -> str:
        return str(sum(each.count for each in point.claim_counts if each.verdict == verdict))

    return Column(enum_word(assessment_pb2.Verdict.DESCRIPTOR, verdict), count)


def _age(each: trend_pb2.FalseClaim) -> str:
    least = "at least " if each.since_first else ""
    return least + duration_words(each.age)


_AGE = Column("age", _age)


def _told(found: trend_pb2.Trend) -> list[str]:
    repairs = found.repairs
    excepted = f"{repairs.excepted} excepted, " if repairs.excepted else ""
    counts = f"{repairs.open} open, {excepted}{repairs.fixed} fixed"
    lines = [f"{counts}, {repairs.restated} restated by the plan"]
    if repairs.fixed:
        mean = duration_words(repairs.mean_time_to_fix)
        lines.append(
            f"time to fix: mean {mean}, median {duration_words(repairs.median_time_to_fix)}"
        )
    if repairs.fixed_since_first:
        lines.append(
            f"{repairs.fixed_since_first} of them took longer: the first assessment shows them"
        )
    if repairs.open:
        lines.append(f"the oldest open one is {duration_words(repairs.oldest_open_age)} old")
    if found.left_out:
        lines.append(f"left out: {found.left_out} assessments of other accounts or baselines")
    if found.cut:
        lines.append("there are older assessments than those compared")
    return lines


def duration_words(duration: Duration) -> str:
    """Write a duration for people: days, hours or minutes, cut off."""
    length = duration.ToTimedelta()
    if length >= 2 * DAY:
        return f"{length // DAY} days"
    if length >= timedelta(hours=2):
        return f"{length // timedelta(hours=1)} hours"
    return f"{length // timedelta(minutes=1)} minutes"
