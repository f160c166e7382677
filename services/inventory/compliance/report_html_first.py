"""What the page shows first: how many claims are false, and of the worst what to act on."""

from collections.abc import Iterator, Sequence

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.html_parts import Html, join, tag
from services.inventory.compliance.recommendation import finding_id
from services.inventory.compliance.report import (
    Mend,
    Report,
    control_label,
    moment_words,
    state_word,
    visible,
)
from services.inventory.compliance.report_posture import Group, group_of

_DIRECT = check_pb2.EVIDENCE_GRADE_DIRECT
_LONGEST_WORDS = 140
_LONGEST_SUBJECT = 90
_LONGEST_VALUE = 48
_VALUES = 3
_MANY_COMMANDS = 3


def first_view(report: Report) -> Html:
    """Write the count of false claims, and of the worst one claim, observation and remedy."""
    false = contradictions(report.verdicts)
    claims = [verdict for verdict in report.verdicts if verdict.claim]
    style = Group.FAILING if false else Group.UNTESTED
    worst = [_worst(report, false[0])] if false else []
    return tag(
        "section",
        tag("p", tag("b", str(len(false))), f" of {_claims(len(claims))} {_are(false)}"),
        tag("p", _rest(claims), class_="rest"),
        *worst,
        class_=f"first {style.value}",
        id="first",
    )


def contradictions(verdicts: Sequence[pb.ClaimVerdict]) -> list[pb.ClaimVerdict]:
    """Give the claims that are false, the most severe first, of those the oldest."""
    found = [each for each in verdicts if each.verdict == pb.VERDICT_CONTRADICTED]
    return sorted(found, key=lambda each: (-severity(each), each.since.ToMicroseconds()))


def severity(verdict: pb.ClaimVerdict) -> check_pb2.Severity.ValueType:
    """Give the worst severity of what fails; unspecified if nothing does."""
    failing = [result.severity for result in verdict.check_results if result.failed]
    return max(failing, default=check_pb2.SEVERITY_UNSPECIFIED)


def mend(report: Report, result: pb.CheckResult, evidence: pb.Evidence) -> Mend:
    """Give what mends one failure; nothing if it is not known."""
    return report.mending.get(finding_id(result.check_id, evidence.subject), Mend((), ()))


def _claims(number: int) -> str:
    return "1 claim" if number == 1 else f"{number} claims"


def _are(false: Sequence[pb.ClaimVerdict]) -> str:
    return "is false" if len(false) == 1 else "are false"


def _rest(claims: Sequence[pb.ClaimVerdict]) -> str:
    groups = [group_of(claim) for claim in claims]
    excepted = groups.count(Group.EXCEPTED)
    more = groups.count(Group.FAILING) - sum(
        claim.verdict == pb.VERDICT_CONTRADICTED for claim in claims
    )
    told = [
        f"evidence agrees with {groups.count(Group.AGREEING)}",
        f"fails in part {more}" if more else "",
        f"is set aside by exceptions for {excepted}" if excepted else "",
        f"leaves {groups.count(Group.OPEN)} open",
        f"has not been weighed for {groups.count(Group.UNTESTED)}",
    ]
    return f"Of the others, {', '.join(part for part in told if part)}."


def _worst(report: Report, verdict: pb.ClaimVerdict) -> Html:
    known = load_controls().get(verdict.control_id)
    label = tag("b", control_label(verdict.control_id))
    heading = tag("h2", label, f" {known.title}" if known else "")
    facts = [("The plan says", _claim(report, verdict))]
    shown = _shown(report, verdict)
    if shown is not None:
        facts.append(("Observed", join(*_observed(*shown))))
        facts.append(("To mend", join(*_mending(report, *shown))))
    else:
        facts.append(("Observed", join(verdict.reason)))
        facts.append(("To mend", join("Correct what the plan says of it.")))
    listed = [
        tag("div", tag("dt", name), tag("dd", content), class_=name.split()[-1].lower())
        for name, content in facts
    ]
    return tag("article", heading, tag("dl", *listed))


def _claim(report: Report, verdict: pb.ClaimVerdict) -> Html:
    words = {claim.name: claim.description for claim in report.claims}.get(verdict.claim, "")
    of = (
        f" by {clipped(verdict.component_title, _LONGEST_VALUE)}" if verdict.component_title else ""
    )
    quoted = tag("q", _begin(words)) if words else Html()
    return join(tag("b", state_word(verdict)), of, ": " if words else "", quoted)


def _begin(words: str) -> str:
    seen = visible(words)
    whole = len(seen) <= _LONGEST_WORDS
    return seen if whole else f"{seen[:_LONGEST_WORDS].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _shown(report: Report, verdict: pb.ClaimVerdict) -> tuple[pb.CheckResult, pb.Evidence] | None:
    """Choose the failure to show: direct before others, the most severe, one with a command."""
    failing = [
        (result, evidence)
        for result in verdict.check_results
        for evidence in result.evidence
        if evidence.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL
    ]
    return min(
        failing,
        key=lambda each: (
            each[0].grade != _DIRECT,
            -each[0].severity,
            not mend(report, *each).commands,
        ),
        default=None,
    )


def _observed(result: pb.CheckResult, evidence: pb.Evidence) -> Iterator[Html]:
    subject = evidence.subject or result.check_id
    yield tag("div", tag("code", clipped(subject, _LONGEST_SUBJECT)))
    for name, value in sorted(evidence.values.items())[:_VALUES]:
        yield tag(
            "div",
            tag("code", name),
            " = ",
            tag("code", clipped(value, _LONGEST_VALUE)),
            class_="value",
        )
    rest = [f"{result.failed - 1} more fail {result.check_id}"] if result.failed > 1 else []
    if evidence.HasField("since"):
        rest.append(f"since {moment_words(evidence.since)}")
    if rest:
        yield tag("small", ", ".join(rest))


def _mending(report: Report, result: pb.CheckResult, evidence: pb.Evidence) -> Iterator[Html]:
    known = mend(report, result, evidence)
    lines = known.commands
    for line in lines[:_MANY_COMMANDS]:
        yield tag("code", line, class_="command")
    if len(lines) > _MANY_COMMANDS:
        yield tag("small", f"and {len(lines) - _MANY_COMMANDS} more commands, below")
    if not lines:
        yield from (tag("div", step) for step in known.steps or [result.remediation])


def clipped(content: str, longest: int) -> str:
    """Cut a text in its middle, so that both its ends can be read."""
    seen = visible(content)
    if len(seen) <= longest:
        return seen
    half = (longest - 1) // 2
    return f"{seen[:half]}\N{HORIZONTAL ELLIPSIS}{seen[-half:]}"
