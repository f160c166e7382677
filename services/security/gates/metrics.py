"""What metrics of a project are worth, computed from what its records add up to.

Names and formulas are SonarQube's where it has them; ratings count 1 for A to 5 for E. Nothing
here reads records: see ``measure_store``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from secmesh.security.v1.sast_rule_pb2 import SastIssueType, SonarSeverity
from secmesh.security.v1.vocabulary_pb2 import Severity

NEW = "new_"
"""Prefix of metrics of new code."""
_MINUTES_A_LINE = 30
"""What it costs to write a line (SonarQube's technical debt ratio)."""
_DEBT_LIMITS = (5.0, 10.0, 20.0, 50.0)
"""Percent up to which the debt ratio is rated A, B, C, D."""
_REVIEW_LIMITS = (80.0, 70.0, 50.0, 30.0)
"""Percent of reviewed hotspots from which on they are rated A, B, C, D."""
_WORST = 5
_TYPES = {
    "bugs": SastIssueType.SAST_ISSUE_TYPE_BUG,
    "vulnerabilities": SastIssueType.SAST_ISSUE_TYPE_VULNERABILITY,
    "code_smells": SastIssueType.SAST_ISSUE_TYPE_CODE_SMELL,
}


class NotMeasured(Exception):
    """A metric without a value; the text says why."""


@dataclass(frozen=True)
class Tally:
    """Open findings that are alike."""

    severity: int
    count: int
    new: bool = False
    type: int = 0
    """Of issues of code, the value of SastIssueType."""
    effort: int = 0
    """Minutes to mend them all."""
    exploited: bool = False


@dataclass(frozen=True)
class Found:
    """The open findings of one kind, or why they are not known."""

    tallies: Sequence[Tally] = ()
    unknown: str = ""
    new_unknown: str = ""
    """Why it is not known which of them are new."""

    def of(self, *, new: bool) -> Sequence[Tally]:
        """Give the findings, with ``new`` those of new code alone; NotMeasured."""
        if problem := self.unknown or (self.new_unknown if new else ""):
            raise NotMeasured(problem)
        return [each for each in self.tallies if each.new or not new]


@dataclass(frozen=True)
class Hotspots:
    """Places that a person must look at, and how many were."""

    reviewed: int
    to_review: int


@dataclass(frozen=True)
class Coverage:
    """What tests ran of the code."""

    lines: int
    covered_lines: int
    conditions: int
    covered_conditions: int


@dataclass(frozen=True)
class Facts:
    """What the records of a project add up to."""

    code: Found = field(default_factory=Found)
    dependencies: Found = field(default_factory=Found)
    """Of ``app_security_issues``."""
    running: Found = field(default_factory=Found)
    """Of ``dast_vulnerabilities``."""
    hotspots: Mapping[bool, Hotspots] = field(default_factory=dict)
    """By whether of new code alone."""
    coverage: Coverage | None = None
    duplicated_lines: int | None = None
    lines: int | None = None
    """Lines of code."""
    measures: Mapping[tuple[str, bool], float] = field(default_factory=dict)
    """What scans brought as measures, by metric and whether of new code."""


Compute = Callable[[Facts, bool], float]


def value_of(metric: str, facts: Facts, *, new: bool) -> float:
    """Give a metric's value, with ``new`` or ``new_`` before its name of new code; NotMeasured.

    What records cannot tell is taken from the measures that a scan brought.
    """
    key = metric.removeprefix(NEW)
    compute = METRICS.get(key, _unknown)
    try:
        return compute(facts, new)
    except NotMeasured:
        brought = facts.measures.get((key, new))
        if brought is None:
            raise
        return brought


def _unknown(_facts: Facts, _new: bool) -> float:
    raise NotMeasured("records do not tell it, and no scan brought it as a measure")


def _total(tallies: Iterable[Tally]) -> int:
    return sum(each.count for each in tallies)


def _issues(facts: Facts, new: bool, type_: int = 0, severity: int = 0) -> float:
    hotspot = SastIssueType.SAST_ISSUE_TYPE_SECURITY_HOTSPOT
    return _total(
        each
        for each in facts.code.of(new=new)
        if each.type == (type_ or each.type)
        and each.severity == (severity or each.severity)
        and each.type != hotspot
    )


def _worst(facts: Facts, new: bool, type_: int) -> float:
    """Rate by the worst issue: what only informs is A, a blocker E."""
    found = [each.severity for each in facts.code.of(new=new) if each.type == type_]
    return max([SonarSeverity.SONAR_SEVERITY_INFO, *found])


def _effort(facts: Facts, new: bool, type_: int) -> float:
    return sum(each.effort for each in facts.code.of(new=new) if each.type == type_)


def _debt_ratio(facts: Facts, new: bool) -> float:
    if new:
        raise NotMeasured("how many lines are new is not recorded")
    debt = _effort(facts, new, SastIssueType.SAST_ISSUE_TYPE_CODE_SMELL)
    return 100 * debt / (_MINUTES_A_LINE * _lines(facts, new))


def _maintainability(facts: Facts, new: bool) -> float:
    ratio = _debt_ratio(facts, new)
    return 1 + sum(ratio > limit for limit in _DEBT_LIMITS)


def _lines(facts: Facts, new: bool) -> float:
    if new:
        raise NotMeasured("how many lines are new is not recorded")
    if not facts.lines:
        raise NotMeasured("the project's lines of code are not recorded")
    return facts.lines


def _hotspots(facts: Facts, new: bool) -> Hotspots:
    # Whoever has no scan has no hotspots either, and nothing was looked at.
    facts.code.of(new=new)
    return facts.hotspots.get(new, Hotspots(0, 0))


def _to_review(facts: Facts, new: bool) -> float:
    return _hotspots(facts, new).to_review


def _reviewed(facts: Facts, new: bool) -> float:
    found = _hotspots(facts, new)
    total = found.reviewed + found.to_review
    # Of none, none is left.
    return 100 * found.reviewed / total if total else 100.0


def _review_rating(facts: Facts, new: bool) -> float:
    percent = _reviewed(facts, new)
    return _WORST - sum(percent >= limit for limit in _REVIEW_LIMITS)


def _coverage(facts: Facts, new: bool, *, lines: bool, conditions: bool) -> float:
    if new:
        raise NotMeasured("no scan brought it as a measure of new code")
    found = facts.coverage
    if found is None:
        raise NotMeasured("no coverage is recorded of the branch")
    whole = lines * found.lines + conditions * found.conditions
    if not whole:
        raise NotMeasured("there is nothing to cover")
    covered = lines * found.covered_lines + conditions * found.covered_conditions
    return 100 * covered / whole


def _duplicated(facts: Facts, new: bool) -> float:
    if new:
        raise NotMeasured("no scan brought it as a measure of new code")
    if facts.duplicated_lines is None:
        raise NotMeasured("no duplications are recorded of the branch")
    return facts.duplicated_lines


def _duplicated_density(facts: Facts, new: bool) -> float:
    return 100 * _duplicated(facts, new) / _lines(facts, new)


def _dependencies(facts: Facts, new: bool, severity: int = 0) -> float:
    return _of_severity(facts.dependencies.of(new=new), severity)


def _exploited(facts: Facts, new: bool) -> float:
    return _total(each for each in facts.dependencies.of(new=new) if each.exploited)


def _running(facts: Facts, new: bool, severity: int = 0) -> float:
    return _of_severity(facts.running.of(new=new), severity)


def _of_severity(tallies: Iterable[Tally], severity: int) -> float:
    return _total(each for each in tallies if each.severity == (severity or each.severity))


_SONAR = {
    word.removeprefix("SONAR_SEVERITY_").lower(): number
    for word, number in SonarSeverity.items()
    if number
}
_SEVERITIES = {
    word.removeprefix("SEVERITY_").lower(): number for word, number in Severity.items() if number
}
METRICS: Mapping[str, Compute] = {
    "violations": _issues,
    **{name: partial(_issues, type_=number) for name, number in _TYPES.items()},
    **{f"{word}_violations": partial(_issues, severity=n) for word, n in _SONAR.items()},
    "reliability_rating": partial(_worst, type_=_TYPES["bugs"]),
    "security_rating": partial(_worst, type_=_TYPES["vulnerabilities"]),
    "sqale_rating": _maintainability,
    "sqale_debt_ratio": _debt_ratio,
    "sqale_index": partial(_effort, type_=_TYPES["code_smells"]),
    "reliability_remediation_effort": partial(_effort, type_=_TYPES["bugs"]),
    "security_remediation_effort": partial(_effort, type_=_TYPES["vulnerabilities"]),
    "security_hotspots": _to_review,
    "security_hotspots_reviewed": _reviewed,
    "security_review_rating": _review_rating,
    "coverage": partial(_coverage, lines=True, conditions=True),
    "line_coverage": partial(_coverage, lines=True, conditions=False),
    "branch_coverage": partial(_coverage, lines=False, conditions=True),
    "duplicated_lines": _duplicated,
    "duplicated_lines_density": _duplicated_density,
    "ncloc": _lines,
    "app_security_issues": _dependencies,
    **{
        f"{word}_app_security_issues": partial(_dependencies, severity=n)
        for word, n in _SEVERITIES.items()
    },
    "known_exploited_app_security_issues": _exploited,
    "dast_vulnerabilities": _running,
    **{
        f"{word}_dast_vulnerabilities": partial(_running, severity=n)
        for word, n in _SEVERITIES.items()
    },
}
"""By name without ``new_``; the second argument asks for new code alone."""
