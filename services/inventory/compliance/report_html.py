"""An assessment as one HTML page that stands alone: no request, light, dark and print.

The content security policy lets nothing load; style and script are admitted by their digests. The
script only filters: without it everything is shown.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.controls import baseline_title, load_controls
from services.inventory.compliance.html_parts import Html, join, tag
from services.inventory.compliance.report import (
    MAX_BYTES,
    MAX_SHOWN,
    Report,
    control_label,
    moment_words,
    state_word,
    verdict_word,
)
from services.inventory.compliance.report_charts import Share, bar, legend
from services.inventory.compliance.report_exceptions import EXPLAINED, notices, row, used
from services.inventory.compliance.report_html_details import SEVERITIES, details, marks
from services.inventory.compliance.report_html_first import first_view
from services.inventory.compliance.report_html_trend import trend_section
from services.inventory.compliance.report_posture import (
    FAMILIES,
    GROUP_WORDS,
    GROUPS,
    Group,
    group_of,
    posture,
)
from services.inventory.compliance.uncovered import unseen


def html_report(report: Report) -> bytes:
    """Write the page; of each check fewer resources are listed if it grows too large."""
    for shown in (MAX_SHOWN, 3, 0):
        written = _page(report, shown).encode()
        if len(written) <= MAX_BYTES:
            break
    return written


@cache
def _own(name: str) -> Html:
    source = resources.files(__package__) / "data" / name
    return Html(source.read_text(encoding="utf-8"))


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _policy() -> str:
    style, script = _digest(_own("report.css")), _digest(_own("report.js"))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _page(report: Report, shown: int) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{_plan_title(report)}: claims and evidence"),
        tag("style", _own("report.css")),
    )
    body = tag(
        "body",
        _header(report),
        tag("main", *_sections(report, shown)),
        tag("footer", f"secmesh \N{MIDDLE DOT} {report.assessment.name}"),
        tag("script", _own("report.js")),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _sections(report: Report, shown: int) -> Iterator[Html]:
    yield first_view(report)
    yield _facts(report)
    yield _overview(report)
    if report.trend is not None:
        yield trend_section(report.trend)
    yield tag("div", _by_verdict(report), _by_family(report), class_="columns")
    yield from _missing(report.assessment)
    yield from _unseen(report.assessment)
    yield from _notices(report.assessment)
    yield _filter(report)
    yield from details(report, shown)
    yield from _exceptions(report.verdicts)
    yield _every_claim(report.verdicts)


def _plan_title(report: Report) -> str:
    return report.plan.title if report.plan and report.plan.title else report.assessment.ssp


def _header(report: Report) -> Html:
    return tag(
        "header",
        tag("p", "Claims and evidence", class_="kicker"),
        tag("h1", _plan_title(report)),
    )


def _facts(report: Report) -> Html:
    assessment = report.assessment
    facts = {
        "Baseline": baseline_title(assessment.baseline),
        "Accounts": ", ".join(assessment.cloud_account_ids),
        "Evidence weighed": moment_words(assessment.evaluate_time),
        "Plan": assessment.ssp,
    }
    facts |= {each.heading: each.words for each in unseen(assessment)}
    if report.plan and report.plan.version:
        facts["Plan version"] = report.plan.version
    listed = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]
    return tag("dl", *listed)


def _filter(report: Report) -> Html:
    verdicts = sorted({verdict.verdict for verdict in report.verdicts})
    # Hidden until the script shows it: without one it would do nothing.
    return tag(
        "section",
        tag(
            "input",
            type="search",
            aria_label="Search",
            placeholder="Search control, resource, value",
        ),
        _choice("Verdict", [verdict_word(each) for each in verdicts]),
        _choice("Severity", SEVERITIES),
        tag("output", id="told"),
        class_="filter",
        id="filter",
        role="search",
        hidden="hidden",
    )


def _choice(name: str, words: Iterable[str]) -> Html:
    options = [tag("option", word, value=word) for word in words]
    # An option without a value has its text as one.
    every = Html(f'<option value="">{name}: all</option>')
    return tag("select", every, *options, aria_label=name)


def _overview(report: Report) -> Html:
    found = posture(report.verdicts)
    excepted = found.groups[Group.EXCEPTED]
    shares = [
        Share(GROUP_WORDS[group], found.groups[group], group.value)
        for group in Group
        if group != Group.EXCEPTED or excepted
    ]
    contradicted = _count(report.assessment.control_counts, pb.VERDICT_CONTRADICTED)
    tiles = [
        tag(
            "div",
            tag("b", str(count)),
            tag("span", word),
            class_=f"tile {style}",
        )
        for word, count, style in (
            ("controls contradicted", contradicted, Group.FAILING.value),
            ("more where evidence fails", found.groups[Group.FAILING] - contradicted, "weak"),
            ("open", found.groups[Group.OPEN], Group.OPEN.value),
            ("where failures are excepted", excepted, Group.EXCEPTED.value),
            ("where evidence agrees", found.groups[Group.AGREEING], Group.AGREEING.value),
            ("not weighed here", found.groups[Group.UNTESTED], Group.UNTESTED.value),
        )
        if excepted or style != Group.EXCEPTED
    ]
    tested = [
        Share("Tested, read whole", found.tested_whole, Group.AGREEING.value),
        Share("Tested, not read whole", found.tested_in_part, Group.OPEN.value),
        Share("No check", found.without_check, Group.UNTESTED.value),
    ]
    below = report.assessment.below_baseline
    return tag(
        "section",
        tag("h2", "Posture"),
        tag("p", f"Of {found.controls} controls, each counted once by its worst claim:"),
        tag("div", *tiles, class_="tiles"),
        bar(shares, found.controls, of="Controls"),
        legend(shares),
        tag("h3", "Coverage"),
        bar(tested, found.controls, of="Coverage"),
        legend(tested),
        tag("p", f"Claims with a threshold below their baseline: {below}.") if below else Html(),
    )


def _count(counts: Iterable[pb.VerdictCount], verdict: pb.Verdict.ValueType) -> int:
    return sum(each.count for each in counts if each.verdict == verdict)


def _by_verdict(report: Report) -> Html:
    assessment, excepted = report.assessment, posture(report.verdicts).excepted
    controls = {each.verdict: each.count for each in assessment.control_counts}
    claims = {each.verdict: each.count for each in assessment.claim_counts}
    largest = max([*controls.values(), 1])
    rows = [
        tag(
            "tr",
            tag("th", verdict_word(verdict), scope="row"),
            tag(
                "td",
                _verdict_bar(verdict, controls.get(verdict, 0), excepted[verdict], largest),
                class_="chart",
            ),
            tag("td", str(controls.get(verdict, 0)), class_="number"),
            tag("td", str(claims.get(verdict, 0)), class_="number"),
        )
        for verdict in sorted({*controls, *claims})
    ]
    heading = tag(
        "tr",
        tag("th", "Verdict", scope="col"),
        tag("th", "", scope="col"),
        tag("th", f"Controls of {assessment.controls}", scope="col", class_="number"),
        tag("th", f"Claims of {assessment.claims}", scope="col", class_="number"),
    )
    table = tag("table", tag("thead", heading), tag("tbody", *rows), class_="bars")
    return tag("section", tag("h2", "By verdict"), table)


def _verdict_bar(verdict: pb.Verdict.ValueType, count: int, excepted: int, largest: int) -> Html:
    group, word = GROUPS.get(verdict, Group.OPEN), verdict_word(verdict)
    shares = [
        Share(word, count - excepted, group.value),
        Share(f"{word}, excepted", excepted, Group.EXCEPTED.value),
    ]
    return bar(shares, largest, of="Controls")


def _by_family(report: Report) -> Html:
    found = posture(report.verdicts)
    rows = []
    for family, counts in found.families.items():
        shares = [Share(GROUP_WORDS[group], counts[group], group.value) for group in Group]
        title = FAMILIES.get(family, "")
        rows.append(
            tag(
                "tr",
                tag("th", family.upper(), scope="row", title=title),
                tag("td", bar(shares, counts.total(), of=family.upper()), class_="chart"),
                tag("td", str(counts[Group.FAILING] or ""), class_="number failing"),
                tag("td", str(counts.total()), class_="number"),
            )
        )
    heading = tag(
        "tr",
        tag("th", "Family", scope="col"),
        tag("th", "", scope="col"),
        tag("th", "Failing", scope="col", class_="number"),
        tag("th", "Controls", scope="col", class_="number"),
    )
    table = tag("table", tag("thead", heading), tag("tbody", *rows), class_="bars")
    return tag("section", tag("h2", "By family"), table)


def _missing(assessment: pb.Assessment) -> Iterator[Html]:
    if not assessment.missing_actions:
        return
    actions = [tag("li", tag("code", action)) for action in assessment.missing_actions]
    yield tag(
        "section",
        tag("h2", "Reads that were denied"),
        tag("p", "Grant these actions to the collecting role to turn open evidence into answers:"),
        tag("ul", *actions, class_="actions"),
    )


def _unseen(assessment: pb.Assessment) -> Iterator[Html]:
    for each in unseen(assessment):
        yield tag(
            "section",
            tag("h2", each.heading, *([tag("span", str(each.count))] if each.count else [])),
            tag("p", each.told),
            *([tag("ul", *(tag("li", line) for line in each.lines))] if each.lines else []),
        )


def _notices(assessment: pb.Assessment) -> Iterator[Html]:
    for heading, lines in notices(assessment):
        items = [tag("li", line) for line in lines]
        yield tag("section", tag("h2", heading, tag("span", str(len(items)))), tag("ul", *items))


def _exceptions(verdicts: Iterable[pb.ClaimVerdict]) -> Iterator[Html]:
    found = used(verdicts)
    if not found:
        return
    columns = ("Exception", "Check", "Failures", "Why", "Decided in")
    heading = tag("tr", *(tag("th", column, scope="col") for column in columns))
    rows = []
    for each in found:
        name, *cells = row(each)
        rows.append(tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells)))
    table = tag("table", tag("thead", heading), tag("tbody", *rows), class_="evidence")
    title = tag("h2", "Exceptions", tag("span", str(len(found))))
    yield tag("section", title, tag("p", EXPLAINED), tag("div", table, class_="wide"))


def _every_claim(verdicts: Iterable[pb.ClaimVerdict]) -> Html:
    columns = ("Control", "Component", "Claimed", "Verdict", "Why")
    heading = tag("tr", *(tag("th", column, scope="col") for column in columns))
    rows = [_claim_row(verdict) for verdict in verdicts]
    table = tag("table", tag("thead", heading), tag("tbody", *rows), class_="claims")
    return tag("section", tag("h2", "Every claim"), tag("div", table, class_="wide"))


def _claim_row(verdict: pb.ClaimVerdict) -> Html:
    known = load_controls().get(verdict.control_id)
    style = group_of(verdict).value
    part = tag("small", verdict.statement_id) if verdict.statement_id else Html()
    return tag(
        "tr",
        tag(
            "th",
            control_label(verdict.control_id),
            part,
            scope="row",
            title=known.title if known else "",
        ),
        tag("td", verdict.component_title),
        tag("td", state_word(verdict)),
        tag("td", tag("span", verdict_word(verdict.verdict), class_=f"badge {style}")),
        tag("td", join(verdict.reason)),
        **marks(verdict),
    )
