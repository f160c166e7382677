"""One OSCAL observation for each verdict: what was weighed, on which resources, with which values.

Of one check as many outcomes are written as ``listed`` says; its counts are always whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.oscal_parts import (
    Part,
    claim_title,
    identifier,
    is_identifier,
    markup,
    moment,
    prop,
    token,
    without_empty,
)
from services.inventory.compliance.oscal_subjects import ORIGINS, Subjects
from services.inventory.compliance.reason import exception_words, outcome_word
from services.inventory.compliance.report import verdict_word
from services.inventory.compliance.report_exceptions import outcome_told

STATEMENT_ISSUE = "ssp-statement-issue"
"""The plan's statement differs from what was found (OSCAL observation type)."""
OBJECTIVE = "control-objective"
_DIFFERING = frozenset(
    {
        pb.VERDICT_CLAIM_INVALID,
        pb.VERDICT_CONTRADICTED,
        pb.VERDICT_OVERDUE,
        pb.VERDICT_WEAKENED,
        pb.VERDICT_UNDERSTATED,
    }
)
_OUTCOMES = {
    check_pb2.EVIDENCE_OUTCOME_PASS: "passes",
    check_pb2.EVIDENCE_OUTCOME_FAIL: "fails",
    check_pb2.EVIDENCE_OUTCOME_UNREAD: "was not read",
    check_pb2.EVIDENCE_OUTCOME_STALE: "is too old",
    check_pb2.EVIDENCE_OUTCOME_EXCEPTED: "fails and is excepted",
}


@dataclass(frozen=True)
class Observer:
    """Writes the observations of one assessment."""

    assessment: pb.Assessment
    subjects: Subjects
    listed: int

    @property
    def weighed(self) -> datetime:
        return self.assessment.evaluate_time.ToDatetime(UTC)

    def observation(self, verdict: pb.ClaimVerdict) -> Part:
        """Write what was observed for one verdict."""
        remarks = [f"Below the baseline: {markup(note)}" for note in verdict.below_baseline]
        if verdict.missing_actions:
            actions = ", ".join(markup(action) for action in verdict.missing_actions)
            remarks.append(f"Grant these actions to the collecting role: {actions}")
        return without_empty(
            {
                "uuid": observation_id(verdict),
                "title": claim_title(verdict),
                "description": markup(verdict.reason),
                "props": verdict_props(verdict),
                "methods": ["TEST" if verdict.check_results else "EXAMINE"],
                "types": _types(verdict),
                "origins": ORIGINS,
                "subjects": self._subjects(verdict),
                "relevant-evidence": [*self._evidence(verdict)],
                "collected": moment(self.weighed),
                "expires": self._expires(),
                "remarks": "\n\n".join(remarks),
            }
        )

    def _expires(self) -> str:
        if not self.assessment.HasField("max_age"):
            return ""
        return moment(self.weighed + self.assessment.max_age.ToTimedelta())

    def _subjects(self, verdict: pb.ClaimVerdict) -> list[Part]:
        found = {
            reference["subject-uuid"]: reference
            for result in verdict.check_results
            for evidence in result.evidence[: self.listed]
            for reference in [self.subjects.reference(evidence, result.collection)]
        }
        return list(found.values())

    def _evidence(self, verdict: pb.ClaimVerdict) -> Iterator[Part]:
        for result in verdict.check_results:
            yield _of_check(result)
            for evidence in result.evidence[: self.listed]:
                yield _of_resource(result, evidence)


def observation_id(verdict: pb.ClaimVerdict) -> str:
    """Give the UUID of a verdict's observation."""
    return identifier("observation", verdict.name)


def verdict_props(verdict: pb.ClaimVerdict) -> list[Part]:
    """Give a verdict in our own words."""
    props = [
        prop("verdict", verdict_word(verdict.verdict)),
        prop("control-id", verdict.control_id),
    ]
    if verdict.claim:
        props.append(prop("claim", verdict.claim))
    if verdict.HasField("since"):
        props.append(prop("since", moment(verdict.since.ToDatetime(UTC))))
    if verdict.previous_verdict:
        props.append(prop("previous-verdict", verdict_word(verdict.previous_verdict)))
    uuid = verdict.implementation_statement_uuid
    if uuid and not is_identifier(uuid):
        props.append(prop("implementation-statement", uuid))
    return props + [prop("missing-action", action) for action in verdict.missing_actions]


def _types(verdict: pb.ClaimVerdict) -> list[str]:
    differing = [STATEMENT_ISSUE] if verdict.verdict in _DIFFERING else []
    return [*differing, OBJECTIVE] if verdict.check_results or not differing else differing


def _of_check(result: pb.CheckResult) -> Part:
    counts = {
        "passed": result.passed,
        "failed": result.failed,
        "not-applicable": result.not_applicable,
        "unread": result.unread,
        "stale": result.stale,
        "excepted": result.excepted,
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no resource"
    grade = check_pb2.EvidenceGrade.Name(result.grade).removeprefix("EVIDENCE_GRADE_").lower()
    props = [
        prop("check", result.check_id),
        prop("grade", grade),
        prop("complete", "yes" if result.complete else "no"),
        *(prop(word, count) for word, count in counts.items()),
        *(
            prop("threshold", value, **{"class": token(name)})
            for name, value in sorted(result.thresholds.items())
        ),
    ]
    props += [prop("exception", exception_words(each)) for each in result.exceptions]
    if result.failing_filter:
        props.append(prop("failing-filter", result.failing_filter))
    gaps = "\n".join(_gap(result, gap) for gap in result.gaps)
    return without_empty(
        {
            "description": markup(f"{result.check_id}: {told}"),
            "props": props,
            "remarks": gaps,
        }
    )


def _gap(result: pb.CheckResult, gap: pb.ManifestGap) -> str:
    place = "/".join(part for part in (gap.cloud_account_id, gap.region) if part)
    ending = gap.code or outcome_word(gap.outcome)
    return f"- Not read: {markup(gap.operation or result.collection)} in {markup(place)}: " + (
        markup(ending)
    )


def _of_resource(result: pb.CheckResult, evidence: pb.Evidence) -> Part:
    word = _OUTCOMES.get(evidence.outcome, "was weighed")
    values = sorted(evidence.values.items())
    facts = ", ".join(f"{name} = {value}" for name, value in values)
    told = f"{evidence.subject} {outcome_told(result, evidence, word)}" + (
        f": {facts}" if facts else ""
    )
    props = [prop("check", result.check_id), prop("subject", evidence.subject)]
    if evidence.HasField("since"):
        props.append(prop("since", moment(evidence.since.ToDatetime(UTC))))
    props += [prop("value", value, **{"class": token(name)}) for name, value in values]
    actions = sorted({gap.action for gap in evidence.unread if gap.action})
    props += [prop("missing-action", action) for action in actions]
    return {"description": markup(told), "props": props}
