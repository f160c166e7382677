"""Requests for aggregates, checked, and their results, typed."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import NAME
from mesh.contract.storage import Storage, storage_of
from mesh.errors import FieldInvalid
from mesh.sql.aggregate import Function, Group, Measure, Question, check_measure, is_whole
from mesh.sql.buckets import Unit
from mesh.sql.document import is_askable
from mesh.sql.order import RECORD, may_sort
from mesh.sql.tables import KindTable
from mesh.sql.values import duration_parts, timestamp_parts
from secmesh.records.v1 import aggregate_pb2 as pb

_INT64 = range(-(2**63), 2**63)


def question_of(
    request: pb.AggregateRecordsRequest, target: KindTable, read_time: int | None
) -> Question:
    """Check what a request asks of a kind; FieldInvalid names the culprit."""
    keys = [
        _sortable(target, name, f"group_by[{place}]") for place, name in enumerate(request.group_by)
    ]
    bucket = None
    if request.HasField("time_bucket"):
        unit = pb.TimeBucket.Unit.Name(request.time_bucket.unit).removeprefix("UNIT_")
        field = _field(target, request.time_bucket.field, "time_bucket.field")
        if storage_of(field) is not Storage.TIMESTAMP:
            raise FieldInvalid.of("time_bucket.field", f"{field.name} is no timestamp")
        bucket = (field, Unit[unit])
    measures = []
    for place, asked in enumerate(request.aggregates):
        path = f"aggregates[{place}].field"
        word = pb.Aggregate.Function.Name(asked.function).removeprefix("FUNCTION_")
        measure = Measure(Function[word], _field(target, asked.field, path))
        check_measure(measure, path)
        measures.append(measure)
    return Question(keys, bucket, measures, request.filter, read_time)


def _sortable(target: KindTable, name: str, path: str) -> FieldDescriptor:
    field = _field(target, name, path)
    if not may_sort(field):
        raise FieldInvalid.of(path, f"{name} makes no groups")
    return field


def _field(target: KindTable, name: str, path: str) -> FieldDescriptor:
    """Find a field of the body by its bare name, or of the envelope as ``record.x``."""
    outer = {field.name for field in target.kind.envelope_fields} - {NAME}
    bare = name.removeprefix(RECORD)
    field = target.codec.fields.get(bare)
    if field is None or not is_askable(field) or (bare in outer) != name.startswith(RECORD):
        raise FieldInvalid.of(path, f"{name!r} is no field")
    return field


def answer_of(question: Question, groups: Sequence[Group]) -> pb.AggregateRecordsResponse:
    """Write groups as they travel."""
    keys = [*question.keys, *([question.bucket[0]] if question.bucket else [])]
    return pb.AggregateRecordsResponse(
        groups=[
            pb.AggregateGroup(
                keys=[_scalar(field, value) for field, value in zip(keys, group.keys, strict=True)],
                count=group.count,
                values=[
                    _result(measure, value)
                    for measure, value in zip(question.measures, group.values, strict=True)
                ],
            )
            for group in groups
        ]
    )


def _result(measure: Measure, value: Any) -> pb.Scalar:
    if measure.function is Function.COUNT:
        return pb.Scalar(int_value=value)
    if value is None or storage_of(measure.field) is Storage.DURATION:
        return _scalar(measure.field, value)
    if measure.function is Function.AVG or (is_whole(measure.field) and value not in _INT64):
        return pb.Scalar(double_value=value)
    return _scalar(measure.field, value)


def _scalar(field: FieldDescriptor, value: Any) -> pb.Scalar:
    """Write a stored value by its type."""
    storage = storage_of(field)
    if value is None:
        return pb.Scalar()
    if storage is Storage.TIMESTAMP:
        return pb.Scalar(timestamp_value=timestamp_parts(value))  # type: ignore[arg-type]  # a dict makes a message
    if storage is Storage.DURATION:
        return pb.Scalar(duration_value=duration_parts(value))  # type: ignore[arg-type]  # a dict makes a message
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return pb.Scalar(enum_value=known.name if known is not None else str(value))
    if isinstance(value, bool):
        return pb.Scalar(bool_value=value)
    if isinstance(value, str):
        return pb.Scalar(string_value=value)
    return pb.Scalar(int_value=value) if is_whole(field) else pb.Scalar(double_value=value)
