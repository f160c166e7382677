"""The part of the page on time: counts of claims, and how long false ones took to mend."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from secmesh.inventory.v1 import trend_pb2
from services.inventory.compliance.html_parts import Html, tag
from services.inventory.compliance.report import control_label, moment_words
from services.inventory.compliance.report_charts import Pile, Share, legend, piles
from services.inventory.compliance.report_posture import GROUP_WORDS, GROUPS, Group

DAY = timedelta(days=1)
_LISTED = 10


def trend_section(trend: trend_pb2.Trend) -> Html:
    """Write the chart of the assessments, what stands since when, and the times to fix."""
    return tag(
        "section",
        tag("h2", "Trend"),
        *(_chart(trend.points) if len(trend.points) > 1 else _none(trend)),
        tag("p", " ".join(_told(trend))),
        *_open(trend),
        id="trend",
    )


def _none(trend: trend_pb2.Trend) -> Iterator[Html]:
    if trend.assessments > 1:
        yield tag("p", "All assessments of these accounts are of one day.")
    else:
        yield tag(
            "p", "This is the first assessment of these accounts: of before nothing is known."
        )


def _groups(point: trend_pb2.TrendPoint) -> Counter[Group]:
    found: Counter[Group] = Counter()
    for each in point.claim_counts:
        found[GROUPS.get(each.verdict, Group.OPEN)] += each.count
    for each in point.excepted_claim_counts:
        found[GROUPS.get(each.verdict, Group.OPEN)] -= each.count
        found[Group.EXCEPTED] += each.count
    return found


def _chart(points: Sequence[trend_pb2.TrendPoint]) -> Iterator[Html]:
    drawn = []
    excepted = any(point.excepted_claim_counts for point in points)
    groups = [group for group in Group if excepted or group != Group.EXCEPTED]
    for point in points:
        counts = _groups(point)
        shares = [Share(GROUP_WORDS[group], counts[group], group.value) for group in groups]
        drawn.append(Pile(_day(point), moment_words(point.evaluate_time)[:10], shares))
    yield piles(drawn, of="Claims over time")
    first, last = drawn[0], drawn[-1]
    yield tag("p", tag("span", first.word), tag("span", last.word), class_="axis")
    yield legend(last.shares)


def _day(point: trend_pb2.TrendPoint) -> int:
    return point.evaluate_time.seconds // 86_400


def _told(trend: trend_pb2.Trend) -> Iterator[str]:
    repairs = trend.repairs
    oldest = f" (the oldest for {duration_words(repairs.oldest_open_age)})" if repairs.open else ""
    yield f"{repairs.open} still false{oldest}, {repairs.fixed} mended,"
    if repairs.excepted:
        yield f"{repairs.excepted} accepted by exceptions and not mended,"
    yield f"{repairs.restated} restated by the plan."
    if repairs.fixed:
        mean, median = repairs.mean_time_to_fix, repairs.median_time_to_fix
        yield f"Time to fix: mean {duration_words(mean)}, median {duration_words(median)}."
    if repairs.fixed_since_first:
        yield f"{repairs.fixed_since_first} of them took longer: the first assessment shows them."
    if trend.left_out:
        yield f"Left out: {trend.left_out} assessments of other accounts or baselines."
    if trend.cut:
        yield "There are older assessments than those compared."


def _open(trend: trend_pb2.Trend) -> Iterator[Html]:
    open_ones = trend_pb2.FalseClaim.STATE_OPEN
    still = [each for each in trend.false_claims if each.state == open_ones]
    items = [
        tag(
            "li",
            tag("b", control_label(each.control_id)),
            f" false since {'or before ' if each.since_first else ''}"
            f"{moment_words(each.first_time)[:10]}, {duration_words(each.age)}",
        )
        for each in still[:_LISTED]
    ]
    if items:
        hidden = trend.repairs.open - len(items)
        more = [tag("li", f"and {hidden} more")] if hidden else []
        yield tag("ul", *items, *more, class_="notes")


def duration_words(duration: Duration) -> str:
    """Write a duration for people: days, hours or minutes, cut off."""
    length = duration.ToTimedelta()
    for unit, word in ((DAY, "day"), (timedelta(hours=1), "hour")):
        if length >= unit:
            number = length // unit
            return f"{number} {word}{'' if number == 1 else 's'}"
    return "less than an hour"
