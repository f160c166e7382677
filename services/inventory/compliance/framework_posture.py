"""The verdicts of an assessment, rolled up to the controls of a framework: each takes its worst."""

from collections import Counter
from collections.abc import Iterable, Mapping

from secmesh.inventory.v1 import assessment_pb2, framework_pb2
from services.inventory.compliance.frameworks import BoundFramework
from services.inventory.compliance.report_posture import Group, group_of, rank


def framework_posture(
    assessment: str,
    framework: BoundFramework,
    verdicts: Iterable[assessment_pb2.ClaimVerdict],
) -> framework_pb2.FrameworkPosture:
    """Roll up; a control whose related controls were not judged has no verdict."""
    judged = _by_control(verdicts)
    postures = [_posture(control, judged) for control in framework.controls]
    return framework_pb2.FrameworkPosture(
        assessment=assessment,
        framework=framework.message,
        control_counts=_counts(each for each in postures if each.verdict),
        excepted_control_counts=_counts(each for each in postures if each.rests_on_exception),
        without_verdict=sum(not each.verdict for each in postures),
        control_postures=postures,
    )


def _counts(
    postures: Iterable[framework_pb2.FrameworkControlPosture],
) -> list[assessment_pb2.VerdictCount]:
    counted = sorted(Counter(each.verdict for each in postures).items())
    return [assessment_pb2.VerdictCount(verdict=verdict, count=count) for verdict, count in counted]


def _by_control(
    verdicts: Iterable[assessment_pb2.ClaimVerdict],
) -> Mapping[str, assessment_pb2.ClaimVerdict]:
    found: dict[str, assessment_pb2.ClaimVerdict] = {}
    for each in verdicts:
        found[each.control_id] = min(each, found.get(each.control_id, each), key=rank)
    return found


def _posture(
    control: framework_pb2.FrameworkControl, judged: Mapping[str, assessment_pb2.ClaimVerdict]
) -> framework_pb2.FrameworkControlPosture:
    own = {each: judged[each] for each in control.related_control_ids if each in judged}
    made = framework_pb2.FrameworkControlPosture(
        control_id=control.control_id,
        title=control.title,
        judged=len(own),
        related=len(control.related_control_ids),
    )
    if own:
        worst = min(own.values(), key=rank)
        made.verdict = worst.verdict
        made.rests_on_exception = group_of(worst) == Group.EXCEPTED
        made.deciding_control_ids.extend(
            each for each, verdict in own.items() if verdict.verdict == worst.verdict
        )
    return made
