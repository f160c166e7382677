"""Assessment results of OSCAL: `compliance_frameworks`, `compliance_assessments` and, of each
control, its latest judgement in `security_compliance`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from services.security.importing.model import Assessment, ControlFinding, Observation
from services.security.importing.rows import Row, present, time

MOST_FINDINGS = 5000
"""As many as the contract keeps of one assessment; beyond, they are only counted."""
# Objectives and statements of a control: ac-6.1_obj, ac-2_smt.a (OSCAL catalogs of NIST).
_PART = re.compile(r"_.*$")
# NIST SP 800-53 Rev. 5, table 1: the families; a control is family-number(.enhancement).
_FAMILIES = "ac|at|au|ca|cm|cp|ia|ir|ma|mp|pe|pl|pm|ps|pt|ra|sa|sc|si|sr"
_NIST = re.compile(rf"^(?:{_FAMILIES})-\d{{1,2}}(?:\.\d{{1,2}})?$")
_UNKNOWN = "unknown"
_METHODS = frozenset({"EXAMINE", "INTERVIEW", "TEST"})


@dataclass(slots=True)
class Judged:
    """What the findings of one result say of one control."""

    met: list[ControlFinding] = field(default_factory=list)
    missed: list[ControlFinding] = field(default_factory=list)

    @property
    def status(self) -> str:
        if not self.missed:
            return "COMPLIANT"
        return "PARTIAL" if self.met else "NON_COMPLIANT"

    @property
    def findings(self) -> Sequence[ControlFinding]:
        """What is missing stands before what is met."""
        return [*self.missed, *self.met]


@dataclass(slots=True)
class Judgements:
    """Gathers the findings of one result, until the result itself is whole."""

    _kept: list[ControlFinding] = field(default_factory=list)

    def add(self, finding: ControlFinding) -> None:
        """Remember a finding, up to what an assessment can hold."""
        if len(self._kept) < MOST_FINDINGS:
            self._kept.append(finding)

    def rows(self, result: Assessment) -> Iterator[Row]:
        """What a result becomes; its findings are forgotten then."""
        findings, self._kept = self._kept, []
        controls: dict[str, Judged] = {}
        for each in findings:
            judged = controls.setdefault(control_id(each.target), Judged())
            (judged.met if each.satisfied else judged.missed).append(each)
        framework = _framework(result, controls)
        yield framework
        made = _assessment(result, findings, controls, framework)
        yield made
        seen = {each.uuid: each for each in result.observations}
        for control, judged in controls.items():
            yield _judgement(control, judged, result, seen, (framework, made))


def control_id(target: str) -> str:
    """The control that an objective or a statement is a part of."""
    return _PART.sub("", target) or target


def _framework(result: Assessment, controls: dict[str, Judged]) -> Row:
    """The catalog that the controls are of, which results name by way of other documents only.

    By their ids they are of NIST SP 800-53, or else of what the assessment plan says.
    """
    ids = {*controls, *result.control_ids}
    if ids and all(_NIST.match(each) for each in ids):
        values: dict[str, object] = {
            "code": "NIST-800-53",
            "name": "NIST SP 800-53 Rev. 5",
            "version": "5",
            "publisher": "NIST",
        }
    else:
        said = result.plan or result.document or _UNKNOWN
        values = {"code": said[:128], "name": said[:256], "version": _UNKNOWN}
    values |= {"category": "SECURITY", "status": "ACTIVE"}
    return Row("compliance_frameworks", f"{values['code']}/{values['version']}", values)


def _assessment(
    result: Assessment,
    findings: Sequence[ControlFinding],
    controls: dict[str, Judged],
    framework: Row,
) -> Row:
    met = sum(not each.missed for each in controls.values())
    tested = {method for each in result.observations for method in each.methods}
    values = {
        "title": result.title or result.document or result.uuid,
        # Where all was tried out, programs did it; documents are read and people asked by people.
        "assessment_type": "AUTOMATED" if tested == {"TEST"} else "SELF",
        "status": "COMPLETED" if result.end_time else "IN_PROGRESS",
        "scope": present(
            {
                "control_ids": list(result.control_ids),
                "excluded_control_ids": list(result.excluded_control_ids),
                "description": result.description,
            }
        ),
        "score": 100 * met / len(controls) if controls else None,
        "controls_total": len(controls),
        "controls_satisfied": met,
        "controls_not_satisfied": len(controls) - met,
        "findings": [_finding(each) for each in findings],
        "observations": [_observation(each) for each in result.observations],
        "start_time": time(result.start_time),
        "end_time": time(result.end_time),
    }
    refers = {"framework_id": ("compliance_frameworks", framework.key)}
    return Row(
        "compliance_assessments", result.uuid, present(values), refers, record_id=result.uuid
    )


def _finding(finding: ControlFinding) -> dict[str, object]:
    return present(
        {
            "uuid": finding.uuid,
            "target_id": finding.target,
            "state": "SATISFIED" if finding.satisfied else "NOT_SATISFIED",
            "title": finding.title,
            "description": finding.description,
            "observation_uuids": list(finding.observations),
        }
    )


def _observation(observation: Observation) -> dict[str, object]:
    return present(
        {
            "uuid": observation.uuid,
            "methods": list(observation.methods),
            "description": observation.description,
            "subjects": list(observation.subjects),
            "collected_time": time(observation.collected_time),
        }
    )


def _judgement(
    control: str,
    judged: Judged,
    result: Assessment,
    seen: dict[str, Observation],
    above: tuple[Row, Row],
) -> Row:
    framework, assessment = above
    findings = judged.findings
    uuids = dict.fromkeys(uuid for each in findings for uuid in each.observations)
    values = {
        "requirement_id": control,
        "title": findings[0].title,
        "status": judged.status,
        "score": 100 * len(judged.met) / len(findings),
        "scope_ref": result.plan,
        "gap": "\n\n".join(each.description or each.title for each in judged.missed),
        "evidence": [_evidence(uuid, seen.get(uuid), findings[0].title) for uuid in uuids],
        "assess_time": time(result.end_time or result.start_time),
    }
    refers = {
        "framework_id": (framework.collection, framework.key),
        "assessment_id": (assessment.collection, assessment.key),
    }
    return Row("security_compliance", f"{framework.key}/{control}", present(values), refers)


def _evidence(uuid: str, observation: Observation | None, title: str) -> dict[str, object]:
    if observation is None:
        return {"observation_uuid": uuid, "description": title}
    method = next((each for each in observation.methods if each in _METHODS), None)
    return present(
        {
            "observation_uuid": uuid,
            "method": method,
            "description": observation.description or title,
            "collect_time": time(observation.collected_time),
        }
    )
