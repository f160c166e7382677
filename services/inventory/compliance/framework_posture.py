"""The verdicts of an assessment, rolled up to the controls of a framework: each takes its worst."""

from collections import Counter
from collections.abc import Iterable, Mapping

from secmesh.inventory.v1 import assessment_pb2, framework_pb2
from services.inventory.compliance.frameworks import BoundFramework


def framework_posture(
    assessment: str,
    framework: BoundFramework,
    verdicts: Iterable[assessment_pb2.ClaimVerdict],
) -> framework_pb2.FrameworkPosture:
    """Roll up; a control whose related controls were not judged has no verdict."""
    judged = _by_control(verdicts)
    postures = [_posture(control, judged) for control in framework.controls]
    counts = Counter(each.verdict for each in postures if each.verdict)
    return framework_pb2.FrameworkPosture(
        assessment=assessment,
        framework=framework.message,
        control_counts=[
            assessment_pb2.VerdictCount(verdict=verdict, count=counts[verdict])
            for verdict in sorted(counts)
        ],
        without_verdict=sum(not each.verdict for each in postures),
        control_postures=postures,
    )


def _by_control(
    verdicts: Iterable[assessment_pb2.ClaimVerdict],
) -> Mapping[str, assessment_pb2.Verdict.ValueType]:
    found: dict[str, assessment_pb2.Verdict.ValueType] = {}
    for each in verdicts:
        # The smaller number is the worse.
        found[each.control_id] = min(each.verdict, found.get(each.control_id, each.verdict))
    return found


def _posture(
    control: framework_pb2.FrameworkControl, judged: Mapping[str, assessment_pb2.Verdict.ValueType]
) -> framework_pb2.FrameworkControlPosture:
    own = {each: judged[each] for each in control.related_control_ids if each in judged}
    worst = min(own.values(), default=assessment_pb2.VERDICT_UNSPECIFIED)
    return framework_pb2.FrameworkControlPosture(
        control_id=control.control_id,
        title=control.title,
        verdict=worst,
        deciding_control_ids=[each for each, verdict in own.items() if verdict == worst],
        judged=len(own),
        related=len(control.related_control_ids),
    )
