"""Values of widgets, kept over time in `analytics_metrics`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid
from mesh.identifiers import new_uuid
from mesh.records.ingest import ChunkWriter
from mesh.records.ingest_item import NEW, Item, identify
from mesh.records.ingest_keys import Keys
from mesh.records.moments import Clock, now
from mesh.records.writing import RecordWriter
from mesh.sql.store import Store
from secmesh.records.v1.aggregate_pb2 import Scalar
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.vocabulary_pb2 import MetricType, SourceModule, TrendPeriod
from services.security.analytics.dashboards import Dashboards, Shown, error_of
from services.security.findings.due import set_moment

METRICS = "analytics_metrics"
_BLOCK = 100
"""Numbers that each module has among the bodies of records."""
_MODULES: Mapping[int, SourceModule.ValueType] = {
    2: SourceModule.SOURCE_MODULE_SAST,
    3: SourceModule.SOURCE_MODULE_DAST,
    4: SourceModule.SOURCE_MODULE_RASP,
    5: SourceModule.SOURCE_MODULE_CLOUD,
    6: SourceModule.SOURCE_MODULE_NETWORK,
    7: SourceModule.SOURCE_MODULE_DATA,
    8: SourceModule.SOURCE_MODULE_DEVICE,
    11: SourceModule.SOURCE_MODULE_EMAIL,
    16: SourceModule.SOURCE_MODULE_COMPLIANCE,
    18: SourceModule.SOURCE_MODULE_APP,
    19: SourceModule.SOURCE_MODULE_CLOUD,
    20: SourceModule.SOURCE_MODULE_ENDPOINT,
}
"""What else there is, such as incidents and projects, is kept by people."""


def period_start(period: int, moment: int) -> int:
    """Give the begin in UTC of the span that a moment lies in, in microseconds since 1970."""
    at = datetime.fromtimestamp(moment / 1_000_000, UTC).replace(minute=0, second=0, microsecond=0)
    day = at.replace(hour=0)
    match period:
        case TrendPeriod.TREND_PERIOD_HOUR:
            start = at
        case TrendPeriod.TREND_PERIOD_WEEK:
            start = day - timedelta(days=day.weekday())
        case TrendPeriod.TREND_PERIOD_MONTH:
            start = day.replace(day=1)
        case TrendPeriod.TREND_PERIOD_QUARTER:
            start = day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case _:
            start = day
    return int(start.timestamp()) * 1_000_000


class Metrics:
    """Measures dashboards and keeps what was measured, once for each span of time."""

    def __init__(
        self, store: Store, catalogue: Catalogue, dashboards: Dashboards, clock: Clock = now
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._dashboards = dashboards
        self._clock = clock

    async def record(self, name: str, period: int = 0) -> pb.RecordMetricsResponse:
        """Measure a dashboard; ResourceNotFound."""
        moment = self._clock()
        period = period or TrendPeriod.TREND_PERIOD_DAY
        answer, records = pb.RecordMetricsResponse(), list[Any]()
        start = period_start(period, moment)
        set_moment(answer, "period_start_time", start)
        async with self._store.connection(tenant_of(name)) as connection:
            body = await self._dashboards.body(connection, name)
            async for shown in self._dashboards.shown(connection, name, body):
                problem = shown.refusal
                for record in () if problem else self._records(body, shown):
                    if record is None:
                        problem = FieldInvalid.of("metric", "is no number", "NOT_MEASURABLE")
                        break
                    record.analytics_metric.period = period
                    set_moment(record.analytics_metric, "period_start_time", start)
                    records.append(record)
                if problem:
                    answer.problems.add(widget=shown.widget.key, error=error_of(problem))
        await self._write(name, moment, records, answer)
        return answer

    async def _write(
        self, name: str, moment: int, records: Sequence[Any], answer: pb.RecordMetricsResponse
    ) -> None:
        """Write the values, found again by their natural key."""
        tenant, target = tenant_of(name) or "", self._store.target(METRICS)
        writer = RecordWriter(self._store, self._catalogue.record_kinds, lambda: moment)
        keys = Keys(target.kind, writer.hashed)
        items = [Item(number, record, target) for number, record in enumerate(records, start=1)]
        for item in items:
            identify(item, keys, tenant)
        async with self._store.shared_transaction(tenant):
            await ChunkWriter(self._store, writer, tenant, new_uuid()).write(items)
        for item in items:
            if item.error is not None:
                raise item.error
        answer.created = sum(item.outcome == NEW for item in items)
        answer.replaced = len(items) - answer.created

    def _records(self, body: Any, shown: Shown) -> Iterator[Any]:
        """Make a record of each point that has a value; None for what is no number."""
        widget = shown.widget
        kind = self._catalogue.record_kinds[widget.record_type]
        field = kind.message.fields_by_name[kind.body_field or ""]
        module = _MODULES.get(field.number // _BLOCK, SourceModule.SOURCE_MODULE_MANUAL)
        for point in shown.points.points:
            which = point.value.WhichOneof("value")
            if which is None:
                continue
            if which not in ("int_value", "double_value"):
                yield None
                return
            record = Record()
            metric = record.analytics_metric
            metric.name = f"{body.slug}/{widget.key}"
            metric.metric_type = MetricType.METRIC_TYPE_GAUGE
            metric.source_module = module
            metric.value = getattr(point.value, which)
            for name, key in zip(widget.group_by, point.keys, strict=True):
                metric.dimensions[name] = text_of(key)[:256]
            # Of a value without dimensions too: a record without the key is always a new one.
            metric.dimensions_key = _key(metric.dimensions)
            yield record


def text_of(scalar: Scalar) -> str:
    """Write a value as text; empty if it is absent."""
    which = scalar.WhichOneof("value")
    if which is None:
        return ""
    value = getattr(scalar, which)
    if which in ("timestamp_value", "duration_value"):
        return str(value.ToJsonString())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key(dimensions: Mapping[str, str]) -> str:
    canonical = orjson.dumps(dict(dimensions), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()
