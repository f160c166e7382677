"""Which verdicts of an assessment turned against their claims: pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from mesh.identifiers import new_uuid
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.contradiction_pb2 import Contradiction

AGAINST = frozenset({pb.VERDICT_CONTRADICTED, pb.VERDICT_OVERDUE, pb.VERDICT_WEAKENED})
"""Verdicts by which evidence speaks against a claim."""
Verdicts = Mapping[str, pb.Verdict.ValueType]
"""Verdicts by the last id of their names, which is the claim's."""
NONE: Verdicts = MappingProxyType({})


def turned(
    assessment: pb.Assessment, found: Iterable[pb.ClaimVerdict], earlier: Verdicts
) -> list[Contradiction]:
    """Give what is new against the assessment before, or worse than it was; without sequences."""
    return [
        _contradiction(assessment, verdict, old)
        for verdict in found
        if verdict.claim and verdict.verdict in AGAINST
        # The smaller number is the worse.
        if (old := earlier.get(last_id(verdict.name), pb.VERDICT_UNSPECIFIED)) not in AGAINST
        or verdict.verdict < old
    ]


def last_id(name: str) -> str:
    """Give the last id of a resource name."""
    return name.rpartition("/")[2]


def _contradiction(
    assessment: pb.Assessment, verdict: pb.ClaimVerdict, old: pb.Verdict.ValueType
) -> Contradiction:
    tenant = assessment.name.split("/")[1]
    failed = [result for result in verdict.check_results if result.failed]
    made = Contradiction(
        name=f"tenants/{tenant}/contradictions/{new_uuid()}",
        ssp=assessment.ssp,
        assessment=assessment.name,
        claim_verdict=verdict.name,
        claim=verdict.claim,
        control_id=verdict.control_id,
        statement_id=verdict.statement_id,
        component_title=verdict.component_title,
        verdict=verdict.verdict,
        previous_verdict=old,
        reason=verdict.reason,
        severity=max((result.severity for result in failed), default=0),  # type: ignore[arg-type]  # a number of the enum
        check_ids=[result.check_id for result in failed],
        cloud_account_ids=assessment.cloud_account_ids,
    )
    made.evaluate_time.CopyFrom(assessment.evaluate_time)
    return made
