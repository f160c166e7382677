"""The conditions of a gate, held against the facts of a project."""

from collections.abc import Iterable, Sequence
from typing import Any

from secmesh.security.v1.quality_gate_service_pb2 import ConditionResult
from secmesh.security.v1.sast_quality_gate_pb2 import (
    GateScope,
    QualityGateStatus,
    SastQualityGate,
)
from services.security.gates.metrics import NEW, Facts, NotMeasured, value_of

OK, ERROR = ConditionResult.STATUS_OK, ConditionResult.STATUS_ERROR
NOT_COMPUTED = ConditionResult.STATUS_NOT_COMPUTED


def judge(gate: SastQualityGate, facts: Facts) -> list[ConditionResult]:
    """Give what became of each condition, in the gate's order."""
    new = gate.scope == GateScope.GATE_SCOPE_NEW_CODE
    return [_judged(condition, facts, new=new) for condition in gate.conditions]


def _judged(condition: Any, facts: Facts, *, new: bool) -> ConditionResult:
    new = new or condition.metric.startswith(NEW)
    result = ConditionResult(
        metric_key=condition.metric,
        on_new_code=new,
        comparator=condition.op,
        error_threshold=condition.error,
    )
    try:
        value = value_of(condition.metric, facts, new=new)
    except NotMeasured as problem:
        result.status, result.reason = NOT_COMPUTED, str(problem)
        return result
    result.actual_value = value
    below = condition.op == SastQualityGate.OPERATOR_LT
    fails = value < condition.error if below else value > condition.error
    result.status = ERROR if fails else OK
    return result


def status_of(results: Sequence[ConditionResult]) -> QualityGateStatus.ValueType:
    """Give the whole from its parts: what could not be computed never passes."""
    found: Iterable[int] = {each.status for each in results}
    if ERROR in found:
        return QualityGateStatus.QUALITY_GATE_STATUS_ERROR
    if NOT_COMPUTED in found or not results:
        return QualityGateStatus.QUALITY_GATE_STATUS_NONE
    return QualityGateStatus.QUALITY_GATE_STATUS_OK
