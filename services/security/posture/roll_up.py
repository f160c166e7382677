"""What all judgements of a framework's controls come to; the rule, without the records."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secmesh.security.v1 import posture_service_pb2 as pb
from secmesh.security.v1.security_compliance_pb2 import ComplianceStatus

COMPLIANT = ComplianceStatus.COMPLIANCE_STATUS_COMPLIANT
NON_COMPLIANT = ComplianceStatus.COMPLIANCE_STATUS_NON_COMPLIANT
PARTIAL = ComplianceStatus.COMPLIANCE_STATUS_PARTIAL
NOT_APPLICABLE = ComplianceStatus.COMPLIANCE_STATUS_NOT_APPLICABLE
NOT_ASSESSED = ComplianceStatus.COMPLIANCE_STATUS_NOT_ASSESSED
EXCEPTION = ComplianceStatus.COMPLIANCE_STATUS_EXCEPTION
MAX_UNKNOWN = 1000
_FAILING = (NON_COMPLIANT, PARTIAL)
_STATEMENT = "_smt"
"""What OSCAL writes after a control's id in the id of its statement."""


@dataclass(frozen=True)
class Judgement:
    """So many judgements of one requirement that say the same."""

    requirement: str
    status: int
    """A value of ComplianceStatus."""
    count: int = 1
    severity: int = 0
    """Of misconfigurations, the value of the worst one's Severity; 0 for all else."""


@dataclass
class _Control:
    control: Any
    judged: list[Judgement] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Give one status: what is met here and not there is met in part."""
        found = {each.status for each in self.judged}
        if EXCEPTION in found:
            return EXCEPTION
        if PARTIAL in found or {COMPLIANT, NON_COMPLIANT} <= found:
            return PARTIAL
        return next(
            (each for each in (NON_COMPLIANT, COMPLIANT, NOT_APPLICABLE) if each in found),
            NOT_ASSESSED,
        )


class RollUp:
    """The controls of one framework with what is said about each."""

    def __init__(self, controls: Iterable[Any], judgements: Iterable[Judgement]) -> None:
        """Take the framework's controls and all judgements of requirements by their ids."""
        self._controls = [_Control(control) for control in controls]
        known = _by_id(self._controls)
        unknown = set()
        for judgement in judgements:
            control = known.get(_plain(judgement.requirement))
            if control is None:
                unknown.add(judgement.requirement)
            else:
                control.judged.append(judgement)
        self.unknown = sorted(unknown)[:MAX_UNKNOWN]

    @property
    def counts(self) -> pb.ControlCounts:
        """All controls by their status."""
        return _counts(self._controls)

    @property
    def families(self) -> list[pb.ControlFamily]:
        """Controls by their group, in the framework's order."""
        groups: dict[str, list[_Control]] = {}
        for each in self._controls:
            groups.setdefault(each.control.group, []).append(each)
        return [
            pb.ControlFamily(family=name, counts=_counts(controls))
            for name, controls in groups.items()
        ]

    @property
    def failing(self) -> list[pb.FailingControl]:
        """Controls that are not met or not all of them, in the framework's order."""
        return [_failing(each) for each in self._controls if each.status in _FAILING]

    @property
    def statuses(self) -> list[tuple[Any, int]]:
        """Each control with its status."""
        return [(each.control, each.status) for each in self._controls]


def _by_id(controls: Sequence[_Control]) -> Mapping[str, _Control]:
    """Give controls by their ids, and by what people write for them where that is no id."""
    labels = {each.control.label.casefold(): each for each in controls if each.control.label}
    return {**labels, **{each.control.control_id.casefold(): each for each in controls}}


def _plain(requirement: str) -> str:
    return requirement.partition(_STATEMENT)[0].casefold()


def _counts(controls: Iterable[_Control]) -> pb.ControlCounts:
    found = Counter(each.status for each in controls)
    counts = pb.ControlCounts(
        total=found.total(),
        compliant=found[COMPLIANT],
        partial=found[PARTIAL],
        non_compliant=found[NON_COMPLIANT],
        exception=found[EXCEPTION],
        not_applicable=found[NOT_APPLICABLE],
        not_assessed=found[NOT_ASSESSED],
    )
    if applicable := counts.total - counts.not_applicable:
        counts.score = 100 * counts.compliant / applicable
    return counts


def _failing(control: _Control) -> pb.FailingControl:
    wrong = [each for each in control.judged if each.status == NON_COMPLIANT]
    answer = pb.FailingControl(
        control_id=control.control.control_id,
        title=control.control.title,
        family=control.control.group,
        failed_verdicts=sum(each.count for each in wrong if not each.severity),
        misconfigurations=sum(each.count for each in wrong if each.severity),
    )
    answer.status = control.status  # type: ignore[assignment]  # a number of that enum
    answer.worst_severity = max((each.severity for each in wrong), default=0)  # type: ignore[assignment]  # a number of that enum
    return answer
