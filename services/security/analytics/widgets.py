"""Widgets as questions in the language of AggregateRecords, and their answers."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.storage import Storage, storage_of
from mesh.errors import FieldInvalid, KindUnknown
from mesh.records.aggregation import answer_of, question_of
from mesh.sql.aggregate import aggregate
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from secmesh.records.v1 import aggregate_pb2
from services.security.analytics.limits import Limits, conditions_of
from services.security.writers import current_writer

COUNT, LINE = "count", "line"
TYPES = ("number", "bar", LINE, "pie", "table")
_METRIC = re.compile(r"(count|min|max|avg|sum)\(([a-z][a-z0-9_.]{0,127})\)")


@dataclass(frozen=True)
class Asked:
    """What is computed of which records."""

    collection: str
    filter: str = ""
    group_by: Sequence[str] = ()
    metrics: Sequence[str] = (COUNT,)
    by_day: bool = False
    """Whether the last group, if it is a time, stands for a day of UTC."""


class Widgets:
    """Computes what widgets and reports ask for, for the caller of the current call."""

    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store = store
        self._kinds = catalogue.record_kinds

    def readable(self, collection: str) -> Kind:
        """Give a kind that the caller may list; KindUnknown, PermissionMissing."""
        kind = self._kinds.get(collection)
        if kind is None:
            raise KindUnknown(collection)
        # Without a call the service itself asks, for the tenant whose dashboard it is, or for
        # who let it.
        current_writer().require(kind.permission("list"))
        return kind

    async def groups(
        self, connection: AsyncConnection, tenant: str, asked: Asked, limits: Limits
    ) -> Sequence[aggregate_pb2.AggregateGroup]:
        """Give the groups, with a value for each metric.

        FieldInvalid, FilterInvalid, KindUnknown, PermissionMissing.
        """
        self.readable(asked.collection)
        target = self._store.target(asked.collection)
        request = aggregate_pb2.AggregateRecordsRequest(group_by=asked.group_by)
        if asked.by_day and asked.group_by and _is_time(target, asked.group_by[-1]):
            del request.group_by[-1]
            request.time_bucket.field = asked.group_by[-1]
            request.time_bucket.unit = aggregate_pb2.TimeBucket.UNIT_DAY
        measured = [_measure(metric, place) for place, metric in enumerate(asked.metrics)]
        request.aggregates.extend(each for each in measured if each is not None)
        question = dataclasses.replace(
            question_of(request, target, None),
            conditions=conditions_of(self._store, target, tenant, limits, asked.filter),
        )
        found = await aggregate(self._store, asked.collection, tenant, question, connection)
        groups = answer_of(question, found).groups
        for group in groups:
            values = list(group.values)
            del group.values[:]
            # The number of records is no aggregate of a field: it stands beside them.
            counted = aggregate_pb2.Scalar(int_value=group.count)
            group.values.extend(counted if each is None else values.pop(0) for each in measured)
        return groups


def _measure(metric: str, place: int) -> aggregate_pb2.Aggregate | None:
    """Read a metric such as ``avg(risk_score)``; None is the number of records."""
    if metric in ("", COUNT):
        return None
    found = _METRIC.fullmatch(metric)
    if found is None:
        problem = f"{metric!r} is neither count nor a function of a field, such as avg(score)"
        raise FieldInvalid.of(f"metrics[{place}]", problem)
    number = aggregate_pb2.Aggregate.Function.Value(f"FUNCTION_{found[1].upper()}")
    return aggregate_pb2.Aggregate(
        function=aggregate_pb2.Aggregate.Function.ValueType(number), field=found[2]
    )


def _is_time(target: KindTable, name: str) -> bool:
    field: FieldDescriptor | Any = target.codec.fields.get(name.removeprefix("record."))
    return field is not None and storage_of(field) is Storage.TIMESTAMP
