"""Findings and risks: the verdicts that decide something, and the weaknesses among them.

OSCAL knows two states, satisfied and not-satisfied; what leaves a claim open stays an observation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, ssp_pb2
from services.inventory.compliance.deadlines import Deadlines, is_deviation, severity
from services.inventory.compliance.oscal_observations import observation_id, verdict_props
from services.inventory.compliance.oscal_parts import (
    NAMESPACE,
    Part,
    claim_title,
    identifier,
    is_identifier,
    markup,
    moment,
    prop,
    statement_target,
    without_empty,
)
from services.inventory.compliance.oscal_subjects import ORIGINS
from services.inventory.compliance.reason import exception_words
from services.inventory.compliance.report_exceptions import used

_STATES = {
    pb.VERDICT_CONTRADICTED: ("not-satisfied", "fail"),
    pb.VERDICT_OVERDUE: ("not-satisfied", "fail"),
    pb.VERDICT_WEAKENED: ("not-satisfied", "other"),
    pb.VERDICT_GAP_CONFIRMED: ("not-satisfied", "fail"),
    pb.VERDICT_NOT_CLAIMED_FAILING: ("not-satisfied", "fail"),
    pb.VERDICT_UNDERSTATED: ("satisfied", "pass"),
    pb.VERDICT_SUPPORTED: ("satisfied", "pass"),
}
_RISKS = {
    pb.VERDICT_CONTRADICTED: "open",
    pb.VERDICT_OVERDUE: "open",
    pb.VERDICT_WEAKENED: "investigating",
    pb.VERDICT_GAP_CONFIRMED: "remediating",
    pb.VERDICT_NOT_CLAIMED_FAILING: "open",
}
_DEVIATION = "deviation-approved"
"""Status of such a risk (OSCAL risk status)."""
_IMPLEMENTATION = {
    ssp_pb2.CLAIM_STATE_IMPLEMENTED: "implemented",
    ssp_pb2.CLAIM_STATE_PARTIAL: "partial",
    ssp_pb2.CLAIM_STATE_PLANNED: "planned",
    ssp_pb2.CLAIM_STATE_ALTERNATIVE: "alternative",
    ssp_pb2.CLAIM_STATE_NOT_APPLICABLE: "not-applicable",
}


def decided(verdicts: Iterable[pb.ClaimVerdict]) -> list[pb.ClaimVerdict]:
    """Give the verdicts that are findings."""
    return [each for each in verdicts if each.verdict in _STATES or is_deviation(each)]


def weaknesses(verdicts: Iterable[pb.ClaimVerdict]) -> list[pb.ClaimVerdict]:
    """Give the verdicts that someone must mend, now or when an exception ends."""
    return [each for each in verdicts if _risk_status(each)]


def _risk_status(verdict: pb.ClaimVerdict) -> str:
    return _DEVIATION if is_deviation(verdict) else _RISKS.get(verdict.verdict, "")


def finding_id(verdict: pb.ClaimVerdict) -> str:
    """Give the UUID of a verdict's finding."""
    return identifier("finding", verdict.name)


def related_observations(verdict: pb.ClaimVerdict) -> list[Part]:
    """Refer to the observation of a verdict."""
    return [{"observation-uuid": observation_id(verdict)}]


def severity_word(verdict: pb.ClaimVerdict) -> str:
    """Give the severity of a weakness as a word."""
    return check_pb2.Severity.Name(severity(verdict)).removeprefix("SEVERITY_").lower()


@dataclass(frozen=True)
class FindingWriter:
    """Writes the findings and risks of one assessment."""

    assessment: pb.Assessment
    deadlines: Deadlines

    def lasting_id(self, kind: str, verdict: pb.ClaimVerdict) -> str:
        """Give a UUID that the same claim of the same plan has in every assessment."""
        return identifier(kind, self.assessment.ssp, verdict.name.rpartition("/")[2])

    def related_risks(self, verdict: pb.ClaimVerdict) -> list[Part]:
        """Refer to the risk of a verdict, if it has one."""
        if not _risk_status(verdict):
            return []
        return [{"risk-uuid": self.lasting_id("risk", verdict)}]

    def finding(self, verdict: pb.ClaimVerdict) -> Part:
        """Write the finding of a verdict that decides."""
        state, reason = _STATES.get(verdict.verdict, ("not-satisfied", "other"))
        claimed = _IMPLEMENTATION.get(verdict.state) if verdict.claim else None
        target = without_empty(
            {
                "type": "statement-id",
                "target-id": statement_target(verdict),
                "status": {"state": state, "reason": reason},
                "implementation-status": {"state": claimed} if claimed else None,
            }
        )
        uuid = verdict.implementation_statement_uuid
        return without_empty(
            {
                "uuid": finding_id(verdict),
                "title": claim_title(verdict),
                "description": markup(verdict.reason),
                "props": verdict_props(verdict),
                "origins": ORIGINS,
                "target": target,
                "implementation-statement-uuid": uuid if is_identifier(uuid) else "",
                "related-observations": related_observations(verdict),
                "related-risks": self.related_risks(verdict),
            }
        )

    def deadline(self, verdict: pb.ClaimVerdict) -> datetime:
        """Give by when a weakness must be mended."""
        return self.deadlines.of(verdict, self.assessment.evaluate_time.ToDatetime(UTC))

    def risk(self, verdict: pb.ClaimVerdict) -> Part:
        """Write the risk of a weakness."""
        failing = [each for each in verdict.check_results if each.failed or each.excepted]
        facet = {"name": "severity", "system": NAMESPACE, "value": severity_word(verdict)}
        return without_empty(
            {
                "uuid": self.lasting_id("risk", verdict),
                "title": claim_title(verdict),
                "description": markup(verdict.reason),
                "statement": _statement(failing),
                "props": verdict_props(verdict),
                "status": _risk_status(verdict),
                "origins": ORIGINS,
                "characterizations": [{"origin": ORIGINS[0], "facets": [facet]}],
                "mitigating-factors": self._accepted(verdict),
                "deadline": moment(self.deadline(verdict)),
                "remediations": [self._remediation(verdict, result) for result in failing],
                "related-observations": related_observations(verdict),
            }
        )

    def _accepted(self, verdict: pb.ClaimVerdict) -> list[Part]:
        """Tell why a deviation was approved, and until when."""
        if not is_deviation(verdict):
            return []
        return [
            {
                "uuid": self.lasting_id(f"exception {each.check_exception}", verdict),
                "description": markup(f"Excepted by {exception_words(each)}: {each.reason}"),
                "props": [
                    prop("exception", each.check_exception),
                    *([prop("reference", each.reference)] if each.reference else []),
                ],
            }
            for each in used([verdict])
        ]

    def _remediation(self, verdict: pb.ClaimVerdict, result: pb.CheckResult) -> Part:
        return {
            "uuid": self.lasting_id(f"remediation {result.check_id}", verdict),
            "lifecycle": "recommendation",
            "title": markup(f"Mend what fails {result.check_id}"),
            "description": markup(result.remediation),
            "props": [prop("check", result.check_id)],
            "origins": ORIGINS,
        }


def _statement(failing: list[pb.CheckResult]) -> str:
    found = "; ".join(
        f"{result.failed + result.excepted} fail {result.check_id}"
        + (f", {result.excepted} of them excepted" if result.excepted else "")
        for result in failing
    )
    what = f"What was collected departs from the control: {found}." if found else ""
    return markup(what or "What was collected shows something to which the control applies.")
