"""The posture that reports draw: verdicts in groups, by family, and how much was tested."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.deadlines import is_deviation


class Group(StrEnum):
    """What a reader does about a verdict."""

    FAILING = "failing"
    OPEN = "open"
    EXCEPTED = "excepted"
    AGREEING = "agreeing"
    UNTESTED = "untested"


GROUP_WORDS: Mapping[Group, str] = {
    Group.FAILING: "Evidence fails",
    Group.OPEN: "Open",
    Group.EXCEPTED: "Failures excepted",
    Group.AGREEING: "Evidence agrees",
    Group.UNTESTED: "Not weighed",
}
_ORDER = list(Group)
GROUPS: Mapping[pb.Verdict.ValueType, Group] = {
    pb.VERDICT_CLAIM_INVALID: Group.OPEN,
    pb.VERDICT_CONTRADICTED: Group.FAILING,
    pb.VERDICT_OVERDUE: Group.FAILING,
    pb.VERDICT_WEAKENED: Group.FAILING,
    pb.VERDICT_GAP_CONFIRMED: Group.FAILING,
    pb.VERDICT_INDETERMINATE: Group.OPEN,
    pb.VERDICT_NOT_CLAIMED_FAILING: Group.FAILING,
    pb.VERDICT_NO_EVIDENCE: Group.UNTESTED,
    pb.VERDICT_MANUAL_REVIEW: Group.OPEN,
    pb.VERDICT_PARTLY_SUPPORTED: Group.AGREEING,
    pb.VERDICT_VACUOUS: Group.AGREEING,
    pb.VERDICT_UNDERSTATED: Group.AGREEING,
    pb.VERDICT_NOT_CLAIMED: Group.UNTESTED,
    pb.VERDICT_INHERITED: Group.UNTESTED,
    pb.VERDICT_SUPPORTED: Group.AGREEING,
}
"""Of verdicts that rest on no exception."""
FAMILIES = {
    "ac": "Access Control",
    "at": "Awareness and Training",
    "au": "Audit and Accountability",
    "ca": "Assessment, Authorization, and Monitoring",
    "cm": "Configuration Management",
    "cp": "Contingency Planning",
    "ia": "Identification and Authentication",
    "ir": "Incident Response",
    "ma": "Maintenance",
    "mp": "Media Protection",
    "pe": "Physical and Environmental Protection",
    "pl": "Planning",
    "pm": "Program Management",
    "ps": "Personnel Security",
    "pt": "PII Processing and Transparency",
    "ra": "Risk Assessment",
    "sa": "System and Services Acquisition",
    "sc": "System and Communications Protection",
    "si": "System and Information Integrity",
    "sr": "Supply Chain Risk Management",
}
"""Families of NIST SP 800-53 rev 5."""


@dataclass(frozen=True)
class Posture:
    """What the verdicts of an assessment come to, control by control."""

    controls: int
    groups: Counter[Group]
    excepted: Counter[pb.Verdict.ValueType]
    """Controls whose worst claim rests on an exception, by their verdict."""
    families: Mapping[str, Counter[Group]]
    """By the two letters of a family, those of SP 800-53 in its order, then others."""
    tested_whole: int
    """Controls whose checks were all answered whole."""
    tested_in_part: int
    """Controls with a check that was not answered whole."""

    @property
    def without_check(self) -> int:
        return self.controls - self.tested_whole - self.tested_in_part


def group_of(verdict: pb.ClaimVerdict) -> Group:
    """Give the group of a verdict: a failure that is accepted neither fails nor agrees."""
    # Results are not at hand everywhere, and verdicts of before say it in their results alone.
    if verdict.rests_on_exception or is_deviation(verdict):
        return Group.EXCEPTED
    return GROUPS.get(verdict.verdict, Group.OPEN)


def rank(verdict: pb.ClaimVerdict) -> tuple[pb.Verdict.ValueType, int]:
    """Give the place of a verdict among others, the smaller the worse."""
    return verdict.verdict, _ORDER.index(group_of(verdict))


def posture(verdicts: Iterable[pb.ClaimVerdict]) -> Posture:
    """Count the controls; each counts once, by the worst verdict of its claims."""
    by_control: dict[str, list[pb.ClaimVerdict]] = {}
    for verdict in verdicts:
        by_control.setdefault(verdict.control_id, []).append(verdict)
    groups: Counter[Group] = Counter()
    excepted: Counter[pb.Verdict.ValueType] = Counter()
    families: dict[str, Counter[Group]] = {family: Counter() for family in FAMILIES}
    whole = part = 0
    for control, own in by_control.items():
        worst = min(own, key=rank)
        group = group_of(worst)
        groups[group] += 1
        excepted[worst.verdict] += group == Group.EXCEPTED
        families.setdefault(control.partition("-")[0], Counter())[group] += 1
        results = [result for each in own for result in each.check_results]
        if results and all(result.complete for result in results):
            whole += 1
        elif results:
            part += 1
    shown = {family: counts for family, counts in families.items() if counts}
    return Posture(len(by_control), groups, excepted, shown, whole, part)
